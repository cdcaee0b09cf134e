"""The object store: buckets, objects and their tags, durable before any method returns.

Synchronous and thread-safe; the rest of the runtime calls it directly, `app.py` calls it from a pool. An object's
bytes are sealed on disk first, then one SQLite commit makes them the object; files that were replaced go after the
commit, and start-up sweeps what no commit mentions. What it does not do: HTTP, and multipart uploads
(`store.uploads`, see `multipart.py`).
"""

from __future__ import annotations

import dataclasses
import fcntl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from millrace.runtime.s3.blobs import Blobs, Staged, make_folder
from millrace.runtime.s3.conditions import WriteCondition
from millrace.runtime.s3.disk import Disk
from millrace.runtime.s3.errors import BucketAlreadyOwnedByYou, BucketNotEmpty, NoSuchBucket, NoSuchKey
from millrace.runtime.s3.index import Index
from millrace.runtime.s3.listing import list_page
from millrace.runtime.s3.multipart import Uploads
from millrace.runtime.s3.names import after_all_with_prefix, check_bucket_name, encode_key
from millrace.runtime.s3.records import Attributes, BucketRecord, ObjectRecord, Page

DEFAULT_REGION = "us-east-1"
MAX_LISTED = 1000
_ALWAYS = WriteCondition()
_DISK = Disk()


