"""Object tags: get, put, delete."""

from __future__ import annotations

from millrace.runtime.s3.answer import Answer, xml_answer
from millrace.runtime.s3.object_headers import check_tags
from millrace.runtime.s3.operations.writing import check_document
from millrace.runtime.s3.request import Request
from millrace.runtime.s3.store import ObjectStore
from millrace.runtime.s3.xml import Members, parse


def get_object_tagging(store: ObjectStore, request: Request) -> Answer:
    tags = store.head(request.bucket, request.key).attributes.tags
    members: Members = [("Tag", [("Key", key), ("Value", value)]) for key, value in tags.items()]
    return xml_answer("Tagging", [("TagSet", members)])


def put_object_tagging(store: ObjectStore, request: Request) -> Answer:
    check_document(request)
    sets = list(parse(request.body, ("Tagging",)).all("TagSet"))
    pairs = [(tag.required("Key"), tag.required("Value")) for tag_set in sets for tag in tag_set.all("Tag")]
    store.set_tags(request.bucket, request.key, check_tags(pairs))
    return Answer(200)


def delete_object_tagging(store: ObjectStore, request: Request) -> Answer:
    store.set_tags(request.bucket, request.key, {})
    return Answer(204)
