"""What the runtime remembers: one SQLite file of resources and their tags.

A resource is a JSON document under (kind, name), with the columns that listings sort and filter by. Every change is
committed (WAL, synchronous=FULL) before it is answered. What it does not do: it knows no kind's fields, and it holds
no object bytes and no log lines.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    kind TEXT NOT NULL, name TEXT NOT NULL, arn TEXT NOT NULL UNIQUE, status TEXT NOT NULL,
    created REAL NOT NULL, modified REAL NOT NULL, document TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_creation ON resources (kind, created);
CREATE INDEX IF NOT EXISTS by_status ON resources (kind, status);
CREATE INDEX IF NOT EXISTS by_status_and_creation ON resources (kind, status, created);
CREATE INDEX IF NOT EXISTS by_modification ON resources (kind, modified);
CREATE TABLE IF NOT EXISTS tags (arn TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (arn, key));
"""
SORT_COLUMNS = {
    "Name": "name", "CreationTime": "created", "Status": "status", "LastModifiedTime": "modified",
    "ScheduledTime": "json_extract(document, '$.scheduled')",
}  # fmt: skip
NOWHERE = "$[0]"
"""A path in no document, ahead of those of an excerpt: of two and more SQLite makes an array of the values as they were
written, of one the value itself, in which a time has lost its last digits."""


class AlreadyExists(Exception):
    """A resource of that kind and name is there; carries it."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.name)
        self.resource = resource


@dataclass(frozen=True, slots=True)
class Resource:
    """One stored resource. Times are seconds since the epoch."""

    kind: str
    name: str
    arn: str
    status: str
    created: float
    modified: float
    document: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A listing: SageMaker's filters, a sort column, and a page."""

    name_contains: str | None = None
    name_contains_any_case: str | None = None
    status: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    modified_after: float | None = None
    modified_before: float | None = None
    document_equals: Mapping[str, str] = field(default_factory=dict)
    """Values by JSON path in the document."""
    document_after: Mapping[str, float] = field(default_factory=dict)
    document_before: Mapping[str, float] = field(default_factory=dict)
    """Bounds, themselves left out, of numbers by JSON path in the document."""
    excerpt: Mapping[str, str] = field(default_factory=dict)
    """What to give for the document, as members with the JSON path of each (None where there is nothing); all of it when
    empty. SQLite reads a document in a third of the time in which Python does."""
    sort_by: str = "CreationTime"
    descending: bool = True
    offset: int = 0
    limit: int = 10


