"""What S3 would answer when it refuses: a code, a sentence, an HTTP status.

Codes and statuses are Amazon's, because clients branch on them. What this file does not do: it decides nothing and
renders nothing; `answer.py` makes the document.
"""

from __future__ import annotations


class S3Error(Exception):
    """A refusal that reaches the client as an S3 error document."""

    code = "InternalError"
    status = 500

    def __init__(self, message: str, **headers: str) -> None:
        super().__init__(message)
        self.message = message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class AccessDenied(S3Error):
    code, status = "AccessDenied", 403


class BadDigest(S3Error):
    code, status = "BadDigest", 400


class BucketAlreadyOwnedByYou(S3Error):
    code, status = "BucketAlreadyOwnedByYou", 409


class BucketNotEmpty(S3Error):
    code, status = "BucketNotEmpty", 409


class CommitInDoubt(S3Error):
    """The disk failed while a change was committed: it may be there after a restart, or not. A 500, as any fault."""


class EntityTooLarge(S3Error):
    code, status = "EntityTooLarge", 400


class EntityTooSmall(S3Error):
    code, status = "EntityTooSmall", 400


class IncompleteBody(S3Error):
    code, status = "IncompleteBody", 400


class InsufficientStorage(S3Error):
    """The disk is full. Not an AWS code; the status 507 is one that clients do not retry."""

    code, status = "InsufficientStorage", 507


class InvalidArgument(S3Error):
    code, status = "InvalidArgument", 400


class InvalidBucketName(S3Error):
    code, status = "InvalidBucketName", 400


class InvalidDigest(S3Error):
    code, status = "InvalidDigest", 400


class InvalidPart(S3Error):
    code, status = "InvalidPart", 400


class InvalidPartOrder(S3Error):
    code, status = "InvalidPartOrder", 400


class InvalidRange(S3Error):
    code, status = "InvalidRange", 416


class InvalidRequest(S3Error):
    code, status = "InvalidRequest", 400


class InvalidTag(S3Error):
    code, status = "InvalidTag", 400


class InvalidUri(S3Error):
    code, status = "InvalidURI", 400


class KeyTooLong(S3Error):
    code, status = "KeyTooLongError", 400


class MalformedXml(S3Error):
    code, status = "MalformedXML", 400


class MetadataTooLarge(S3Error):
    code, status = "MetadataTooLarge", 400


class MethodNotAllowed(S3Error):
    code, status = "MethodNotAllowed", 405


class MissingContentLength(S3Error):
    code, status = "MissingContentLength", 411


class NoSuchBucket(S3Error):
    code, status = "NoSuchBucket", 404


class NoSuchKey(S3Error):
    code, status = "NoSuchKey", 404


class NoSuchUpload(S3Error):
    code, status = "NoSuchUpload", 404


class NotImplementedHere(S3Error):
    """An operation or option of S3 that this store does not offer."""

    code, status = "NotImplemented", 501


class NotModified(S3Error):
    """Not a refusal but an answer without a body: the client's copy is current."""

    code, status = "NotModified", 304


class PreconditionFailed(S3Error):
    code, status = "PreconditionFailed", 412
