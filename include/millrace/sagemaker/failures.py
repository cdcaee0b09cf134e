"""What went wrong, in the few kinds that call for different answers: wait and try again, or fail for good.

Pure: error codes of refused calls, and the failure reasons of jobs, to a kind. Codes: SageMaker's "Common errors" page;
reasons begin with the party at fault (`AlgorithmError`, `ClientError`, `CapacityError`, `InternalServerError`).
"""

from __future__ import annotations

from enum import Enum

from .kinds import Outcome


class Failure(Enum):
    """Who or what is at fault."""

    CAPACITY = "capacity"
    """No instance is to be had, or a quota is used up: it may pass, in minutes rather than seconds."""
    THROTTLED = "throttled"
    """Too many calls, for longer than the client's own retries last."""
    REFUSED = "refused"
    """The request is wrong, or not allowed: asking again changes nothing."""
    ALGORITHM = "algorithm"
    """The job's own code or its configuration: running it again would be paid for and fail again."""
    STOPPED = "stopped"
    """Somebody stopped the job."""
    PLATFORM = "platform"
    """SageMaker, a host or the network: it may pass."""


THROTTLING_CODES = frozenset(
    {"Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException",
     "TooManyRequestsException", "RequestLimitExceeded", "SlowDown"}
)  # fmt: skip
CODES = {
    **dict.fromkeys(THROTTLING_CODES, Failure.THROTTLED),
    "ResourceLimitExceeded": Failure.CAPACITY,
    "ValidationException": Failure.REFUSED,
    "ValidationError": Failure.REFUSED,
    "SerializationException": Failure.REFUSED,
    "UnknownOperationException": Failure.REFUSED,
    "AccessDenied": Failure.REFUSED,
    "AccessDeniedException": Failure.REFUSED,
    "NoSuchBucket": Failure.REFUSED,
    "ConditionalCheckFailedException": Failure.REFUSED,
}
REASONS = {
    "CapacityError": Failure.CAPACITY,
    "AlgorithmError": Failure.ALGORITHM,
    "ClientError": Failure.ALGORITHM,
}


def code_of(error: Exception) -> str:
    """The error code that AWS answered with; empty when the exception is no answer of AWS.

    Not every exception's `response` is botocore's dict: a ReadTimeoutError has None there.
    """
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def of_code(code: str) -> Failure:
    """What the error code of a refused call means."""
    return CODES.get(code, Failure.PLATFORM)


def of_job(outcome: Outcome, reason: str) -> Failure:
    """What it means that a job has ended, and not well, with a FailureReason or ExitMessage."""
    if outcome is Outcome.STOPPED:
        return Failure.STOPPED
    return REASONS.get(reason.partition(":")[0].strip(), Failure.PLATFORM)
