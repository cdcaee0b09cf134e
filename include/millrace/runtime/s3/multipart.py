"""Multipart uploads: parts arrive in any order, and completing them makes one object.

Each part is a sealed file of its own; completing copies them into one, because jobs are given whole files. A
completion that is repeated, since its answer was lost, answers the same again. What this file does not do: HTTP.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from millrace.runtime.s3.blobs import Blobs, Staged
from millrace.runtime.s3.checksums import combine, of_file
from millrace.runtime.s3.conditions import WriteCondition
from millrace.runtime.s3.errors import (
    BadDigest,
    EntityTooLarge,
    EntityTooSmall,
    InvalidArgument,
    InvalidPart,
    InvalidPartOrder,
    NoSuchUpload,
)
from millrace.runtime.s3.index import Index, attributes_document, attributes_from
from millrace.runtime.s3.names import encode_key
from millrace.runtime.s3.records import Attributes, NamedPart, ObjectRecord, PartRecord, UploadRecord

MIN_PART_SIZE = 5 * 1024**2
MAX_OBJECT_SIZE = 50 * 1024**4
MAX_PARTS = 10_000
_ALWAYS = WriteCondition()


class Uploads:
    """All methods may be called from any thread."""

    def __init__(self, index: Index, blobs: Blobs) -> None:
        self._index = index
        self._blobs = blobs

    def create(
        self,
        bucket: str,
        key: str,
        attributes: Attributes,
        *,
        checksum_kind: str | None = None,
        checksum_type: str = "COMPOSITE",
    ) -> UploadRecord:
        """
        Raises:
            NoSuchBucket, KeyTooLong
        """
        encoded = encode_key(key)
        identity, created = uuid.uuid4().hex, time.time()
        document = attributes_document(attributes) | {"checksum_kind": checksum_kind, "checksum_type": checksum_type}
        with self._index.transaction():
            self._index.must_have_bucket(bucket)
            self._index.change(
                "INSERT INTO uploads VALUES (?, ?, ?, ?, ?)", identity, bucket, encoded, created, json.dumps(document)
            )
        return self.find(bucket, key, identity)

    def find(self, bucket: str, key: str, upload: str) -> UploadRecord:
        """
        Raises:
            NoSuchBucket, NoSuchUpload
        """
        rows = self._index.rows(
            "SELECT * FROM uploads WHERE id = ? AND bucket = ? AND key = ?", upload, bucket, encode_key(key)
        )
        if not rows:
            self._index.must_have_bucket(bucket)
            raise NoSuchUpload(f"no upload {upload!r} of the key {key!r}: it was completed, aborted or never begun")
        return _upload(rows[0])

    def list_uploads(self, bucket: str, prefix: str = "") -> list[UploadRecord]:
        """Unfinished uploads by key, then by age.

        Raises:
            NoSuchBucket
        """
        self._index.must_have_bucket(bucket)
        rows = self._index.rows("SELECT * FROM uploads WHERE bucket = ? ORDER BY key, created, id", bucket)
        return [upload for upload in map(_upload, rows) if upload.key.startswith(prefix)]

    def put_part(
        self,
        upload: UploadRecord,
        number: int,
        staged: Staged,
        *,
        checksums: Mapping[str, str] = {},
    ) -> PartRecord:
        """Make a staged file a part. When it raises, the caller discards the file.

        Raises:
            InvalidArgument: the number is not 1 to 10,000. NoSuchUpload: it has ended meanwhile.
        """
        if not 1 <= number <= MAX_PARTS:
            raise InvalidArgument(f"the part number {number} is not between 1 and {MAX_PARTS}")
        staged.seal()
        modified = time.time()
        with self._blobs.adding(staged.blob) as obsolete, self._index.transaction():
            self.find(upload.bucket, upload.key, upload.id)
            rows = self._index.rows("SELECT blob FROM parts WHERE upload = ? AND number = ?", upload.id, number)
            self._index.change(
                "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?)",
                upload.id,
                number,
                staged.blob,
                staged.size,
                staged.etag,
                modified,
                json.dumps(dict(checksums)),
            )
            obsolete += [blob for (blob,) in rows]
        return PartRecord(
            number=number,
            size=staged.size,
            etag=staged.etag,
            last_modified=modified,
            path=staged.path,
            checksums=checksums,
        )

    def list_parts(self, upload: UploadRecord) -> list[PartRecord]:
        rows = self._index.rows("SELECT * FROM parts WHERE upload = ? ORDER BY number", upload.id)
        return [self._part(row) for row in rows]

    def abort(self, bucket: str, key: str, upload: str) -> None:
        """
        Raises:
            NoSuchBucket, NoSuchUpload
        """
        with self._index.transaction():
            self.find(bucket, key, upload)
            blobs = self._forget(upload)
        self._blobs.remove(blobs)

    def complete(
        self,
        bucket: str,
        key: str,
        upload: str,
        named: Sequence[NamedPart],
        *,
        checksums: Mapping[str, str] = {},
        condition: WriteCondition = _ALWAYS,
    ) -> ObjectRecord:
        """Make the named parts the object. Parts that are not named are dropped.

        Raises:
            NoSuchBucket, NoSuchUpload, InvalidPart, InvalidPartOrder, EntityTooSmall, BadDigest, PreconditionFailed
        """
        try:
            record = self.find(bucket, key, upload)
        except NoSuchUpload:
            done = self._index.object(bucket, encode_key(key))
            if done is not None and done.upload_id == upload:
                return done
            raise
        condition.check(key, self._index.object(bucket, encode_key(key)))
        parts = self._choose(record, named)
        staged = self._blobs.stage()
        try:
            self._assemble(staged, parts)
            whole = self._checksums(record, parts, staged, checksums)
            staged.seal()
        finally:
            staged.discard()
        completed = ObjectRecord(
            bucket=bucket,
            key=key,
            size=staged.size,
            etag=composite_etag([part.etag for part in parts]),
            last_modified=time.time(),
            path=staged.path,
            attributes=record.attributes,
            checksums=whole,
            checksum_type=record.checksum_type,
            part_sizes=tuple(part.size for part in parts),
            upload_id=upload,
        )
        with self._blobs.adding(staged.blob) as obsolete, self._index.transaction():
            current = self._index.object(bucket, encode_key(key))
            if current is not None and current.upload_id == upload:  # a repeated request was faster
                obsolete.append(staged.blob)
                return current
            self.find(bucket, key, upload)
            condition.check(key, current)
            self._index.put_object(completed)
            obsolete += self._forget(upload)
            if current is not None:
                obsolete.append(current.path.name)
        return completed

    def forget_bucket(self, bucket: str) -> list[str]:
        """Drop a bucket's uploads within the caller's transaction; returns the files to remove after it."""
        rows = self._index.rows("SELECT id FROM uploads WHERE bucket = ?", bucket)
        return [blob for (upload,) in rows for blob in self._forget(upload)]

    def _forget(self, upload: str) -> list[str]:
        rows = self._index.rows("SELECT blob FROM parts WHERE upload = ?", upload)
        self._index.change("DELETE FROM parts WHERE upload = ?", upload)
        self._index.change("DELETE FROM uploads WHERE id = ?", upload)
        return [blob for (blob,) in rows]

    def _choose(self, upload: UploadRecord, named: Sequence[NamedPart]) -> list[PartRecord]:
        numbers = [part.number for part in named]
        if any(later <= earlier for earlier, later in itertools.pairwise(numbers)):
            raise InvalidPartOrder(f"the parts {numbers[:20]} are not in ascending order: sort them by PartNumber")
        present = {part.number: part for part in self.list_parts(upload)}
        chosen = []
        for wanted in named:
            part = present.get(wanted.number)
            if part is None or part.etag != wanted.etag:
                seen = "was not uploaded" if part is None else f"has ETag {part.etag!r}, not {wanted.etag!r}"
                raise InvalidPart(f"part {wanted.number} {seen}: name the parts as UploadPart answered them")
            for kind, value in wanted.checksums.items():
                if part.checksums.get(kind, value) != value:
                    raise InvalidPart(f"part {wanted.number} has {kind} {part.checksums[kind]!r}, not {value!r}")
            chosen.append(part)
        for part in chosen[:-1]:
            if part.size < MIN_PART_SIZE:
                raise EntityTooSmall(f"part {part.number} has {part.size} bytes; all but the last need {MIN_PART_SIZE}")
        if sum(part.size for part in chosen) > MAX_OBJECT_SIZE:
            raise EntityTooLarge(f"the parts add up to more than {MAX_OBJECT_SIZE} bytes")
        return chosen

    def _assemble(self, staged: Staged, parts: list[PartRecord]) -> None:
        for part in parts:
            try:
                source = os.open(part.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError as error:
                raise InvalidPart(f"part {part.number} was replaced while the upload was completed") from error
            try:
                staged.append_unhashed(source, part.size)
            finally:
                os.close(source)

    def _checksums(
        self, upload: UploadRecord, parts: list[PartRecord], staged: Staged, claimed: Mapping[str, str]
    ) -> dict[str, str]:
        """The object's checksums: computed where this runtime can, else as the client claims them."""
        kind = upload.checksum_kind
        computed: str | None = None
        if kind is not None and upload.checksum_type == "COMPOSITE":
            computed = combine(kind, [part.checksums.get(kind) for part in parts])
        elif kind is not None:
            computed = staged.read_back(lambda descriptor: of_file(kind, descriptor))
        if kind is None or computed is None:
            return dict(claimed)
        if claimed.get(kind, computed) != computed:
            raise BadDigest(f"the object's {kind} is {computed!r}, not {claimed[kind]!r} as the request says")
        return {kind: computed}

    def _part(self, row: tuple[Any, ...]) -> PartRecord:
        _, number, blob, size, etag, modified, checksums = row
        return PartRecord(
            number=number,
            size=size,
            etag=etag,
            last_modified=modified,
            path=self._blobs.path(blob),
            checksums=json.loads(checksums),
        )


def composite_etag(etags: Sequence[str]) -> str:
    """S3's ETag of a multipart object: the MD5 of the parts' MD5s, and how many they are."""
    joined = hashlib.md5(b"".join(map(bytes.fromhex, etags)), usedforsecurity=False)
    return f"{joined.hexdigest()}-{len(etags)}"


def _upload(row: tuple[Any, ...]) -> UploadRecord:
    identity, bucket, key, created, text = row
    document = json.loads(text)
    return UploadRecord(
        id=identity,
        bucket=bucket,
        key=key.decode(),
        created=created,
        attributes=attributes_from(document),
        checksum_kind=document["checksum_kind"],
        checksum_type=document["checksum_type"],
    )
