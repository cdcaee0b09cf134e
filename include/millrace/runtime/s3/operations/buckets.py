"""Buckets: listing, creating, finding and deleting them, and what they say about themselves."""

from __future__ import annotations

from millrace.runtime.s3.answer import Answer, xml_answer
from millrace.runtime.s3.request import Request
from millrace.runtime.s3.store import DEFAULT_REGION, ObjectStore
from millrace.runtime.s3.xml import Members, moment, parse

OWNER: Members = [
    ("ID", "75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a"),
    ("DisplayName", "millrace"),
]


def list_buckets(store: ObjectStore, request: Request) -> Answer:
    after, prefix = request.query.get("continuation-token", ""), request.query.get("prefix", "")
    limit = request.integer("max-buckets", 10_000, low=1, high=10_000)
    found = [bucket for bucket in store.buckets() if bucket.name > after and bucket.name.startswith(prefix)]
    buckets: Members = [
        ("Bucket", [("Name", b.name), ("CreationDate", moment(b.created)), ("BucketRegion", b.region)])
        for b in found[:limit]
    ]
    token = found[limit - 1].name if len(found) > limit else None
    members: Members = [
        ("Owner", OWNER),
        ("Buckets", buckets),
        ("ContinuationToken", token),
        ("Prefix", prefix or None),
    ]
    return xml_answer("ListAllMyBucketsResult", members)


def create_bucket(store: ObjectStore, request: Request) -> Answer:
    region = None
    if request.body.strip():
        region = parse(request.body, ("CreateBucketConfiguration",)).get("LocationConstraint")
    store.create_bucket(request.bucket, (region or "").strip() or DEFAULT_REGION)
    return Answer(200, {"location": f"/{request.bucket}"})


def head_bucket(store: ObjectStore, request: Request) -> Answer:
    return Answer(200, {"x-amz-bucket-region": store.bucket(request.bucket).region})


def delete_bucket(store: ObjectStore, request: Request) -> Answer:
    store.delete_bucket(request.bucket)
    return Answer(204)


def get_bucket_location(store: ObjectStore, request: Request) -> Answer:
    region = store.bucket(request.bucket).region
    return xml_answer("LocationConstraint", "" if region == DEFAULT_REGION else region)


def get_bucket_versioning(store: ObjectStore, request: Request) -> Answer:
    """Empty: versioning has never been enabled, and cannot be here."""
    store.bucket(request.bucket)
    return xml_answer("VersioningConfiguration", "")
