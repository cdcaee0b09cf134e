"""Which function answers which request: method, level (service, bucket, object) and the query key that selects.

Also which operations of S3 are known and not offered, so that each is refused by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from millrace.runtime.s3.answer import Answer
from millrace.runtime.s3.errors import MethodNotAllowed, NotImplementedHere
from millrace.runtime.s3.operations import buckets, listings, multipart, reading, tagging, writing
from millrace.runtime.s3.receiving import Received, Receiver
from millrace.runtime.s3.request import Request
from millrace.runtime.s3.store import ObjectStore


@dataclass(frozen=True, slots=True)
class Plain:
    """Answers in one hop to the pool; a body, if any, is a small document."""

    name: str
    run: Callable[[ObjectStore, Request], Answer]


@dataclass(frozen=True, slots=True)
class Upload:
    """Takes an object's bytes: `begin` refuses what it can, `finish` commits what was received."""

    name: str
    begin: Callable[[ObjectStore, Request], Receiver]
    finish: Callable[[ObjectStore, Request, Received], Answer]


Route = Plain | Upload

COPY_OBJECT = Plain("CopyObject", writing.copy_object)
UPLOAD_PART_COPY = Plain("UploadPartCopy", multipart.upload_part_copy)
COPIES = {"PutObject": COPY_OBJECT, "UploadPart": UPLOAD_PART_COPY}
"""What a request with x-amz-copy-source is instead."""

ROUTES: dict[tuple[str, str, str], Route] = {
    ("GET", "service", ""): Plain("ListBuckets", buckets.list_buckets),
    ("PUT", "bucket", ""): Plain("CreateBucket", buckets.create_bucket),
    ("HEAD", "bucket", ""): Plain("HeadBucket", buckets.head_bucket),
    ("DELETE", "bucket", ""): Plain("DeleteBucket", buckets.delete_bucket),
    ("GET", "bucket", "location"): Plain("GetBucketLocation", buckets.get_bucket_location),
    ("GET", "bucket", "versioning"): Plain("GetBucketVersioning", buckets.get_bucket_versioning),
    ("GET", "bucket", ""): Plain("ListObjects", listings.list_objects),
    ("GET", "bucket", "list-type"): Plain("ListObjectsV2", listings.list_objects_v2),
    ("POST", "bucket", "delete"): Plain("DeleteObjects", writing.delete_objects),
    ("GET", "bucket", "uploads"): Plain("ListMultipartUploads", multipart.list_multipart_uploads),
    ("PUT", "object", ""): Upload("PutObject", writing.begin_put_object, writing.put_object),
    ("GET", "object", ""): Plain("GetObject", reading.get_object),
    ("HEAD", "object", ""): Plain("HeadObject", reading.head_object),
    ("DELETE", "object", ""): Plain("DeleteObject", writing.delete_object),
    ("GET", "object", "attributes"): Plain("GetObjectAttributes", reading.get_object_attributes),
    ("GET", "object", "tagging"): Plain("GetObjectTagging", tagging.get_object_tagging),
    ("PUT", "object", "tagging"): Plain("PutObjectTagging", tagging.put_object_tagging),
    ("DELETE", "object", "tagging"): Plain("DeleteObjectTagging", tagging.delete_object_tagging),
    ("POST", "object", "uploads"): Plain("CreateMultipartUpload", multipart.create_multipart_upload),
    ("PUT", "object", "uploadId"): Upload("UploadPart", multipart.begin_upload_part, multipart.upload_part),
    ("POST", "object", "uploadId"): Plain("CompleteMultipartUpload", multipart.complete_multipart_upload),
    ("DELETE", "object", "uploadId"): Plain("AbortMultipartUpload", multipart.abort_multipart_upload),
    ("GET", "object", "uploadId"): Plain("ListParts", multipart.list_parts),
}

_SELECTORS = {selector for _, _, selector in ROUTES} - {""}

_REFUSED = {
    "abac": "BucketAbac",
    "accelerate": "BucketAccelerateConfiguration",
    "acl": "{level}Acl",
    "analytics": "BucketAnalyticsConfiguration",
    "annotation": "ObjectAnnotation",
    "cors": "BucketCors",
    "encryption": "{level}Encryption",
    "intelligent-tiering": "BucketIntelligentTieringConfiguration",
    "inventory": "BucketInventoryConfiguration",
    "legal-hold": "ObjectLegalHold",
    "lifecycle": "BucketLifecycleConfiguration",
    "location": "BucketLocation",
    "logging": "BucketLogging",
    "metadataAnnotationTable": "BucketMetadataAnnotationTableConfiguration",
    "metadataConfiguration": "BucketMetadataConfiguration",
    "metadataInventoryTable": "BucketMetadataInventoryTableConfiguration",
    "metadataJournalTable": "BucketMetadataJournalTableConfiguration",
    "metadataTable": "BucketMetadataTableConfiguration",
    "metrics": "BucketMetricsConfiguration",
    "notification": "BucketNotificationConfiguration",
    "object-lock": "ObjectLockConfiguration",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "policyStatus": "BucketPolicyStatus",
    "publicAccessBlock": "PublicAccessBlock",
    "renameObject": "RenameObject",
    "replication": "BucketReplication",
    "requestPayment": "BucketRequestPayment",
    "restore": "RestoreObject",
    "retention": "ObjectRetention",
    "select": "SelectObjectContent",
    "session": "CreateSession",
    "tagging": "{level}Tagging",
    "torrent": "ObjectTorrent",
    "versioning": "BucketVersioning",
    "versions": "ListObjectVersions",
    "website": "BucketWebsite",
}
"""Selector to what the operation is about; the method adds the verb, unless the name has one."""

_VERBS = {"GET": "Get", "PUT": "Put", "DELETE": "Delete", "POST": "Create", "HEAD": "Head"}
_WHOLE_NAMES = ("renameObject", "restore", "select", "session", "versions")


def find_route(request: Request) -> Route:
    """
    Raises:
        NotImplementedHere: an operation of S3 that is not offered.
        MethodNotAllowed: S3 has no such operation either.
    """
    selector = next((key for key in request.query if key in _SELECTORS or key in _REFUSED), "")
    route = ROUTES.get((request.method, request.level, selector))
    if route is not None:
        return COPIES.get(route.name, route) if "x-amz-copy-source" in request.headers else route
    if selector in _REFUSED and request.method in _VERBS:
        about = _REFUSED[selector].format(level=request.level.capitalize())
        name = about if selector in _WHOLE_NAMES else _VERBS[request.method] + about
        raise NotImplementedHere(f"{name} is not offered by this runtime's S3; on AWS it is")
    if request.method == "POST" and request.level == "bucket":
        raise NotImplementedHere("PostObject (browser forms) is not offered by this runtime's S3; use PutObject")
    if request.method == "OPTIONS":
        raise NotImplementedHere("OPTIONS (CORS preflight) is not offered by this runtime's S3")
    raise MethodNotAllowed(
        f"{request.method} is not an S3 operation on a {request.level} with {selector or 'no'!r} selector"
    )
