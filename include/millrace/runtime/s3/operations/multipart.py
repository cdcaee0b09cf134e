"""Multipart uploads over HTTP: create, parts, complete, abort, and the two listings."""

from __future__ import annotations

import re

from millrace.runtime.s3 import checksums
from millrace.runtime.s3.answer import Answer, xml_answer
from millrace.runtime.s3.conditions import write_condition
from millrace.runtime.s3.errors import InvalidArgument, InvalidRange, MalformedXml
from millrace.runtime.s3.multipart import MAX_PARTS
from millrace.runtime.s3.names import whole_number
from millrace.runtime.s3.object_headers import attributes_of, checksum_headers, refuse_options
from millrace.runtime.s3.operations.buckets import OWNER
from millrace.runtime.s3.operations.listings import key_encoder
from millrace.runtime.s3.operations.writing import copy_source
from millrace.runtime.s3.receiving import MAX_PUT, Received, Receiver
from millrace.runtime.s3.records import NamedPart
from millrace.runtime.s3.request import Request
from millrace.runtime.s3.store import MAX_LISTED, ObjectStore
from millrace.runtime.s3.xml import Members, Node, moment, parse

_COPY_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})")


def create_multipart_upload(store: ObjectStore, request: Request) -> Answer:
    refuse_options(request.headers)
    kind = checksums.kind_named(request.headers.get("x-amz-checksum-algorithm"))
    default = "FULL_OBJECT" if kind == "crc64nvme" else "COMPOSITE"
    form = request.headers.get("x-amz-checksum-type", default)
    if form not in ("COMPOSITE", "FULL_OBJECT"):
        raise InvalidArgument(f"x-amz-checksum-type is {form!r}; it must be COMPOSITE or FULL_OBJECT")
    attributes = attributes_of(request.headers)
    upload = store.uploads.create(request.bucket, request.key, attributes, checksum_kind=kind, checksum_type=form)
    headers = {"x-amz-checksum-algorithm": checksums.KINDS[kind], "x-amz-checksum-type": form} if kind else {}
    members: Members = [("Bucket", request.bucket), ("Key", request.key), ("UploadId", upload.id)]
    return xml_answer("InitiateMultipartUploadResult", members, headers)


def begin_upload_part(store: ObjectStore, request: Request) -> Receiver:
    """What can be refused before the body is sent."""
    refuse_options(request.headers)
    _number(request)
    upload = store.uploads.find(request.bucket, request.key, request.query["uploadId"])
    return Receiver(request.headers, store.stage, upload.checksum_kind)


def upload_part(store: ObjectStore, request: Request, received: Received) -> Answer:
    upload = store.uploads.find(request.bucket, request.key, request.query["uploadId"])
    part = store.uploads.put_part(upload, _number(request), received.staged, checksums=received.checksums)
    return Answer(200, {"etag": f'"{part.etag}"'} | checksum_headers(part.checksums))


def upload_part_copy(store: ObjectStore, request: Request) -> Answer:
    refuse_options(request.headers)
    number = _number(request)
    upload = store.uploads.find(request.bucket, request.key, request.query["uploadId"])
    named = copy_source(store, request)
    source, file = store.open(named.bucket, named.key)
    staged = store.stage()
    try:
        with file:
            offset, length = _copy_range(request.headers.get("x-amz-copy-source-range"), source.size)
            staged.write_range(file.fileno(), offset, length)
        values: dict[str, str] = {}
        kind = upload.checksum_kind
        if kind is not None:
            value = staged.read_back(lambda descriptor: checksums.of_file(kind, descriptor))
            values = {kind: value} if value else {}
        part = store.uploads.put_part(upload, number, staged, checksums=values)
    finally:
        staged.discard()
    members: Members = [("LastModified", moment(part.last_modified)), ("ETag", f'"{part.etag}"')]
    members += [(f"Checksum{checksums.KINDS[kind]}", value) for kind, value in part.checksums.items()]
    return xml_answer("CopyPartResult", members)


def complete_multipart_upload(store: ObjectStore, request: Request) -> Answer:
    root = parse(request.body, ("CompleteMultipartUpload",))
    named = [_named_part(node) for node in root.all("Part")]
    if not 1 <= len(named) <= MAX_PARTS:
        raise MalformedXml(f"{len(named)} parts are named; between 1 and {MAX_PARTS} are allowed")
    record = store.uploads.complete(
        request.bucket,
        request.key,
        request.query["uploadId"],
        named,
        checksums=checksums.from_headers(request.headers),
        condition=write_condition(request.headers),
    )
    members: Members = [
        ("Location", f"http://{request.headers.get('host', '')}{request.resource}"),
        ("Bucket", request.bucket),
        ("Key", request.key),
        ("ETag", f'"{record.etag}"'),
        *((f"Checksum{checksums.KINDS[kind]}", value) for kind, value in record.checksums.items()),
        ("ChecksumType", record.checksum_type if record.checksums else None),
    ]
    return xml_answer("CompleteMultipartUploadResult", members)


def abort_multipart_upload(store: ObjectStore, request: Request) -> Answer:
    store.uploads.abort(request.bucket, request.key, request.query["uploadId"])
    return Answer(204)


