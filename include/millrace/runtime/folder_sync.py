"""A folder that a running job writes, kept in S3: checkpoints, Continuous outputs, TensorBoard files.

Each look uploads the files that have changed since they were uploaded and have stopped changing since the look before;
the last look, once every process of the job is dead, uploads all that have changed. Nothing is deleted in S3. The job
may be hostile, and it lives: no link is followed on the way to a file, whatever the job puts where meanwhile.
"""

from __future__ import annotations

import logging
import mimetypes
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from .errors import JobFailed
from .s3.errors import S3Error
from .staging import parse_uri
from .storage import Storage

log = logging.getLogger(__name__)
MAX_DEPTH = 64
"""Folders nested deeper than this are left out."""
Version = tuple[int, int, int]
"""Inode, time of change and size: what tells one content of a file from the next."""


class FolderSync:
    """One folder and its prefix. It remembers what it has uploaded, but only in memory: a new one uploads all again.

    Args:
        root: a folder that the job cannot move away, above the one to keep.
        relative: the folder to keep, below `root`.
        uri: the S3 prefix.
    """

    def __init__(self, storage: Storage, root: Path, relative: str, uri: str) -> None:
        self._storage = storage
        self._root = root
        self._parts = Path(relative).parts
        self._bucket, prefix = parse_uri(uri)
        self._prefix = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
        self._uri = uri
        self._uploaded: dict[str, Version] = {}
        self._seen: dict[str, Version] = {}

    def look(self, *, final: bool = False) -> int:
        """Upload what is due and return how many files that were.

        Args:
            final: nobody writes any more, so that nothing is waited for.

        Raises:
            JobFailed: the bucket is not there or a key is too long.
        """
        count = 0
        seen: dict[str, Version] = {}
        for relative, name, folder in self._files():
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            except OSError:
                continue  # gone, or a link by now
            try:
                status = os.fstat(descriptor)
                version = _version(status)
                seen[relative] = version
                is_new = stat.S_ISREG(status.st_mode) and self._uploaded.get(relative) != version
                if is_new and (final or self._seen.get(relative) == version) and self._upload(descriptor, relative):
                    self._uploaded[relative] = version
                    count += 1
            finally:
                os.close(descriptor)
        self._seen = seen
        return count

    def _upload(self, descriptor: int, relative: str) -> bool:
        """Store a file, unless it changes while it is read."""
        key = self._prefix + relative
        content_type = mimetypes.guess_type(relative)[0] or "binary/octet-stream"
        before = _version(os.fstat(descriptor))
        try:
            return self._storage.put_copy(
                self._bucket, key, descriptor,
                content_type=content_type, is_whole=lambda: _version(os.fstat(descriptor)) == before,
            )  # fmt: skip
        except S3Error as error:
            raise JobFailed(f"ClientError: {self._uri} cannot be written: {error.message}") from error

    def _files(self) -> Iterator[tuple[str, str, int]]:
        """Relative path, name, and the open folder that holds it, of everything that is no folder."""
        top = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in self._parts:
                below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
                os.close(top)
                top = below
            for root, folders, names, descriptor in os.fwalk(".", dir_fd=top, follow_symlinks=False):
                folders.sort()
                if root.count(os.sep) >= MAX_DEPTH:
                    folders.clear()  # each level holds a descriptor
                for name in sorted(names):
                    yield os.path.normpath(os.path.join(root, name)), name, descriptor  # noqa: PTH118 - no Path is needed
        except OSError as error:
            log.info("%s is not synced this time: %s", self._uri, error)
        finally:
            os.close(top)


def _version(status: os.stat_result) -> Version:
    return status.st_ino, status.st_mtime_ns, status.st_size
