"""ListObjects, versions 1 and 2. The paging itself is the store's."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from urllib.parse import quote

from millrace.runtime.s3.answer import Answer, xml_answer
from millrace.runtime.s3.checksums import KINDS
from millrace.runtime.s3.errors import InvalidArgument
from millrace.runtime.s3.operations.buckets import OWNER
from millrace.runtime.s3.records import ObjectRecord
from millrace.runtime.s3.request import Request
from millrace.runtime.s3.store import MAX_LISTED, ObjectStore
from millrace.runtime.s3.xml import Members, moment


def list_objects(store: ObjectStore, request: Request) -> Answer:
    query, shown = request.query, key_encoder(request)
    prefix, delimiter, marker = query.get("prefix", ""), query.get("delimiter", ""), query.get("marker", "")
    limit = request.integer("max-keys", MAX_LISTED, low=0, high=MAX_LISTED)
    page = store.list_page(request.bucket, prefix, delimiter, marker, limit)
    members: Members = [
        ("Name", request.bucket),
        ("Prefix", shown(prefix)),
        ("Marker", shown(marker)),
        ("NextMarker", shown(page.next) if page.next is not None and delimiter else None),
        ("MaxKeys", limit),
        ("Delimiter", shown(delimiter) if delimiter else None),
        ("EncodingType", query.get("encoding-type")),
        ("IsTruncated", page.truncated),
        *(("Contents", _contents(record, shown, owner=True)) for record in page.contents),
        *_common_prefixes(page.prefixes, shown),
    ]
    return xml_answer("ListBucketResult", members)


def list_objects_v2(store: ObjectStore, request: Request) -> Answer:
    query, shown = request.query, key_encoder(request)
    prefix, delimiter, start_after = query.get("prefix", ""), query.get("delimiter", ""), query.get("start-after", "")
    token = query.get("continuation-token")
    limit = request.integer("max-keys", MAX_LISTED, low=0, high=MAX_LISTED)
    page = store.list_page(request.bucket, prefix, delimiter, _from_token(token) if token else start_after, limit)
    owner = query.get("fetch-owner") == "true"
    members: Members = [
        ("Name", request.bucket),
        ("Prefix", shown(prefix)),
        ("StartAfter", shown(start_after) if start_after else None),
        ("ContinuationToken", token),
        ("NextContinuationToken", _to_token(page.next) if page.next is not None else None),
        ("KeyCount", len(page.contents) + len(page.prefixes)),
        ("MaxKeys", limit),
        ("Delimiter", shown(delimiter) if delimiter else None),
        ("EncodingType", query.get("encoding-type")),
        ("IsTruncated", page.truncated),
        *(("Contents", _contents(record, shown, owner=owner)) for record in page.contents),
        *_common_prefixes(page.prefixes, shown),
    ]
    return xml_answer("ListBucketResult", members)


def key_encoder(request: Request) -> Callable[[str], str]:
    """How keys are written in this listing: as they are, or URL-encoded, so that any key can stand in XML.

    Raises:
        InvalidArgument: encoding-type is not `url`.
    """
    encoding = request.query.get("encoding-type")
    if encoding is None:
        return str
    if encoding != "url":
        raise InvalidArgument(f"encoding-type is {encoding!r}; it can only be 'url'")
    return lambda key: quote(key, safe="/*-._")


def _contents(record: ObjectRecord, shown: Callable[[str], str], *, owner: bool) -> Members:
    return [
        ("Key", shown(record.key)),
        ("LastModified", moment(record.last_modified)),
        ("ETag", f'"{record.etag}"'),
        *(("ChecksumAlgorithm", KINDS[kind]) for kind in record.checksums),
        ("ChecksumType", record.checksum_type if record.checksums else None),
        ("Size", record.size),
        ("Owner", OWNER if owner else None),
        ("StorageClass", "STANDARD"),
    ]


def _common_prefixes(prefixes: list[str], shown: Callable[[str], str]) -> Members:
    return [("CommonPrefixes", [("Prefix", shown(prefix))]) for prefix in prefixes]


def _to_token(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode()


def _from_token(token: str) -> str:
    try:
        return base64.b64decode(token, altchars="-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise InvalidArgument(f"the continuation token {token!r} is not one of ours: list from the start") from error
