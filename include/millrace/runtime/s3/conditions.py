"""Conditional requests: If-Match and its relatives, for reads, copies and writes.

The order of precedence is RFC 9110's, which S3 follows. What this file does not do: it reads no store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from millrace.runtime.s3.errors import NoSuchKey, NotImplementedHere, NotModified, PreconditionFailed
from millrace.runtime.s3.records import ObjectRecord

COPY_SOURCE = "x-amz-copy-source-"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteCondition:
    """What must hold of the present object for it to be replaced; checked in the transaction that replaces it."""

    absent: bool = False
    etag: str | None = None

    def check(self, key: str, current: ObjectRecord | None) -> None:
        """
        Raises:
            PreconditionFailed: the object is there and must not be, or has another ETag.
            NoSuchKey: an ETag is asked for and there is no object.
        """
        if self.absent and current is not None:
            raise PreconditionFailed(f"If-None-Match: * was asked for, and the key {key!r} exists")
        if self.etag is not None and current is None:
            raise NoSuchKey(f"If-Match was asked for, and the key {key!r} does not exist")
        if self.etag is not None and current is not None and not _matches(self.etag, current.etag):
            raise PreconditionFailed(f"the key {key!r} has ETag {current.etag!r}, not {self.etag!r} as If-Match asks")


def write_condition(headers: Mapping[str, str]) -> WriteCondition:
    none_match = headers.get("if-none-match")
    if none_match not in (None, "*"):
        raise NotImplementedHere(f"If-None-Match: {none_match} on a write: only `*` is offered, as by S3")
    return WriteCondition(absent=none_match == "*", etag=headers.get("if-match"))


def check_read(record: ObjectRecord, headers: Mapping[str, str], prefix: str = "") -> None:
    """Check a read's conditions; with `prefix`, those on the source of a copy.

    Raises:
        PreconditionFailed: the client asked for another version than this one.
        NotModified: the client has this version (for a copy that is a PreconditionFailed too).
    """
    modified = int(record.last_modified)
    match, unmodified = headers.get(f"{prefix}if-match"), _date(headers.get(f"{prefix}if-unmodified-since"))
    if match is not None:
        if not _matches(match, record.etag):
            raise PreconditionFailed(f"the key {record.key!r} has ETag {record.etag!r}, not {match!r}")
    elif unmodified is not None and modified > unmodified:
        raise PreconditionFailed(f"the key {record.key!r} was modified after the time in If-Unmodified-Since")
    none_match, since = headers.get(f"{prefix}if-none-match"), _date(headers.get(f"{prefix}if-modified-since"))
    unchanged = _matches(none_match, record.etag) if none_match is not None else since is not None and modified <= since
    if unchanged and prefix:
        raise PreconditionFailed(f"the source {record.key!r} has not changed as the copy's conditions ask")
    if unchanged:
        raise NotModified("the client's copy is current")


def _matches(header: str, etag: str) -> bool:
    candidates = [part.strip().removeprefix("W/").strip('"') for part in header.split(",")]
    return "*" in candidates or etag in candidates


def _date(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None  # RFC 9110: a date that is not one is ignored
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
