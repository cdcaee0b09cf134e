"""The calls that bring an object's bytes to the disk, as one object that a test can stand in for.

`blobs.py` makes every call that durability rests on through a `Disk`. This one passes them to the operating system as
they are; the crash tests record them and replay their prefixes, or let one of them fail. What this file does not do:
it decides no order of calls (`blobs.py` does, and is safe by it), it reads nothing, and SQLite writes its own file.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

_FICLONE = 0x40049409


class Disk:
    """The operating system. Every method raises what the call raises."""

    def make_folder(self, path: Path) -> None:
        path.mkdir(exist_ok=True)

    def create(self, path: Path) -> int:
        """A new, empty file, open for reading and writing."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)

    def write(self, descriptor: int, data: memoryview) -> int:
        return os.write(descriptor, data)

    def clone(self, descriptor: int, source: int) -> None:
        fcntl.ioctl(descriptor, _FICLONE, source)

    def copy_range(self, descriptor: int, offset: int, source: int, source_offset: int, length: int) -> int:
        return os.copy_file_range(source, descriptor, length, source_offset, offset)

    def flush(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def rename(self, path: Path, new: Path) -> None:
        path.rename(new)

    def link(self, path: Path, new: Path) -> None:
        os.link(path, new)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def flush_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
