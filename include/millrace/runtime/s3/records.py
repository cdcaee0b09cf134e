"""What the store remembers, as frozen values.

ETags are held without their quotes; times are seconds since the epoch. What this file does not do: no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What a client says about an object besides its bytes."""

    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """The other system headers, by lower-case name: content-encoding, cache-control, …"""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """User metadata, without the `x-amz-meta-` prefix."""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketRecord:
    name: str
    created: float
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRecord:
    bucket: str
    key: str
    size: int
    etag: str
    last_modified: float
    path: Path
    """Where the bytes are. The file never changes; it is gone once the object is replaced or deleted."""
    attributes: Attributes
    checksums: Mapping[str, str] = field(default_factory=dict)
    """Base64 values by kind: crc32, sha256, …"""
    checksum_type: str = "FULL_OBJECT"
    part_sizes: tuple[int, ...] = ()
    """The sizes of the parts it was completed from; empty for an object that was put whole."""
    upload_id: str | None = None

    @property
    def content_type(self) -> str | None:
        return self.attributes.content_type

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.attributes.metadata

    @property
    def headers(self) -> Mapping[str, str]:
        return self.attributes.headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a listing. `next` continues it as `start_after`; None when it is the last."""

    contents: list[ObjectRecord]
    prefixes: list[str]
    next: str | None

    @property
    def truncated(self) -> bool:
        return self.next is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRecord:
    """A multipart upload that is neither completed nor aborted."""

    id: str
    bucket: str
    key: str
    created: float
    attributes: Attributes
    checksum_kind: str | None
    checksum_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRecord:
    number: int
    size: int
    etag: str
    last_modified: float
    path: Path
    checksums: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPart:
    """A part as the client names it when it completes the upload."""

    number: int
    etag: str
    checksums: Mapping[str, str] = field(default_factory=dict)
