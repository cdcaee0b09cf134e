"""The files that hold objects' bytes: `objects/ab/<uuid hex>`, written once, never changed.

A file is written under a temporary name beside its final one, renamed, and flushed with its folder; only then may the
index mention it. What this file does not do: it knows no buckets and no keys.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from millrace.runtime.s3.errors import InsufficientStorage

T = TypeVar("T")
CHUNK = 1024 * 1024
TEMPORARY = "tmp-"
_FICLONE = 0x40049409
_NO_RANGE_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


class Staged:
    """A file being written. It counts and hashes (MD5) what it takes in; nobody sees it before `seal`.

    `discard` may be called from another thread while a write is under way, and after `seal` it does nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.blob = path.name
        self.size = 0
        self._temporary = path.with_name(TEMPORARY + path.name)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._lock = threading.Lock()
        self._fd = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
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
                fcntl.ioctl(self._fd, _FICLONE, source)
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
                    count = os.copy_file_range(source, self._fd, end - self.size, copied, self.size)
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
            self._temporary.rename(self.path)
            os.fsync(self._fd)
            flush_folder(self.path.parent)
            self._close()

    def discard(self) -> None:
        with self._lock:
            if self._open:
                self._close()
                self._temporary.unlink(missing_ok=True)

    def _append(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self.size += len(data)

    def _close(self) -> None:
        self._open = False
        os.close(self._fd)

    def _must_be_open(self) -> None:
        if not self._open:
            raise RuntimeError(f"the staged file {self.blob} was sealed or discarded; stage a new one")


class Blobs:
    """The folder of sealed files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "objects"
        for shard in range(256):
            (self._folder / f"{shard:02x}").mkdir(parents=True, exist_ok=True)
        flush_folder(self._folder)

    def stage(self) -> Staged:
        with _disk_full_is_named(self._folder):
            return Staged(self.path(uuid.uuid4().hex))

    def path(self, blob: str) -> Path:
        return self._folder / blob[:2] / blob

    def link(self, blob: str) -> str:
        """A second name for the same bytes, for a copy inside the store: sealed files never change."""
        path = self.path(uuid.uuid4().hex)
        os.link(self.path(blob), path)
        flush_folder(path.parent)
        return path.name

    def remove(self, blobs: Iterable[str]) -> None:
        for blob in blobs:
            self.path(blob).unlink(missing_ok=True)

    def sweep(self, known: set[str]) -> int:
        """Remove what no committed row mentions; returns how many files that were."""
        stray = [path for path in self._folder.glob("*/*") if path.name not in known]
        for path in stray:
            path.unlink()
        return len(stray)


def flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _disk_full_is_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InsufficientStorage(f"no space left for {path}: free some, or move the runtime's folder") from error
        raise