class ObjectStore:
    """All methods may be called from any thread.

    Raises:
        BlockingIOError: another store is open on the folder; its unfinished files would be swept away.
    """

    def __init__(self, folder: Path, disk: Disk = _DISK) -> None:
        make_folder(disk, folder)
        self._guard = (folder / "lock").open("a")
        try:
            fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._guard.close()
            raise BlockingIOError(
                f"another process serves the objects in {folder}: stop it, or choose a folder"
            ) from error
        self._blobs = Blobs(folder, disk)
        self._index = Index(folder / "index.sqlite", self._blobs.path)
        self.uploads = Uploads(self._index, self._blobs)
        self._blobs.sweep(self._index.blobs())

    def close(self) -> None:
        self._index.close()
        self._guard.close()

    def create_bucket(self, name: str, region: str = DEFAULT_REGION) -> BucketRecord:
        """Create a bucket. Creating one that exists is allowed in us-east-1 and nowhere else, as on AWS.

        Raises:
            InvalidBucketName: S3 would not create it.
            BucketAlreadyOwnedByYou: it exists, and the region is not us-east-1.
        """
        check_bucket_name(name)
        with self._index.transaction():
            existing = self._index.bucket(name)
            if existing is None:
                self._index.change("INSERT INTO buckets VALUES (?, ?, ?)", name, time.time(), region)
            elif region != DEFAULT_REGION or existing.region != DEFAULT_REGION:
                raise BucketAlreadyOwnedByYou(f"the bucket {name!r} exists already, in {existing.region}")
        return self.bucket(name)

    def delete_bucket(self, name: str) -> None:
        """Delete an empty bucket; its unfinished uploads are aborted.

        Raises:
            NoSuchBucket, BucketNotEmpty
        """
        with self._index.transaction():
            self._index.must_have_bucket(name)
            if self._index.objects_from(name, b"", None, 1):
                raise BucketNotEmpty(f"the bucket {name!r} is not empty: delete its objects first")
            blobs = self.uploads.forget_bucket(name)
            self._index.change("DELETE FROM buckets WHERE name = ?", name)
        self._blobs.remove(blobs)

    def bucket_exists(self, name: str) -> bool:
        return self._index.bucket(name) is not None

    def bucket(self, name: str) -> BucketRecord:
        """
        Raises:
            NoSuchBucket: there is none of that name.
        """
        record = self._index.bucket(name)
        if record is None:
            raise NoSuchBucket(f"the bucket {name!r} does not exist: create it first")
        return record

    def buckets(self) -> list[BucketRecord]:
        rows = self._index.rows("SELECT name, created, region FROM buckets ORDER BY name")
        return [BucketRecord(name=name, created=created, region=region) for name, created, region in rows]

    def put_file(
        self,
        bucket: str,
        key: str,
        path: Path,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] = {},
    ) -> ObjectRecord:
        """Copy a file in: by reflink where the filesystem can, else in chunks.

        Raises:
            NoSuchBucket, KeyTooLong, InsufficientStorage; OSError: the file cannot be read.
        """
        self._index.must_have_bucket(bucket)
        staged = self.stage()
        try:
            with path.open("rb") as source:
                staged.write_file(source.fileno())
            return self.commit(bucket, key, staged, Attributes(content_type=content_type, metadata=metadata))
        finally:
            staged.discard()

    def put_bytes(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] = {},
    ) -> ObjectRecord:
        """
        Raises:
            NoSuchBucket, KeyTooLong, InsufficientStorage
        """
        staged = self.stage()
        try:
            staged.write(data)
            return self.commit(bucket, key, staged, Attributes(content_type=content_type, metadata=metadata))
        finally:
            staged.discard()

    def stage(self) -> Staged:
        """A file to write an object's bytes to; `commit` it, or `discard` it."""
        return self._blobs.stage()

    def commit(
        self,
        bucket: str,
        key: str,
        staged: Staged,
        attributes: Attributes,
        *,
        checksums: Mapping[str, str] = {},
        condition: WriteCondition = _ALWAYS,
    ) -> ObjectRecord:
        """Make a staged file the object's content. When it raises, the caller discards the file.

        Raises:
            NoSuchBucket, KeyTooLong, PreconditionFailed, NoSuchKey (If-Match without an object)
        """
        encode_key(key)
        staged.seal()
        record = ObjectRecord(
            bucket=bucket,
            key=key,
            size=staged.size,
            etag=staged.etag,
            last_modified=time.time(),
            path=staged.path,
            attributes=attributes,
            checksums=checksums,
        )
        return self._replace(record, condition)

    def copy(
        self,
        source: ObjectRecord,
        bucket: str,
        key: str,
        attributes: Attributes | None = None,
        *,
        condition: WriteCondition = _ALWAYS,
    ) -> ObjectRecord:
        """Copy inside the store, in no time: the copy is a second name for the same unchanging bytes.

        Raises:
            NoSuchBucket, KeyTooLong, PreconditionFailed; NoSuchKey: the source is gone.
        """
        encode_key(key)
        self._index.must_have_bucket(bucket)
        try:
            blob = self._blobs.link(source.path.name)
        except FileNotFoundError as error:
            raise NoSuchKey(f"the key {source.key!r} was deleted or replaced while it was copied") from error
        record = dataclasses.replace(
            source,
            bucket=bucket,
            key=key,
            path=self._blobs.path(blob),
            last_modified=time.time(),
            attributes=source.attributes if attributes is None else attributes,
        )
        return self._replace(record, condition)

    def head(self, bucket: str, key: str) -> ObjectRecord:
        """
        Raises:
            NoSuchBucket, NoSuchKey
        """
        record = self._index.object(bucket, encode_key(key))
        if record is None:
            self._index.must_have_bucket(bucket)
            raise NoSuchKey(f"the key {key!r} does not exist in the bucket {bucket!r}")
        return record

    def open(self, bucket: str, key: str) -> tuple[ObjectRecord, BinaryIO]:
        """The object and its bytes, which stay readable when it is replaced or deleted meanwhile.

        Raises:
            NoSuchBucket, NoSuchKey
        """
        with self._index.locked():
            record = self.head(bucket, key)
            return record, record.path.open("rb")

    def list_keys(self, bucket: str, prefix: str = "") -> Iterator[ObjectRecord]:
        """Every object under a prefix, in S3's order; read in pages, so that no listing is held in memory.

        Raises:
            NoSuchBucket
        """
        self._index.must_have_bucket(bucket)
        return self._walk(bucket, prefix.encode())

    def list_page(
        self, bucket: str, prefix: str = "", delimiter: str = "", start_after: str = "", max_keys: int = MAX_LISTED
    ) -> Page:
        """
        Raises:
            NoSuchBucket
        """
        self._index.must_have_bucket(bucket)
        return list_page(self._index, bucket, prefix, delimiter, start_after, max_keys)

    def delete(self, bucket: str, key: str, *, condition: WriteCondition = _ALWAYS) -> None:
        """Delete an object; deleting one that is not there is no error, as on S3.

        Raises:
            NoSuchBucket, PreconditionFailed
        """
        self.delete_many(bucket, [key], condition=condition)

    def delete_many(self, bucket: str, keys: list[str], *, condition: WriteCondition = _ALWAYS) -> None:
        """Delete objects in one commit.

        Raises:
            NoSuchBucket, PreconditionFailed
        """
        blobs = []
        with self._index.transaction():
            self._index.must_have_bucket(bucket)
            for key in keys:
                encoded = encode_key(key)
                current = self._index.object(bucket, encoded)
                condition.check(key, current)
                if current is not None:
                    self._index.delete_object(bucket, encoded)
                    blobs.append(current.path.name)
        self._blobs.remove(blobs)

    def set_tags(self, bucket: str, key: str, tags: Mapping[str, str]) -> None:
        """Replace an object's tags; they are read as `head(…).attributes.tags`.

        Raises:
            NoSuchBucket, NoSuchKey
        """
        with self._index.transaction():
            record = self.head(bucket, key)
            attributes = dataclasses.replace(record.attributes, tags=dict(tags))
            self._index.put_object(dataclasses.replace(record, attributes=attributes))

    def _replace(self, record: ObjectRecord, condition: WriteCondition) -> ObjectRecord:
        """Commit the record, then remove the file that it replaces, or its own when it cannot be committed."""
        with self._blobs.adding(record.path.name) as obsolete, self._index.transaction():
            self._index.must_have_bucket(record.bucket)
            current = self._index.object(record.bucket, record.key.encode())
            condition.check(record.key, current)
            self._index.put_object(record)
            if current is not None:
                obsolete.append(current.path.name)
        return record

    def _walk(self, bucket: str, prefix: bytes) -> Iterator[ObjectRecord]:
        low, high = prefix, after_all_with_prefix(prefix)
        while batch := self._index.objects_from(bucket, low, high, MAX_LISTED):
            yield from batch
            low = batch[-1].key.encode() + b"\0"
