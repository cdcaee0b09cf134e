"""S3's rules for the names of buckets and objects, for the order of keys, and for numbers that clients write.

What this file does not do: it looks nothing up.
"""

from __future__ import annotations

import re

from millrace.runtime.s3.errors import InvalidBucketName, InvalidUri, KeyTooLong

MAX_KEY_BYTES = 1024
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")
_RESERVED_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES = ("-s3alias", "--ol-s3", "--x-s3", ".mrap")


def check_bucket_name(name: str) -> None:
    """
    Raises:
        InvalidBucketName: S3 would not create it.
    """
    if (
        not _BUCKET.fullmatch(name)
        or ".." in name
        or _ADDRESS.fullmatch(name)
        or name.startswith(_RESERVED_PREFIXES)
        or name.endswith(_RESERVED_SUFFIXES)
    ):
        raise InvalidBucketName(
            f"the bucket name {name!r} is not valid: use 3 to 63 lower-case letters, digits, dots and hyphens, "
            "beginning and ending with a letter or digit, not shaped like an IP address"
        )


def encode_key(key: str) -> bytes:
    """A key as it is stored and sorted: S3 orders keys by their UTF-8 bytes.

    Raises:
        KeyTooLong: over 1,024 bytes.
        InvalidUri: empty, or not encodable as UTF-8.
    """
    try:
        encoded = key.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidUri(f"the key {key!r} cannot be written as UTF-8") from error
    if not encoded:
        raise InvalidUri("the key is empty; an object's key has at least one character")
    if len(encoded) > MAX_KEY_BYTES:
        raise KeyTooLong(f"the key is {len(encoded)} bytes; at most {MAX_KEY_BYTES} bytes of UTF-8 are allowed")
    return encoded


def whole_number(text: str) -> int | None:
    """The number that a client wrote; None when it is none, or so long that nothing of S3's is counted by it."""
    return int(text) if _WHOLE_NUMBER.fullmatch(text) else None


def after_all_with_prefix(prefix: bytes) -> bytes | None:
    """The smallest byte string above everything that starts with `prefix`; None when there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None
