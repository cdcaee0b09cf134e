"""PutObject, CopyObject, DeleteObject and DeleteObjects."""

from __future__ import annotations

import dataclasses
from urllib.parse import unquote

from millrace.runtime.s3 import checksums
from millrace.runtime.s3.answer import Answer, xml_answer
from millrace.runtime.s3.conditions import COPY_SOURCE, WriteCondition, check_read, write_condition
from millrace.runtime.s3.errors import BadDigest, InvalidArgument, InvalidRequest, MalformedXml, S3Error
from millrace.runtime.s3.names import encode_key
from millrace.runtime.s3.object_headers import attributes_of, checksum_headers, directive, refuse_options
from millrace.runtime.s3.receiving import Received, Receiver
from millrace.runtime.s3.records import ObjectRecord
from millrace.runtime.s3.request import Request
from millrace.runtime.s3.store import ObjectStore
from millrace.runtime.s3.xml import Members, moment, parse

MAX_DELETED = 1000


def begin_put_object(store: ObjectStore, request: Request) -> Receiver:
    """What can be refused before the body is sent."""
    if "partNumber" in request.query:
        raise InvalidArgument("partNumber was given without uploadId: use both to upload a part, or neither")
    refuse_options(request.headers)
    attributes_of(request.headers)
    encode_key(request.key)
    store.bucket(request.bucket)
    named = checksums.kind_named(request.headers.get("x-amz-sdk-checksum-algorithm"))
    return Receiver(request.headers, store.stage, named)


def put_object(store: ObjectStore, request: Request, received: Received) -> Answer:
    record = store.commit(
        request.bucket,
        request.key,
        received.staged,
        attributes_of(request.headers),
        checksums=received.checksums,
        condition=write_condition(request.headers),
    )
    return Answer(200, {"etag": f'"{record.etag}"'} | checksum_headers(record.checksums, record.checksum_type))


def copy_object(store: ObjectStore, request: Request) -> Answer:
    refuse_options(request.headers)
    source = copy_source(store, request)
    replace_metadata = directive(request.headers, "x-amz-metadata-directive")
    replace_tags = directive(request.headers, "x-amz-tagging-directive")
    if (source.bucket, source.key) == (request.bucket, request.key) and not replace_metadata:
        raise InvalidRequest("an object is copied onto itself without changing it: set MetadataDirective to REPLACE")
    given = attributes_of(request.headers)
    attributes = dataclasses.replace(
        given if replace_metadata else source.attributes, tags=given.tags if replace_tags else source.attributes.tags
    )
    condition = write_condition(request.headers)
    record = store.copy(source, request.bucket, request.key, attributes, condition=condition)
    members: Members = [("LastModified", moment(record.last_modified)), ("ETag", f'"{record.etag}"')]
    members += [(f"Checksum{checksums.KINDS[kind]}", value) for kind, value in record.checksums.items()]
    return xml_answer("CopyObjectResult", members)


def copy_source(store: ObjectStore, request: Request) -> ObjectRecord:
    """The object that x-amz-copy-source names, its conditions checked.

    Raises:
        InvalidArgument, NoSuchBucket, NoSuchKey, PreconditionFailed
    """
    text, _, version = request.headers["x-amz-copy-source"].partition("?versionId=")
    bucket, slash, key = unquote(text).removeprefix("/").partition("/")
    if not slash or not key or version not in ("", "null"):
        raise InvalidArgument(f"x-amz-copy-source is {text!r}; it must be bucket/key, without a version")
    record = store.head(bucket, key)
    check_read(record, request.headers, COPY_SOURCE)
    return record


def delete_object(store: ObjectStore, request: Request) -> Answer:
    store.delete(request.bucket, request.key, condition=WriteCondition(etag=request.headers.get("if-match")))
    return Answer(204)


def delete_objects(store: ObjectStore, request: Request) -> Answer:
    check_document(request)
    root = parse(request.body, ("Delete",))
    entries = [(entry.required("Key"), entry.get("ETag")) for entry in root.all("Object")]
    if not 1 <= len(entries) <= MAX_DELETED:
        raise MalformedXml(f"{len(entries)} keys to delete; between 1 and {MAX_DELETED} are allowed")
    quiet = (root.get("Quiet") or "").strip().lower() == "true"
    store.bucket(request.bucket)
    good, members = [], []
    for key, etag in entries:
        try:
            encode_key(key)
            if etag is not None:
                store.delete(request.bucket, key, condition=WriteCondition(etag=etag))
        except S3Error as error:
            members.append(("Error", [("Key", key), ("Code", error.code), ("Message", error.message)]))
        else:
            good.append(key)
    store.delete_many(request.bucket, good)
    deleted: Members = [] if quiet else [("Deleted", [("Key", key)]) for key in good]
    return xml_answer("DeleteResult", deleted + [(name, list(value)) for name, value in members])


def check_document(request: Request) -> None:
    """Compare a document's checksums with its body.

    Raises:
        BadDigest, InvalidDigest, InvalidRequest
    """
    md5 = checksums.content_md5(request.headers)
    claimed = checksums.from_headers(request.headers)
    if md5 is not None:
        claimed["md5"] = checksums.encode(md5)
    for kind, value in claimed.items():
        if kind in checksums.COMPUTED:
            hasher = checksums.COMPUTED[kind]()
            hasher.update(request.body)
            if checksums.encode(hasher.digest()) != value:
                raise BadDigest(f"the {kind} {value!r} is not that of the request's body")
