"""What each request needs of its key: rights on names, for every operation of S3 by a table, elsewhere by one rule.

What this file does not do: it decides nothing; `credentials.Access` does.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

from .credentials import Need, Reach, Right
from .destination import Destination
from .s3.request import Request
from .s3.xml import parse

Rule = Callable[[Request], list[Need]]


def _object(right: Right) -> Rule:
    return lambda request: [Need(right, f"{request.bucket}/{request.key}")]


def _all_below(right: Right) -> Rule:
    """The bucket, or what the listing's prefix leaves of it."""
    return lambda request: [Need(right, f"{request.bucket}/{request.query.get('prefix', '')}", "below")]


def _whole_bucket(right: Right, reach: Reach = "below") -> Rule:
    return lambda request: [Need(right, f"{request.bucket}/" if reach == "below" else request.bucket, reach)]


def _copy(request: Request) -> list[Need]:
    # Read as `operations.writing.copy_source` reads it.
    source = unquote(request.headers["x-amz-copy-source"].partition("?versionId=")[0]).removeprefix("/")
    return [Need("s3:read", source), Need("s3:write", f"{request.bucket}/{request.key}")]


def _each_deleted(request: Request) -> list[Need]:
    root = parse(request.body, ("Delete",))
    return [Need("s3:write", f"{request.bucket}/{entry.required('Key')}") for entry in root.all("Object")]


S3: dict[str, Rule] = {
    "ListBuckets": lambda _: [Need("s3:read", "", "below")],
    "CreateBucket": _whole_bucket("s3:write"),
    "DeleteBucket": _whole_bucket("s3:write"),
    "HeadBucket": _whole_bucket("s3:read", "bucket"),
    "GetBucketLocation": _whole_bucket("s3:read", "bucket"),
    "GetBucketVersioning": _whole_bucket("s3:read", "bucket"),
    "ListObjects": _all_below("s3:read"),
    "ListObjectsV2": _all_below("s3:read"),
    "ListMultipartUploads": _all_below("s3:read"),
    "GetObject": _object("s3:read"),
    "HeadObject": _object("s3:read"),
    "GetObjectAttributes": _object("s3:read"),
    "GetObjectTagging": _object("s3:read"),
    "ListParts": _object("s3:read"),
    "PutObject": _object("s3:write"),
    "CopyObject": _copy,
    "DeleteObject": _object("s3:write"),
    "DeleteObjects": _each_deleted,
    "PutObjectTagging": _object("s3:write"),
    "DeleteObjectTagging": _object("s3:write"),
    "CreateMultipartUpload": _object("s3:write"),
    "UploadPart": _object("s3:write"),
    "UploadPartCopy": _copy,
    "CompleteMultipartUpload": _object("s3:write"),
    "AbortMultipartUpload": _object("s3:write"),
}
"""By operation; one that is not in the table is denied to everyone."""


def of_call(where: Destination, service: str) -> Need:
    """What a call of another service than S3 needs; `service` is what it is signed for."""
    if where.place in ("sagemaker", "logs"):
        return Need(where.place, where.operation)
    # moto keeps some of SageMaker's records, and the logs that are not ours, under their own services' names.
    if service == "sagemaker":
        return Need("sagemaker", where.target.rpartition(".")[2])
    if service == "logs":
        return Need("logs", where.target.rpartition(".")[2])
    return Need("other", service)