def list_parts(store: ObjectStore, request: Request) -> Answer:
    upload = store.uploads.find(request.bucket, request.key, request.query["uploadId"])
    marker = request.integer("part-number-marker", 0, low=0, high=MAX_PARTS)
    limit = request.integer("max-parts", MAX_LISTED, low=0, high=MAX_LISTED)
    rest = [part for part in store.uploads.list_parts(upload) if part.number > marker]
    shown = rest[:limit]
    members: Members = [
        ("Bucket", request.bucket),
        ("Key", key_encoder(request)(request.key)),
        ("UploadId", upload.id),
        ("Initiator", OWNER),
        ("Owner", OWNER),
        ("StorageClass", "STANDARD"),
        ("PartNumberMarker", marker),
        ("NextPartNumberMarker", shown[-1].number if shown else None),
        ("MaxParts", limit),
        ("IsTruncated", bool(shown) and len(rest) > len(shown)),
        ("ChecksumAlgorithm", checksums.KINDS[upload.checksum_kind] if upload.checksum_kind else None),
        ("ChecksumType", upload.checksum_type if upload.checksum_kind else None),
    ]
    for part in shown:
        values: Members = [(f"Checksum{checksums.KINDS[kind]}", value) for kind, value in part.checksums.items()]
        about: Members = [
            ("PartNumber", part.number),
            ("LastModified", moment(part.last_modified)),
            ("ETag", f'"{part.etag}"'),
            ("Size", part.size),
        ]
        members.append(("Part", about + values))
    return xml_answer("ListPartsResult", members)


def list_multipart_uploads(store: ObjectStore, request: Request) -> Answer:
    query, shown = request.query, key_encoder(request)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    key_marker, id_marker = query.get("key-marker", ""), query.get("upload-id-marker", "")
    limit = request.integer("max-uploads", MAX_LISTED, low=1, high=MAX_LISTED)
    uploads = store.uploads.list_uploads(request.bucket, prefix)
    keys = [upload.key for upload in uploads]
    ids = [(upload.key, upload.id) for upload in uploads]
    if id_marker and (key_marker, id_marker) in ids:
        uploads = uploads[ids.index((key_marker, id_marker)) + 1 :]
    elif key_marker:
        uploads = uploads[sum(key.encode() <= key_marker.encode() for key in keys) :]
    plain = [upload for upload in uploads if not delimiter or delimiter not in upload.key[len(prefix) :]]
    rolled_up = {
        prefix + upload.key[len(prefix) :].partition(delimiter)[0] + delimiter for upload in uploads if delimiter
    } - {prefix + upload.key[len(prefix) :] + delimiter for upload in plain}
    page = plain[:limit]
    members: Members = [
        ("Bucket", request.bucket),
        ("KeyMarker", shown(key_marker)),
        ("UploadIdMarker", id_marker),
        ("NextKeyMarker", shown(page[-1].key) if len(plain) > limit else None),
        ("NextUploadIdMarker", page[-1].id if len(plain) > limit else None),
        ("Prefix", shown(prefix)),
        ("Delimiter", shown(delimiter) if delimiter else None),
        ("EncodingType", query.get("encoding-type")),
        ("MaxUploads", limit),
        ("IsTruncated", len(plain) > limit),
    ]
    for upload in page:
        about: Members = [
            ("Key", shown(upload.key)),
            ("UploadId", upload.id),
            ("Initiator", OWNER),
            ("Owner", OWNER),
            ("StorageClass", "STANDARD"),
            ("Initiated", moment(upload.created)),
        ]
        members.append(("Upload", about))
    members += [("CommonPrefixes", [("Prefix", shown(common))]) for common in sorted(rolled_up)]
    return xml_answer("ListMultipartUploadsResult", members)


def _number(request: Request) -> int:
    text = request.query.get("partNumber", "")
    number = whole_number(text)
    if number is None or not 1 <= number <= MAX_PARTS:
        raise InvalidArgument(f"partNumber is {text[:40]!r}; it must be a whole number from 1 to {MAX_PARTS}")
    return number


def _copy_range(header: str | None, size: int) -> tuple[int, int]:
    if header is None:
        offset, length = 0, size
    else:
        found = _COPY_RANGE.fullmatch(header.strip())
        if found is None:
            raise InvalidArgument(f"x-amz-copy-source-range is {header!r}; it must be bytes=first-last")
        offset, length = int(found[1]), int(found[2]) - int(found[1]) + 1
    if length < 0 or offset + length > size:
        raise InvalidRange(f"the range {header!r} is outside the source's {size} bytes")
    if length > MAX_PUT:
        raise InvalidArgument(f"a part is at most {MAX_PUT} bytes; give a range of the source's {size}")
    return offset, length


def _named_part(node: Node) -> NamedPart:
    text = node.required("PartNumber").strip()
    number = whole_number(text)
    if number is None:
        raise MalformedXml(f"<PartNumber> is {text[:40]!r}; it must be a whole number")
    values = {kind: node.get(f"Checksum{name}") for kind, name in checksums.KINDS.items()}
    return NamedPart(
        number=number,
        etag=node.required("ETag").strip().strip('"'),
        checksums={kind: value.strip() for kind, value in values.items() if value},
    )
