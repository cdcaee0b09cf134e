"""GetObject, HeadObject and GetObjectAttributes: conditions, ranges, parts, checksums."""

from __future__ import annotations

import os
from email.utils import formatdate

from millrace.runtime.s3.answer import Answer, FileSlice, xml_answer
from millrace.runtime.s3.blobs import CHUNK
from millrace.runtime.s3.checksums import KINDS
from millrace.runtime.s3.conditions import check_read
from millrace.runtime.s3.errors import InvalidArgument, InvalidRange, NotModified
from millrace.runtime.s3.object_headers import checksum_headers, describe, refuse_options
from millrace.runtime.s3.ranges import parse_range
from millrace.runtime.s3.records import ObjectRecord
from millrace.runtime.s3.request import Request
from millrace.runtime.s3.store import ObjectStore
from millrace.runtime.s3.xml import Members


def get_object(store: ObjectStore, request: Request) -> Answer:
    _check_version(request)
    record, file = store.open(request.bucket, request.key)
    try:
        status, headers, offset, length = _describe(record, request)
        if length > CHUNK:
            return Answer(status, headers, FileSlice(file, offset, length))
        answer = Answer(status, headers, os.pread(file.fileno(), length, offset))
    except BaseException:
        file.close()
        raise
    file.close()
    return answer


def head_object(store: ObjectStore, request: Request) -> Answer:
    _check_version(request)
    status, headers, _, length = _describe(store.head(request.bucket, request.key), request)
    return Answer(status, headers | {"content-length": str(length)})


def get_object_attributes(store: ObjectStore, request: Request) -> Answer:
    _check_version(request)
    record = store.head(request.bucket, request.key)
    wanted = {name.strip() for name in request.headers.get("x-amz-object-attributes", "").split(",")}
    values: Members = [(f"Checksum{KINDS[kind]}", value) for kind, value in record.checksums.items()]
    if values:
        values.append(("ChecksumType", record.checksum_type))
    members: Members = [
        ("ETag", record.etag),
        ("Checksum", values or None),
        ("ObjectParts", [("PartsCount", len(record.part_sizes))] if record.part_sizes else None),
        ("StorageClass", "STANDARD"),
        ("ObjectSize", record.size),
    ]
    headers = {"last-modified": formatdate(record.last_modified, usegmt=True)}
    return xml_answer("GetObjectAttributesResponse", [member for member in members if member[0] in wanted], headers)


def _describe(record: ObjectRecord, request: Request) -> tuple[int, dict[str, str], int, int]:
    """Status, headers, offset and length of the answer."""
    refuse_options(request.headers)
    headers = describe(record, request.query)
    try:
        check_read(record, request.headers)
    except NotModified as current:
        current.headers |= {name: headers[name] for name in ("etag", "last-modified")}
        raise
    if record.part_sizes and "partNumber" in request.query:
        headers["x-amz-mp-parts-count"] = str(len(record.part_sizes))
    stretch = _part(record, request) or parse_range(request.headers.get("range"), record.size)
    if stretch is not None:
        offset, length = stretch
        return 206, headers | {"content-range": f"bytes {offset}-{offset + length - 1}/{record.size}"}, offset, length
    if request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        headers |= checksum_headers(record.checksums, record.checksum_type)
    return 200, headers, 0, record.size


def _part(record: ObjectRecord, request: Request) -> tuple[int, int] | None:
    if "partNumber" not in request.query:
        return None
    sizes = record.part_sizes or (record.size,)
    number = request.integer("partNumber", 1, low=1, high=10_000)
    if number > len(sizes):
        raise InvalidRange(f"part {number} was asked for, and the object has {len(sizes)}")
    return (sum(sizes[: number - 1]), sizes[number - 1]) if record.size else None


def _check_version(request: Request) -> None:
    version = request.query.get("versionId", "null")
    if version != "null":
        raise InvalidArgument(f"the version {version!r} does not exist: versioning is not offered by this runtime")
