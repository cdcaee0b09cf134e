"""The base of all job operators against a real runtime: first run, reconnect, adopt, failed prior, clear, kill."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.bases.operator import TriggerFailureReason
from airflow.sdk.exceptions import AirflowException

from millrace.sagemaker.preflight import PreflightError
from operators.failures import AlgorithmFailed
from operators.processing import ProcessingOperator
from operators.triggers import JobTrigger
from tests.operators.attempts import Attempts, TaskStateStore
from tests.operators.runtime import local_deployment
from tests.runtime.process import RuntimeProcess, until

QUICK = ["-n", "1", "-r", "1", "print('worked')"]
LONGER = ["-n", "1", "-r", "1", "import time; print('begun', flush=True); time.sleep(4); print('ended')"]
SLOW = ["-n", "1", "-r", "1", "import time; print('begun', flush=True); time.sleep(600)"]
FAILING = ["-n", "1", "-r", "1", "raise ValueError('no data')"]


class Attempt(Attempts):
    """Attempts of a processing step that runs a line of Python."""

    def operator(self, arguments: list[str], **options: Any) -> ProcessingOperator:
        return ProcessingOperator(
            task_id="step", module="timeit", packages=("pipelines.digits",), arguments=arguments,
            instance_type="ml.m5.large", poll_seconds=0.5, **options,
        )  # fmt: skip

    def run_step(self, arguments: list[str], **options: Any) -> Any:
        return self.execute(self.operator(arguments, **options))

    def trigger(self, arguments: list[str], **options: Any) -> JobTrigger:
        trigger: Any = self.defer(self.operator(arguments, **options)).trigger
        return trigger  # type: ignore[no-any-return]


@pytest.fixture
def deployment(runtime: RuntimeProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with local_deployment(runtime, monkeypatch, "one"):
        yield runtime.client("sagemaker")


@pytest.fixture
def attempt(deployment: Any) -> Attempt:
    return Attempt()


def jobs_of(sagemaker: Any, name: str) -> list[str]:
    found = sagemaker.list_processing_jobs(NameContains=name, MaxResults=100)["ProcessingJobSummaries"]
    return [summary["ProcessingJobName"] for summary in found]


def status(sagemaker: Any, name: str) -> str:
    return str(sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"])


def test_first_run_submits_waits_and_returns_a_small_result(
    attempt: Attempt, deployment: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        result = attempt.run_step(QUICK, deferrable=False)
    assert set(result) == {"job_name", "arn", "billable_seconds", "estimated_usd", "outputs"}
    assert result["job_name"].startswith("one-step-")
    assert "/console/processing-jobs/" in attempt.ti.xcom["sagemaker_job_link"]
    tags = {t["Key"]: t["Value"] for t in deployment.list_tags(ResourceArn=result["arn"])["Tags"]}
    assert (tags["millrace:deployment"], tags["airflow:run"]) == ("one", attempt.run)


def test_job_that_ends_at_once_is_not_worth_a_deferral(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operators.attempt.BRIEFLY", timedelta(minutes=1))
    result = attempt.operator(QUICK).execute(attempt.context)  # or it would raise TaskDeferred
    assert result["job_name"] == attempt.store["millrace_job"]["job_name"]


def test_job_that_ended_while_nobody_could_say_so_is_no_timeout(attempt: Attempt) -> None:
    first = attempt.run_step(QUICK, deferrable=False)
    operator = attempt.operator(QUICK)
    resumed = operator.resume_execution("__fail__", {"error": TriggerFailureReason.TRIGGER_TIMEOUT}, attempt.context)
    assert resumed == first


def test_retry_of_a_finished_job_takes_its_result_without_paying_again(attempt: Attempt) -> None:
    first = attempt.run_step(QUICK, deferrable=False)
    assert attempt.run_step(QUICK, deferrable=False) == first


def test_retry_adopts_the_running_job_even_when_the_request_has_changed(attempt: Attempt, deployment: Any) -> None:
    first = attempt.trigger(SLOW)
    second = attempt.trigger([*SLOW[:-1], SLOW[-1] + " # changed"])
    assert first.job_name == second.job_name
    asyncio.run(second.on_kill())
    until(lambda: status(deployment, second.job_name) == "Stopped", 30, "the stop")


def test_retry_whose_state_was_lost_still_finds_the_job_by_its_name(attempt: Attempt, deployment: Any) -> None:
    first = attempt.trigger(SLOW)
    attempt.store.clear()
    assert attempt.trigger(SLOW).job_name == first.job_name
    asyncio.run(first.on_kill())


def test_retry_after_a_failed_job_starts_the_next_generation(attempt: Attempt) -> None:
    with pytest.raises(AlgorithmFailed, match="exit code 1"):
        attempt.run_step(FAILING, deferrable=False)
    failed = attempt.store["millrace_job"]["job_name"]
    assert attempt.run_step(QUICK, deferrable=False)["job_name"] != failed
    assert attempt.store["millrace_job"]["generation"] == 1


def test_clear_reruns_by_default_and_adopts_when_told_to(attempt: Attempt) -> None:
    first = attempt.run_step(QUICK, deferrable=False)
    attempt.ti.max_tries = 1  # what clearing a finished task does
    kept = Attempt(run=attempt.run, store=TaskStateStore(attempt.store), ti=attempt.ti)
    assert kept.run_step(QUICK, deferrable=False, on_clear="adopt")["job_name"] == first["job_name"]
    again = attempt.run_step(QUICK, deferrable=False)
    assert again["job_name"] != first["job_name"]
    assert attempt.run_step(QUICK, deferrable=False) == again


def test_clear_stops_the_running_generation_before_the_next_is_submitted(attempt: Attempt, deployment: Any) -> None:
    first = attempt.trigger(SLOW)
    attempt.ti.max_tries = 1
    second = attempt.trigger(SLOW)
    assert first.job_name != second.job_name
    assert status(deployment, first.job_name) == "Stopped"
    asyncio.run(second.on_kill())


def test_second_deployment_on_the_same_runtime_never_touches_the_firsts_job(
    attempt: Attempt, deployment: Any, runtime: RuntimeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = attempt.trigger(SLOW)
    with local_deployment(runtime, monkeypatch, "two"):
        other = Attempt(run=attempt.run)
        result = other.run_step(QUICK, deferrable=False)
    assert result["job_name"] != first.job_name
    assert result["job_name"].startswith("two-")
    assert status(deployment, first.job_name) == "InProgress"
    asyncio.run(first.on_kill())


def test_job_of_somebody_else_under_our_name_is_refused(attempt: Attempt, deployment: Any) -> None:
    first = attempt.run_step(QUICK, deferrable=False)
    deployment.add_tags(ResourceArn=first["arn"], Tags=[{"Key": "millrace:deployment", "Value": "other"}])
    with pytest.raises(AirflowException, match="is not this task's"):
        attempt.run_step(QUICK, deferrable=False)


def test_users_kill_stops_the_job_once_and_for_all(attempt: Attempt, deployment: Any) -> None:
    trigger = attempt.trigger(SLOW)
    asyncio.run(trigger.on_kill())
    asyncio.run(trigger.on_kill())  # twice is no error
    until(lambda: status(deployment, trigger.job_name) == "Stopped", 30, "the stop")


def test_timeout_is_absolute_and_stops_the_job(attempt: Attempt, deployment: Any) -> None:
    with pytest.raises(AirflowException, match="took longer than 0:00:02"):
        attempt.run_step(SLOW, deferrable=False, timeout=timedelta(seconds=2))
    name = attempt.store["millrace_job"]["job_name"]
    until(lambda: status(deployment, name) == "Stopped", 30, "the stop")


def test_trigger_survives_serialization_streams_the_log_and_fires_at_the_end(
    attempt: Attempt, caplog: pytest.LogCaptureFixture
) -> None:
    trigger = attempt.trigger(LONGER)
    path, arguments = trigger.serialize()
    assert path == "operators.triggers.JobTrigger"
    copy = JobTrigger(**arguments | {"not_before": 0.0})

    async def first() -> Any:
        return (await anext(copy.run())).payload

    payload = asyncio.run(first())
    assert payload["job_name"] == trigger.job_name
    assert payload["log_tokens"], "the trigger read the log"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"instance_type": "ml.nothing"}, "InstanceType is 'ml.nothing' and must be one of"),
        ({"instance_count": 0}, "InstanceCount is 0; at least 1"),
        ({"arguments": ["x" * 300]}, "300 characters"),
        ({"environment": {"1bad": "x"}}, "'1bad'"),
        ({"inputs": {"data": "s3://" + "x" * 2000}}, "at most 1024 characters"),
    ],
)
def test_wrong_literal_is_refused_when_the_dag_is_parsed(changes: dict[str, Any], said: str) -> None:
    options: dict[str, Any] = {
        "task_id": "step", "module": "timeit", "packages": ("pipelines.digits",), "instance_type": "ml.m5.large",
    }  # fmt: skip
    with pytest.raises(PreflightError, match=said.replace("[", r"\[")):
        ProcessingOperator(**options | changes)
