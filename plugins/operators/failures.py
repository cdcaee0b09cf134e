"""What operators raise, and Airflow's retry policy for it: short capacity retries slowly, a bad request fails at once.

One exception for each kind of failure, so that a DAG may bring a policy of its own (`retry_policy=`). A policy never
exceeds the task's `retries`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowException

from millrace.registry.models import RegistryError
from millrace.sagemaker.failures import Failure, of_code
from millrace.sagemaker.preflight import PreflightError


class StepFailed(AirflowException):
    """A step on SageMaker did not succeed; the platform is at fault unless a subclass says otherwise."""


class CapacityShort(StepFailed):
    """No instance is to be had, or a quota is used up."""


class Throttled(StepFailed):
    """SageMaker answered for minutes that there were too many calls."""


class Refused(StepFailed):
    """SageMaker refuses the request: it is wrong, or not allowed."""


class AlgorithmFailed(StepFailed):
    """The job's own code or configuration failed."""


class JobStopped(StepFailed):
    """Somebody stopped the job."""


class StepTimeout(StepFailed):
    """The step took longer than its `timeout`."""


class TooExpensive(StepFailed):
    """The step might pass the run's `max_cost`."""


class MayBeAffordableLater(StepFailed):
    """So it is now, but only what other steps of the run have reserved stands in the way."""


EXCEPTIONS: dict[Failure, type[StepFailed]] = {
    Failure.CAPACITY: CapacityShort,
    Failure.THROTTLED: Throttled,
    Failure.REFUSED: Refused,
    Failure.ALGORITHM: AlgorithmFailed,
    Failure.STOPPED: JobStopped,
    Failure.PLATFORM: StepFailed,
}
RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            CapacityShort, retry_delay=timedelta(minutes=10), reason="capacity is short: tried again in 10 minutes"
        ),
        RetryRule(Throttled, retry_delay=timedelta(minutes=2), reason="throttled: tried again in 2 minutes"),
        RetryRule(
            MayBeAffordableLater,
            retry_delay=timedelta(minutes=2),
            reason="other steps may give back what they reserved",
        ),
        RetryRule(
            [Refused, PreflightError, RegistryError, TooExpensive],
            RetryAction.FAIL,
            reason="the request is wrong: asking again is no use",
        ),
        RetryRule(AlgorithmFailed, RetryAction.FAIL, reason="the job's own code failed: it would fail again, and cost"),
        RetryRule(JobStopped, RetryAction.FAIL, reason="somebody stopped the job"),
    ]
)


@contextmanager
def typed_failures(what: str) -> Iterator[None]:
    """Raise a refused call as the exception of its kind; `what` says what was being done."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        details = error.response["Error"]
        text = f"{what}: {error.operation_name} was answered {details['Code']}: {details.get('Message', '')}"
        raise EXCEPTIONS[of_code(details["Code"])](text) from error
