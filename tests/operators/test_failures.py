"""What goes wrong gets the exception of its kind, and Airflow's retry policy the decision that fits it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from airflow.sdk.bases.operator import TriggerFailureReason
from airflow.sdk.exceptions import TaskDeferralError
from airflow.sdk.module_loading import import_string
from botocore.exceptions import ClientError

from millrace.registry.models import RegistryError
from millrace.runtime import fault_plan
from millrace.runtime.faults import DropConnection, FailCall, FailJob, Fault, LoseResponse, StopJob, Throttle
from millrace.sagemaker.failures import Failure
from millrace.sagemaker.preflight import PreflightError
from operators.failures import (
    EXCEPTIONS,
    RETRY_POLICY,
    AlgorithmFailed,
    CapacityShort,
    JobStopped,
    MayBeAffordableLater,
    Refused,
    StepFailed,
    StepTimeout,
    Throttled,
    TooExpensive,
    typed_failures,
)
from tests.operators.attempts import Attempts
from tests.operators.steps import HELD, Steps
from tests.runtime.process import until

DECISIONS: dict[type[Exception], tuple[str, timedelta | None]] = {
    CapacityShort: ("retry", timedelta(minutes=10)),
    Throttled: ("retry", timedelta(minutes=2)),
    MayBeAffordableLater: ("retry", timedelta(minutes=2)),
    Refused: ("fail", None),
    PreflightError: ("fail", None),
    RegistryError: ("fail", None),
    TooExpensive: ("fail", None),
    AlgorithmFailed: ("fail", None),
    JobStopped: ("fail", None),
    StepTimeout: ("default", None),
    StepFailed: ("default", None),
    ConnectionError: ("default", None),
}


def test_every_kind_of_failure_has_an_exception_and_a_decision() -> None:
    assert set(EXCEPTIONS) == set(Failure)
    assert set(EXCEPTIONS.values()) <= set(DECISIONS)


@pytest.mark.parametrize("kind", DECISIONS)
def test_policy_decides_by_the_kind(kind: type[Exception]) -> None:
    action, delay = DECISIONS[kind]
    decision = RETRY_POLICY.evaluate(kind("why"), 1, 3)
    assert (decision.action.value, decision.retry_delay) == (action, delay)
    assert decision.reason or action == "default"


def test_policy_survives_what_airflow_does_to_a_dag() -> None:
    copy = type(RETRY_POLICY).deserialize(RETRY_POLICY.serialize())
    for kind, (action, delay) in DECISIONS.items():
        decision = copy.evaluate(kind("why"), 1, 3)
        assert (decision.action.value, decision.retry_delay) == (action, delay)
    assert import_string("operators.failures.Refused") is Refused


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ResourceLimitExceeded", CapacityShort),
        ("ThrottlingException", Throttled),
        ("ValidationException", Refused),
        ("AccessDeniedException", Refused),
        ("InternalFailure", StepFailed),
    ],
)
def test_refused_call_raises_its_kind_and_says_what_was_being_done(code: str, kind: type[Exception]) -> None:
    error = ClientError({"Error": {"Code": code, "Message": "no"}}, "CreateProcessingJob")
    with pytest.raises(kind, match=f"asking: CreateProcessingJob was answered {code}: no") as raised:
        with typed_failures("asking"):
            raise error
    assert type(raised.value) is kind
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (FailJob(reason="CapacityError: Unable to provision requested ML compute capacity"), CapacityShort),
        (FailJob(reason="AlgorithmError: exit code 1"), AlgorithmFailed),
        (FailJob(reason="InternalServerError: a host was lost"), StepFailed),
        (StopJob(), JobStopped),
    ],
    ids=["capacity", "algorithm", "platform", "stopped"],
)
def test_job_that_did_not_succeed_raises_its_kind_with_the_reason(
    end: Fault, kind: type[Exception], steps: Steps
) -> None:
    steps.deal(end)
    with pytest.raises(StepFailed, match=getattr(end, "reason", "has stopped")) as raised:
        Attempts().execute(steps.operator())
    assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("fault", "operation", "times"),
    [
        (LoseResponse(), "CreateProcessingJob", 1),
        (LoseResponse(), "CreateProcessingJob", 2),
        (DropConnection(), "CreateProcessingJob", 1),
        (FailCall(), "CreateProcessingJob", 1),
        (Throttle(), "CreateProcessingJob", 2),
        (Throttle(), "DescribeProcessingJob", 3),
        (LoseResponse(), "DescribeProcessingJob", 2),
        (Throttle(), "ListTags", 2),
    ],
    ids=lambda value: getattr(value, "word", value),
)
def test_calls_that_go_wrong_for_a_while_still_make_one_job(
    fault: Fault, operation: str, times: int, steps: Steps
) -> None:
    attempts = Attempts()
    rules = [
        fault_plan.Rule(fault, operation=operation, name=f"{steps.deployment}-*", times=times),
        fault_plan.Rule(HELD, operation="CreateProcessingJob", name=f"{steps.deployment}-*", times=9),
    ]
    before = len(fault_plan.dealt(steps.runtime.data_dir))
    fault_plan.write(steps.runtime.data_dir, rules)
    for _ in range(2):  # the second is a retry: it looks at the job's tags
        attempts.defer(steps.operator())
    assert len(steps.names()) == 1
    dealt = [line for line in fault_plan.dealt(steps.runtime.data_dir)[before:] if line.fault == fault.word]
    assert len(dealt) == times


def test_deadline_that_passes_while_the_task_is_deferred_stops_the_job(steps: Steps) -> None:
    attempts = Attempts()
    steps.deal(HELD)
    operator = steps.operator(timeout=timedelta(minutes=5))
    deferred = attempts.defer(operator)
    assert timedelta(minutes=4) < deferred.timeout <= timedelta(minutes=5)
    with pytest.raises(StepTimeout, match="took longer than 0:05:00 and was stopped"):
        operator.resume_execution("__fail__", {"error": TriggerFailureReason.TRIGGER_TIMEOUT}, attempts.context)
    (name,) = steps.names()
    until(lambda: steps.status(name) == "Stopped", 30, "the stop")


def test_trigger_that_failed_leaves_the_job_to_the_retry(steps: Steps) -> None:
    attempts = Attempts()
    steps.deal(HELD)
    operator = steps.operator()
    attempts.defer(operator)
    with pytest.raises(TaskDeferralError):
        operator.resume_execution("__fail__", {"error": TriggerFailureReason.TRIGGER_FAILURE}, attempts.context)
    (name,) = steps.names()
    assert steps.status(name) == "InProgress"
    again = attempts.defer(steps.operator())
    asyncio.run(again.trigger.on_kill())
    assert steps.names() == [name]
