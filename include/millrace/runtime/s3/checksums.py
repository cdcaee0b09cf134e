"""Checksums of objects and parts: which kinds there are, computing them, and combining those of parts.

CRC32, SHA-1, SHA-256, SHA-512 and MD5 are computed and compared. The others (CRC32C, CRC64NVME, XXHASH*) have no
implementation in the standard library: they are kept and handed back as the client gave them, never checked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from millrace.runtime.s3.blobs import CHUNK
from millrace.runtime.s3.errors import InvalidDigest, InvalidRequest

HEADER = "x-amz-checksum-"
KINDS = {
    "crc32": "CRC32",
    "crc32c": "CRC32C",
    "crc64nvme": "CRC64NVME",
    "sha1": "SHA1",
    "sha256": "SHA256",
    "sha512": "SHA512",
    "md5": "MD5",
    "xxhash64": "XXHASH64",
    "xxhash3": "XXHASH3",
    "xxhash128": "XXHASH128",
}
"""The name in headers to the name in XML."""


class Hasher(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...
    def digest(self) -> bytes: ...


class Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


COMPUTED: dict[str, Callable[[], Hasher]] = {
    "crc32": Crc32,
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
}


def from_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The checksum values in headers or trailers, by kind.

    Raises:
        InvalidRequest: more than one kind, or a value that is not base64.
    """
    found = {kind: headers[HEADER + kind] for kind in KINDS if HEADER + kind in headers}
    if len(found) > 1:
        raise InvalidRequest(f"one checksum kind at a time, and the request has {sorted(found)}")
    for kind, value in found.items():
        try:
            base64.b64decode(value.partition("-")[0], validate=True)
        except binascii.Error as error:
            raise InvalidRequest(f"the value {value!r} of {HEADER}{kind} is not base64") from error
    return found


def kind_named(algorithm: str | None) -> str | None:
    """The kind that a header such as `x-amz-checksum-algorithm: CRC32` names.

    Raises:
        InvalidRequest: there is no such algorithm.
    """
    if algorithm is None:
        return None
    if algorithm.lower() not in KINDS:
        raise InvalidRequest(f"the checksum algorithm {algorithm!r} is not one of {', '.join(KINDS.values())}")
    return algorithm.lower()


def content_md5(headers: Mapping[str, str]) -> bytes | None:
    """
    Raises:
        InvalidDigest: Content-MD5 is not 16 bytes in base64.
    """
    text = headers.get("content-md5")
    if text is None:
        return None
    try:
        digest = base64.b64decode(text, validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != 16:
        raise InvalidDigest(f"Content-MD5 is {text!r}; it must be a 16-byte MD5 in base64")
    return digest


def encode(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def of_file(kind: str, descriptor: int) -> str | None:
    """The checksum of an open file; None for a kind that is not computed here."""
    if kind not in COMPUTED:
        return None
    hasher, offset = COMPUTED[kind](), 0
    while chunk := os.pread(descriptor, CHUNK, offset):
        hasher.update(chunk)
        offset += len(chunk)
    return encode(hasher.digest())


def combine(kind: str, parts: Sequence[str | None]) -> str | None:
    """S3's composite: the checksum of the parts' checksums, and how many they are. None where it cannot be computed."""
    if kind not in COMPUTED:
        return None
    hasher = COMPUTED[kind]()
    for value in parts:
        if value is None:
            return None
        hasher.update(base64.b64decode(value))
    return f"{encode(hasher.digest())}-{len(parts)}"