class Database:
    """All methods may be called from any thread."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;")
        self._connection.executescript(SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def insert(
        self, kind: str, name: str, arn: str, status: str, document: dict[str, Any], tags: dict[str, str]
    ) -> Resource:
        """Store a new resource.

        Raises:
            AlreadyExists: that kind has one of that name.
        """
        now = self._now()
        with self._lock:
            existing = self.get(kind, name)
            if existing is not None:
                raise AlreadyExists(existing)
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.execute(
                    "INSERT INTO resources VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (kind, name, arn, status, now, now, json.dumps(document)),
                )
                self._connection.executemany(
                    "INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", [(arn, k, v) for k, v in tags.items()]
                )
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
        return Resource(kind, name, arn, status, now, now, document)

    def get(self, kind: str, name: str) -> Resource | None:
        with self._lock:
            row = self._connection.execute(
                "SELECT * FROM resources WHERE kind = ? AND name = ?", (kind, name)
            ).fetchone()
        return _resource(row) if row else None

    def change(
        self, kind: str, name: str, edit: Callable[[dict[str, Any]], str | None], *, touch: bool = True
    ) -> Resource | None:
        """Edit a document in one transaction. `edit` changes it in place and returns the new status, or None to keep it.

        Returns the resource after the change, or None when it is not there.
        """
        with self._lock:
            current = self.get(kind, name)
            if current is None:
                return None
            document = current.document
            status = edit(document) or current.status
            modified = self._now() if touch else current.modified
            self._connection.execute(
                "UPDATE resources SET status = ?, modified = ?, document = ? WHERE kind = ? AND name = ?",
                (status, modified, json.dumps(document), kind, name),
            )
        return Resource(kind, name, current.arn, status, current.created, modified, document)

    def delete(self, kind: str, name: str) -> None:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(
                "DELETE FROM tags WHERE arn IN (SELECT arn FROM resources WHERE kind = ? AND name = ?)", (kind, name)
            )
            self._connection.execute("DELETE FROM resources WHERE kind = ? AND name = ?", (kind, name))
            self._connection.execute("COMMIT")

    def list(self, kind: str, query: Query) -> list[Resource]:
        """One page of a kind's resources."""
        return list(self.each(kind, query))

    def each(self, kind: str, query: Query) -> Iterator[Resource]:
        """A listing of any length: each document is parsed when its turn comes, and they are not held together."""
        where: list[str] = ["kind = ?"]
        values: list[Any] = [kind]
        filters: list[tuple[str, Any]] = [
            ("instr(name, ?) > 0", query.name_contains),
            (r"name LIKE ? ESCAPE '\'", _pattern(query.name_contains_any_case)),
            ("status = ?", query.status),
            ("created > ?", query.created_after),
            ("created < ?", query.created_before),
            ("modified > ?", query.modified_after),
            ("modified < ?", query.modified_before),
        ]
        for clause, value in filters:
            if value is not None:
                where.append(clause)
                values.append(value)
        compared = (("=", query.document_equals), (">", query.document_after), ("<", query.document_before))
        for sign, members in compared:
            for path, value in members.items():
                where.append(f"json_extract(document, ?) {sign} ?")
                values += [path, value]
        column = SORT_COLUMNS[query.sort_by]
        direction = "DESC" if query.descending else "ASC"
        order = f"ORDER BY {column} {direction}, name {direction}"
        # The names first, which an index holds: a row holds a whole document, and most rows are passed over.
        names = f"SELECT kind, name FROM resources WHERE {' AND '.join(where)} {order} LIMIT ? OFFSET ?"  # noqa: S608
        paths = (NOWHERE, *query.excerpt.values()) if query.excerpt else ()
        document = f"json_extract(document{', ?' * len(paths)})" if paths else "document"
        with self._lock:
            rows = self._connection.execute(
                f"SELECT kind, name, arn, status, created, modified, {document} "  # noqa: S608 - all ours
                f"FROM ({names}) JOIN resources USING (kind, name) {order}",
                (*paths, *values, query.limit, query.offset),
            ).fetchall()
        return (_resource(row, tuple(query.excerpt)) for row in rows)

    def all(self, kind: str, *statuses: str) -> Iterator[Resource]:
        """Every resource of a kind that is in one of `statuses`, oldest first."""
        marks = ", ".join("?" * len(statuses))
        with self._lock:
            rows = self._connection.execute(
                f"SELECT * FROM resources WHERE kind = ? AND status IN ({marks}) ORDER BY created",  # noqa: S608
                (kind, *statuses),
            ).fetchall()
        return map(_resource, rows)

    def exists_arn(self, arn: str) -> bool:
        with self._lock:
            return self._connection.execute("SELECT 1 FROM resources WHERE arn = ?", (arn,)).fetchone() is not None

    def tags(self, arn: str) -> dict[str, str]:
        with self._lock:
            rows = self._connection.execute("SELECT key, value FROM tags WHERE arn = ? ORDER BY key", (arn,)).fetchall()
        return dict(rows)

    def tag(self, arn: str, tags: dict[str, str]) -> None:
        with self._lock:
            self._connection.executemany(
                "INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", [(arn, k, v) for k, v in tags.items()]
            )

    def untag(self, arn: str, keys: Sequence[str]) -> None:
        with self._lock:
            self._connection.executemany("DELETE FROM tags WHERE arn = ? AND key = ?", [(arn, key) for key in keys])


def _pattern(part: str | None) -> str | None:
    """What LIKE, which ignores the case of A to Z, finds a part of a name with."""
    return None if part is None else "%" + re.sub(r"([%_\\])", r"\\\1", part) + "%"


def _resource(row: tuple[Any, ...], excerpt: tuple[str, ...] = ()) -> Resource:
    kind, name, arn, status, created, modified, text = row
    content = json.loads(text)
    document = dict(zip(excerpt, content[1:], strict=True)) if excerpt else content
    return Resource(kind, name, arn, status, created, modified, document)
