"""Objects' attributes in HTTP headers, both ways.

What it does not do: conditions, ranges and checksum values have files of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate
from urllib.parse import parse_qsl

from millrace.runtime.s3 import checksums
from millrace.runtime.s3.errors import InvalidArgument, InvalidTag, MetadataTooLarge, NotImplementedHere
from millrace.runtime.s3.records import Attributes, ObjectRecord

METADATA = "x-amz-meta-"
MAX_METADATA = 2048
DEFAULT_TYPE = "binary/octet-stream"
KEPT = ("cache-control", "content-disposition", "content-encoding", "content-language", "expires")
OVERRIDES = {f"response-{name}": name for name in ("content-type", *KEPT)}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HARMLESS_ACLS = ("private", "bucket-owner-read", "bucket-owner-full-control")
_REFUSED = {
    "x-amz-server-side-encryption-customer-algorithm": "encryption with the client's key (SSE-C)",
    "x-amz-copy-source-server-side-encryption-customer-algorithm": "encryption with the client's key (SSE-C)",
    "x-amz-object-lock-mode": "object lock",
    "x-amz-object-lock-legal-hold": "object lock",
    "x-amz-website-redirect-location": "website redirects",
    "x-amz-write-offset-bytes": "appending to an object",
}


def refuse_options(headers: Mapping[str, str]) -> None:
    """
    Raises:
        NotImplementedHere: a header asks for something that would have to be pretended.
    """
    for name, what in _REFUSED.items():
        if name in headers:
            raise NotImplementedHere(f"{name}: {what} is not offered by this runtime; leave the header out")
    acl = headers.get("x-amz-acl", "private")
    if acl not in _HARMLESS_ACLS or any(name.startswith("x-amz-grant-") for name in headers):
        raise NotImplementedHere(f"access control ({acl!r} or a grant) is not offered by this runtime; leave it out")


def attributes_of(headers: Mapping[str, str]) -> Attributes:
    """
    Raises:
        MetadataTooLarge, InvalidTag, InvalidArgument
    """
    kept = {name: headers[name] for name in KEPT if name in headers}
    if "content-encoding" in kept:
        # aws-chunked describes the way here, not the object.
        codings = [coding.strip() for coding in kept["content-encoding"].split(",")]
        kept["content-encoding"] = ",".join(coding for coding in codings if coding and coding != "aws-chunked")
        if not kept["content-encoding"]:
            del kept["content-encoding"]
    metadata = {
        name.removeprefix(METADATA): value.strip() for name, value in headers.items() if name.startswith(METADATA)
    }
    size = sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
    if size > MAX_METADATA:
        raise MetadataTooLarge(f"the user metadata is {size} bytes; at most {MAX_METADATA} are allowed")
    tags = check_tags(parse_qsl(headers.get("x-amz-tagging", ""), keep_blank_values=True))
    return Attributes(content_type=headers.get("content-type") or None, headers=kept, metadata=metadata, tags=tags)


def check_tags(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """
    Raises:
        InvalidTag: a key is given twice, empty or too long, a value too long, or there are more than ten.
    """
    if len(pairs) > 10:
        raise InvalidTag(f"an object has at most 10 tags, not {len(pairs)}")
    for key, value in pairs:
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise InvalidTag(f"the tag {key!r}={value!r} is not valid: keys of 1 to 128 characters, values up to 256")
    if len(dict(pairs)) != len(pairs):
        raise InvalidTag("a tag key is given more than once")
    return dict(pairs)


def directive(headers: Mapping[str, str], name: str) -> bool:
    """Whether a copy replaces (metadata or tags) rather than copies.

    Raises:
        InvalidArgument: it is neither COPY nor REPLACE.
    """
    value = headers.get(name, "COPY")
    if value not in ("COPY", "REPLACE"):
        raise InvalidArgument(f"{name} is {value!r}; it must be COPY or REPLACE")
    return value == "REPLACE"


def describe(record: ObjectRecord, query: Mapping[str, str]) -> dict[str, str]:
    """The headers of an answer with an object, without its length."""
    headers = {
        "etag": f'"{record.etag}"',
        "last-modified": formatdate(record.last_modified, usegmt=True),
        "accept-ranges": "bytes",
        "content-type": record.content_type or DEFAULT_TYPE,
        **record.headers,
        # Jobs write HTML reports, and people open them on the port of an API that runs code: a page from here must
        # not be able to call it with the origin of this port, nor be taken for something else than it says it is.
        "content-security-policy": "sandbox allow-scripts",
        "x-content-type-options": "nosniff",
    }
    headers |= {METADATA + name: value for name, value in record.metadata.items()}
    for override, name in OVERRIDES.items():
        if override in query:
            if _CONTROL.search(query[override]):
                raise InvalidArgument(f"{override} is {query[override][:40]!r}; a header has no control characters")
            headers[name] = query[override]
    if record.attributes.tags:
        headers["x-amz-tagging-count"] = str(len(record.attributes.tags))
    return headers


def checksum_headers(values: Mapping[str, str], kind: str = "") -> dict[str, str]:
    """Checksums as headers; with `kind`, COMPOSITE or FULL_OBJECT, as those of a whole object."""
    headers = {checksums.HEADER + name: value for name, value in values.items()}
    return headers | {"x-amz-checksum-type": kind} if headers and kind else headers
