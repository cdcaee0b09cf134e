"""The SQLite index: which buckets and objects there are, and which file holds each object's bytes.

One connection behind one lock, WAL with synchronous=FULL, so that a commit is on disk when it returns. Keys are
stored as UTF-8 blobs, whose order is S3's. What this file does not do: it touches no object file, and the rows of
multipart uploads are `multipart.py`'s (their tables are declared here, with the rest of the schema).
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from millrace.runtime.s3.errors import CommitInDoubt, InsufficientStorage, NoSuchBucket
from millrace.runtime.s3.records import Attributes, BucketRecord, ObjectRecord

SCHEMA = """
CREATE TABLE IF NOT EXISTS buckets (name TEXT PRIMARY KEY, created REAL NOT NULL, region TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL, key BLOB NOT NULL, blob TEXT NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
    modified REAL NOT NULL, document TEXT NOT NULL, PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key BLOB NOT NULL, created REAL NOT NULL, document TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uploads_by_key ON uploads (bucket, key, id);
CREATE TABLE IF NOT EXISTS parts (
    upload TEXT NOT NULL, number INTEGER NOT NULL, blob TEXT NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
    modified REAL NOT NULL, checksums TEXT NOT NULL, PRIMARY KEY (upload, number)
) WITHOUT ROWID;
"""


class Index:
    """All methods may be called from any thread."""

    def __init__(self, path: Path, blob_path: Callable[[str], Path]) -> None:
        self._blob_path = blob_path
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
        self._connection.executescript(SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody commits meanwhile, so a file that the index names is there to be opened."""
        with self._lock:
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Committed and on disk when the block ends; undone when it raises.

        Raises:
            InsufficientStorage: the disk is full. CommitInDoubt: it failed at the commit itself.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._commit()
            except sqlite3.Error as error:
                if _is_full(error):
                    raise InsufficientStorage("no space left for the index of objects: free some") from error
                raise
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            # On a full disk the commit's last page is what was not written. After any other failure, of the flush
            # say, it may be in the journal, and count when the journal is read again.
            if _is_full(error):
                raise
            raise CommitInDoubt(f"the disk failed at a commit ({error}): it may have been made, or not") from error

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def change(self, statement: str, *values: Any) -> int:
        """Run one statement; returns how many rows it touched."""
        with self._lock:
            return self._connection.execute(statement, values).rowcount

    def bucket(self, name: str) -> BucketRecord | None:
        rows = self.rows("SELECT name, created, region FROM buckets WHERE name = ?", name)
        return BucketRecord(name=rows[0][0], created=rows[0][1], region=rows[0][2]) if rows else None

    def must_have_bucket(self, name: str) -> None:
        """
        Raises:
            NoSuchBucket: there is none of that name.
        """
        if self.bucket(name) is None:
            raise NoSuchBucket(f"the bucket {name!r} does not exist: create it first")

    def object(self, bucket: str, key: bytes) -> ObjectRecord | None:
        rows = self.rows("SELECT * FROM objects WHERE bucket = ? AND key = ?", bucket, key)
        return self._record(rows[0]) if rows else None

    def put_object(self, record: ObjectRecord) -> None:
        self.change(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?)",
            record.bucket,
            record.key.encode(),
            record.path.name,
            record.size,
            record.etag,
            record.last_modified,
            _document(record),
        )

    def delete_object(self, bucket: str, key: bytes) -> None:
        self.change("DELETE FROM objects WHERE bucket = ? AND key = ?", bucket, key)

    def objects_from(self, bucket: str, low: bytes, high: bytes | None, limit: int) -> list[ObjectRecord]:
        """The first `limit` objects with low <= key < high, in key order."""
        statement = "SELECT * FROM objects WHERE bucket = ? AND key >= ?"
        values: tuple[Any, ...] = (bucket, low)
        if high is not None:
            statement += " AND key < ?"
            values += (high,)
        return [self._record(row) for row in self.rows(statement + " ORDER BY key LIMIT ?", *values, limit)]

    def blobs(self) -> set[str]:
        """Every file that a committed row mentions."""
        return {row[0] for row in self.rows("SELECT blob FROM objects UNION ALL SELECT blob FROM parts")}

    def _record(self, row: tuple[Any, ...]) -> ObjectRecord:
        bucket, key, blob, size, etag, modified, text = row
        document = json.loads(text)
        return ObjectRecord(
            bucket=bucket,
            key=key.decode(),
            size=size,
            etag=etag,
            last_modified=modified,
            path=self._blob_path(blob),
            attributes=attributes_from(document),
            checksums=document.get("checksums", {}),
            checksum_type=document.get("checksum_type", "FULL_OBJECT"),
            part_sizes=tuple(document.get("part_sizes", ())),
            upload_id=document.get("upload_id"),
        )


def _is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL  # the module's own errors have no code


def attributes_document(attributes: Attributes) -> dict[str, Any]:
    """Attributes as JSON members; empty ones are left out, since most are."""
    document: dict[str, Any] = {}
    if attributes.content_type is not None:
        document["content_type"] = attributes.content_type
    for name in ("headers", "metadata", "tags"):
        if value := getattr(attributes, name):
            document[name] = dict(value)
    return document


def attributes_from(document: dict[str, Any]) -> Attributes:
    return Attributes(
        content_type=document.get("content_type"),
        headers=document.get("headers", {}),
        metadata=document.get("metadata", {}),
        tags=document.get("tags", {}),
    )


def _document(record: ObjectRecord) -> str:
    document = attributes_document(record.attributes)
    if record.checksums:
        document |= {"checksums": dict(record.checksums), "checksum_type": record.checksum_type}
    if record.upload_id:
        document |= {"part_sizes": record.part_sizes, "upload_id": record.upload_id}
    return json.dumps(document)
