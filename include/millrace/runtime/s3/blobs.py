"""The files that hold objects' bytes: `objects/ab/<uuid hex>`, written once, never changed.

A file is written under a temporary name beside its final one, renamed, and flushed with its folder; only then may the
index mention it. What this file does not do: it knows no buckets and no keys, and `disk.py` makes the system's calls.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from millrace.runtime.s3.disk import Disk
from millrace.runtime.s3.errors import CommitInDoubt, InsufficientStorage

T = TypeVar("T")
CHUNK = 1024 * 1024
TEMPORARY = "tmp-"
SHARDS = tuple(f"{number:02x}" for number in range(256))
"""The folders that files are spread over: the first two letters of their names."""
_NO_RANGE_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}

_log = logging.getLogger(__name__)


class Staged:
    """A file being written. It counts and hashes (MD5) what it takes in; nobody sees it before `seal`.

    `discard` may be called from another thread while a write is under way, and after `seal` it does nothing.
    """

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path = path
        self.blob = path.name
        self.size = 0
        self._disk = disk
        self._present = path.with_name(TEMPORARY + path.name)
        """What the file is called now."""
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._lock = threading.Lock()
        self._fd = disk.create(self._present)
        self._open = True

    @property
    def etag(self) -> str:
        return self._md5.hexdigest()

    @property
    def md5(self) -> bytes:
        return self._md5.digest()

    def write(self, data: bytes | memoryview) -> None:
        with self._lock, _disk_full_is_named(self.path):
            self._must_be_open()
            self._md5.update(data)
            self._append(data)

    def write_file(self, source: int) -> None:
        """Take in a whole file: by reflink where the filesystem can, else in chunks."""
        with self._lock, _disk_full_is_named(self.path):
            self._must_be_open()
            try:
                self._disk.clone(self._fd, source)
                cloned = True
            except OSError:
                cloned = False
            offset = 0
            while chunk := os.pread(self._fd if cloned else source, CHUNK, offset):
                self._md5.update(chunk)
                if cloned:
                    self.size += len(chunk)
                else:
                    self._append(chunk)
                offset += len(chunk)

    def write_range(self, source: int, offset: int, length: int) -> None:
        """Take in a part of a file in chunks, hashing it."""
        end = offset + length
        while offset < end:
            chunk = os.pread(source, min(CHUNK, end - offset), offset)
            if not chunk:
                raise OSError(errno.EIO, f"the file ended {end - offset} bytes early", str(self.path))
            self.write(chunk)
            offset += len(chunk)

    def append_unhashed(self, source: int, length: int) -> None:
        """Take in a whole file in the kernel, without reading it: `etag` no longer means anything afterwards."""
        with self._lock, _disk_full_is_named(self.path):
            self._must_be_open()
            end, copied = self.size + length, 0
            while self.size < end:
                try:
                    count = self._disk.copy_range(self._fd, self.size, source, copied, end - self.size)
                except OSError as error:
                    if error.errno not in _NO_RANGE_COPY:
                        raise
                    os.lseek(self._fd, self.size, os.SEEK_SET)
                    chunk = os.pread(source, min(CHUNK, end - self.size), copied)
                    self._append(chunk)
                    count = len(chunk)
                else:
                    self.size += count
                if not count:
                    raise OSError(errno.EIO, f"a part ended {end - self.size} bytes early", str(self.path))
                copied += count

    def read_back(self, read: Callable[[int], T]) -> T:
        """What `read` makes of the open file, before it is sealed."""
        with self._lock:
            self._must_be_open()
            return read(self._fd)

    def seal(self) -> None:
        """Make the file durable under its final name."""
        with self._lock, _disk_full_is_named(self.path):
            self._must_be_open()
            # Renamed before the flush, so that one journal commit carries both and the folder's flush finds little to
            # do. No index row names the file yet: a crash in between leaves garbage for the sweep, nothing worse.
            self._disk.rename(self._present, self.path)
            self._present = self.path
            self._disk.flush(self._fd)
            self._disk.flush_folder(self.path.parent)
            self._close()

    def discard(self) -> None:
        with self._lock:
            if self._open:
                self._close()
                _remove(self._disk, self._present)

    def _append(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._disk.write(self._fd, rest) :]
        self.size += len(data)

    def _close(self) -> None:
        self._open = False
        self._disk.close(self._fd)

    def _must_be_open(self) -> None:
        if not self._open:
            raise RuntimeError(f"the staged file {self.blob} was sealed or discarded; stage a new one")


class Blobs:
    """The folder of sealed files."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder, self._disk = folder / "objects", disk
        disk.make_folder(self._folder)
        for shard in {self._folder / name for name in SHARDS}.difference(self._folder.iterdir()):
            disk.make_folder(shard)
        # Also when nothing was made: a runtime that was killed may have made it, and not have come to this.
        disk.flush_folder(self._folder)
        disk.flush_folder(folder)

    def stage(self) -> Staged:
        with _disk_full_is_named(self._folder):
            return Staged(self.path(_new_name()), self._disk)

    def path(self, blob: str) -> Path:
        return self._folder / blob[:2] / blob

    def link(self, blob: str) -> str:
        """A second name for the same bytes, for a copy inside the store: sealed files never change."""
        path = self.path(_new_name())
        with _disk_full_is_named(path):
            self._disk.link(self.path(blob), path)
            try:
                self._disk.flush_folder(path.parent)
            except OSError:
                self.remove([path.name])
                raise
        return path.name

    @contextlib.contextmanager
    def adding(self, blob: str) -> Iterator[list[str]]:
        """Around the transaction that names a sealed file: what it puts on the list goes after the commit.

        When the transaction fails, the new file goes instead. When nobody knows whether it failed, both stay, and the
        next start finds out.
        """
        obsolete: list[str] = []
        try:
            yield obsolete
        except CommitInDoubt:
            raise
        except Exception:
            self.remove([blob])
            raise
        self.remove(obsolete)

    def remove(self, blobs: Iterable[str]) -> None:
        """Remove files that no row names any more; one that cannot be removed waits for the next start's sweep."""
        for blob in blobs:
            _remove(self._disk, self.path(blob))

    def sweep(self, known: set[str]) -> int:
        """Remove what no committed row mentions; returns how many files that were."""
        stray = [path for shard in self._folder.iterdir() for path in shard.iterdir() if path.name not in known]
        for path in stray:
            _remove(self._disk, path)
        return len(stray)


def _new_name() -> str:
    return uuid.uuid4().hex


def make_folder(disk: Disk, folder: Path) -> None:
    """Make a folder, with those above it, so that a power cut does not take it back with all that is in it."""
    folder = folder.resolve()
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        disk.make_folder(missing)
    # All the way up, since whoever made the folders above may not have flushed them; what this process may not write
    # it has not made, and a mount point is not an entry of the file system that it hides.
    while not os.path.ismount(folder) and os.access(folder.parent, os.R_OK | os.W_OK):
        folder = folder.parent
        disk.flush_folder(folder)


def _remove(disk: Disk, path: Path) -> None:
    """Remove a file that nobody needs. Failing at it is no reason to refuse what has been committed."""
    try:
        disk.unlink(path)
    except OSError as error:
        _log.warning("%s is not needed any more and cannot be removed now: %s", path, error)


@contextlib.contextmanager
def _disk_full_is_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InsufficientStorage(f"no space left for {path}: free some, or move the runtime's folder") from error
        raise
