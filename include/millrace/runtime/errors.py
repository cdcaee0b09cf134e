"""What AWS would answer when it refuses: a code, a sentence, an HTTP status.

The codes and texts are those that clients of SageMaker match on; see the contract tests. What this file does not do:
it does not decide when to refuse.
"""

from __future__ import annotations


class AwsError(Exception):
    """A refusal that reaches the client as an AWS error document."""

    code = "InternalFailure"
    status = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ValidationException(AwsError):
    """The request breaks a constraint, or names something that is not there."""

    code = "ValidationException"


class ResourceInUse(AwsError):
    """A job of that name exists already."""

    code = "ResourceInUse"


class ResourceNotFound(AwsError):
    """A thing whose operation declares this error is not there."""

    code = "ResourceNotFound"


class ResourceLimitExceeded(AwsError):
    """The request asks for more than this machine leases out."""

    code = "ResourceLimitExceeded"


class UnknownOperation(AwsError):
    """An operation this runtime does not offer: refused by name, never faked."""

    code = "UnknownOperationException"


class SerializationException(AwsError):
    """The body is not the JSON document that the operation takes."""

    code = "SerializationException"


class JobFailed(Exception):
    """A job cannot go on. The text becomes its `FailureReason`, so it says what happened and what would fix it."""
