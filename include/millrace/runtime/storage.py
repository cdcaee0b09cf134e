"""What jobs need of S3: objects in, files out. The seam between the runtime's jobs and the S3 that holds their data.

Two stand behind it: the runtime's own store (`own_storage.py`), and any other S3 (`remote_storage.py`). What it does not
do: S3's protocol for clients (`s3/`) is no part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol


class StorageAway(Exception):
    """The S3 does not answer, or answers that it cannot just now: what was asked of it is to be asked again later."""


class StoredObject(Protocol):
    """An object as it was when it was looked up."""

    @property
    def bucket(self) -> str: ...

    @property
    def key(self) -> str: ...

    @property
    def size(self) -> int: ...

    def place(self, target: Path, *, link: bool) -> None:
        """Put its bytes at a path where nothing is; with `link`, another name of the same file will do.

        Raises:
            FileNotFoundError: the object is gone.
            OSError: the path cannot be written.
            S3Error: it cannot be read.
        """


class Storage(Protocol):
    """All methods may be called from any thread. Refusals are S3Errors, whoever refuses; what may pass is StorageAway."""

    places_at_once: int
    """How many objects are best placed at the same time."""

    def list_keys(self, bucket: str, prefix: str = "") -> Iterator[StoredObject]:
        """Every object under a prefix, in S3's order.

        Raises:
            NoSuchBucket
        """

    def head(self, bucket: str, key: str) -> StoredObject:
        """
        Raises:
            NoSuchKey; NoSuchBucket where that S3 tells the two apart.
        """

    def open(self, bucket: str, key: str) -> BinaryIO:
        """The bytes of an object, to read and to seek in; they stay what they are when it is replaced.

        Raises:
            NoSuchKey; NoSuchBucket where that S3 tells the two apart.
        """

    def put_file(self, bucket: str, key: str, path: Path, *, content_type: str) -> None:
        """
        Raises:
            NoSuchBucket, KeyTooLong, InsufficientStorage; OSError: the file cannot be read.
        """

    def put_copy(
        self, bucket: str, key: str, descriptor: int, *, content_type: str, is_whole: Callable[[], bool]
    ) -> bool:
        """Copy an open file, and make the copy the object if it `is_whole` after that; False if it is not.

        Raises:
            NoSuchBucket, KeyTooLong, InsufficientStorage
        """

    def refresh(self) -> None:
        """Get new keys if the old ones run out; it may take long.

        Raises:
            StorageAway: there are none to be had just now.
        """

    def variables(self) -> Mapping[str, str]:
        """What a job's environment needs for its AWS SDK to find this S3, beyond what every job has. At once, with the keys
        of the last `refresh`."""
