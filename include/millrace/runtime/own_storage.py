"""The runtime's own object store, as jobs use it: a file of the store is linked where that is safe, not copied.

What it does not do: the store itself is `s3/store.py`.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .s3.records import Attributes, ObjectRecord
from .s3.store import ObjectStore

CANNOT_LINK = {errno.EMLINK, errno.EXDEV, errno.EPERM}
"""The file has as many names as the filesystem allows, or it allows none across its border."""


@dataclass(frozen=True, slots=True)
class OwnObject:
    """An object whose bytes are a file of this machine."""

    record: ObjectRecord

    @property
    def bucket(self) -> str:
        return self.record.bucket

    @property
    def key(self) -> str:
        return self.record.key

    @property
    def size(self) -> int:
        return self.record.size

    def place(self, target: Path, *, link: bool) -> None:
        if link:
            try:
                os.link(self.record.path, target)
                return
            except OSError as error:
                if error.errno not in CANNOT_LINK:
                    raise
        shutil.copyfile(self.record.path, target)
        target.chmod(0o644)


class OwnStorage:
    """A `Storage` on the store of this process."""

    places_at_once = 1
    """A link takes microseconds, and copies share one disk."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def list_keys(self, bucket: str, prefix: str = "") -> Iterator[OwnObject]:
        return map(OwnObject, self._store.list_keys(bucket, prefix))

    def head(self, bucket: str, key: str) -> OwnObject:
        return OwnObject(self._store.head(bucket, key))

    def open(self, bucket: str, key: str) -> BinaryIO:
        return self._store.open(bucket, key)[1]

    def put_file(self, bucket: str, key: str, path: Path, *, content_type: str) -> None:
        self._store.put_file(bucket, key, path, content_type=content_type)

    def put_copy(
        self, bucket: str, key: str, descriptor: int, *, content_type: str, is_whole: Callable[[], bool]
    ) -> bool:
        staged = self._store.stage()
        try:
            staged.write_file(descriptor)
            if not is_whole():
                return False
            self._store.commit(bucket, key, staged, Attributes(content_type=content_type))
        finally:
            staged.discard()
        return True

    def refresh(self) -> None:
        pass  # there are no keys of its own

    def variables(self) -> Mapping[str, str]:
        return {}  # the runtime's own address answers for S3 too
