"""The base of all job operators against a real runtime: first run, reconnect, adopt, failed prior, clear, kill."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from millrace.sagemaker.preflight import PreflightError
from operators.processing import ProcessingOperator
from operators.triggers import JobTrigger
from tests.operators.runtime import local_deployment
from tests.runtime.process import RuntimeProcess, until

QUICK = ["-n", "1", "-r", "1", "print('worked')"]
SLOW = ["-n", "1", "-r", "1", "import time; print('begun', flush=True); time.sleep(600)"]
FAILING = ["-n", "1", "-r", "1", "raise ValueError('no data')"]


@dataclass
class TaskInstance:
    """As much of a task instance as operators look at."""

    dag_id: str = "pipeline"
    run_id: str = "scheduled__2026-01-01"
    task_id: str = "step"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    xcom: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcom[key] = value


class TaskStateStore(dict[str, Any]):
    """Airflow's task state store: a dict that survives retries and clears."""

    def set(self, key: str, value: Any, **_: Any) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)


@dataclass
class Attempt:
    """One attempt of a task of one deployment."""

    run: str
    store: TaskStateStore = field(default_factory=TaskStateStore)
    ti: TaskInstance = field(default_factory=TaskInstance)

    def __post_init__(self) -> None:
        self.ti.run_id = self.run

    def operator(self, arguments: list[str], **options: Any) -> ProcessingOperator:
        return ProcessingOperator(
            task_id="step", module="timeit", packages=("pipelines.digits",), arguments=arguments,
            instance_type="ml.m5.large", poll_seconds=0.2, **options,
        )  # fmt: skip

    def execute(self, arguments: list[str], **options: Any) -> Any:
        operator = self.operator(arguments, **options)
        return operator.execute({"ti": self.ti, "task_state_store": self.store})

    def defer(self, arguments: list[str]) -> JobTrigger:
        with pytest.raises(TaskDeferred) as deferred:
            self.execute(arguments)
        trigger: JobTrigger = deferred.value.trigger
        return trigger


@pytest.fixture
def deployment(runtime: RuntimeProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with local_deployment(runtime, monkeypatch, "one"):
        yield runtime.client("sagemaker")


@pytest.fixture
def attempt(deployment: Any) -> Attempt:
    return Attempt(run=f"run-{time.time_ns()}")


def jobs_of(sagemaker: Any, name: str) -> list[str]:
    found = sagemaker.list_processing_jobs(NameContains=name, MaxResults=100)["ProcessingJobSummaries"]
    return [summary["ProcessingJobName"] for summary in found]


def status(sagemaker: Any, name: str) -> str:
    return str(sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"])


def test_first_run_submits_waits_and_returns_a_small_result(
    attempt: Attempt, deployment: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        result = attempt.execute(QUICK, deferrable=False)
    assert set(result) == {"job_name", "arn", "outputs"}
    assert result["job_name"].startswith("one-step-")
    assert "/console/processing-jobs/" in attempt.ti.xcom["sagemaker_job_link"]
    tags = {t["Key"]: t["Value"] for t in deployment.list_tags(ResourceArn=result["arn"])["Tags"]}
    assert (tags["millrace:deployment"], tags["airflow:run"]) == ("one", attempt.run)


def test_retry_of_a_finished_job_takes_its_result_without_paying_again(attempt: Attempt) -> None:
    first = attempt.execute(QUICK, deferrable=False)
    assert attempt.execute(QUICK, deferrable=False) == first


def test_retry_adopts_the_running_job_even_when_the_request_has_changed(attempt: Attempt, deployment: Any) -> None:
    first = attempt.defer(SLOW)
    second = attempt.defer([*SLOW[:-1], SLOW[-1] + " # changed"])
    assert first.job_name == second.job_name
    asyncio.run(second.on_kill())
    until(lambda: status(deployment, second.job_name) == "Stopped", 30, "the stop")


def test_retry_whose_state_was_lost_still_finds_the_job_by_its_name(attempt: Attempt, deployment: Any) -> None:
    first = attempt.defer(SLOW)
    attempt.store.clear()
    assert attempt.defer(SLOW).job_name == first.job_name
    asyncio.run(first.on_kill())


def test_retry_after_a_failed_job_starts_the_next_generation(attempt: Attempt) -> None:
    with pytest.raises(AirflowFailException, match="exit code 1"):
        attempt.execute(FAILING, deferrable=False)
    failed = attempt.store["millrace_job"]["job_name"]
    assert attempt.execute(QUICK, deferrable=False)["job_name"] != failed
    assert attempt.store["millrace_job"]["generation"] == 1


def test_clear_reruns_by_default_and_adopts_when_told_to(attempt: Attempt) -> None:
    first = attempt.execute(QUICK, deferrable=False)
    attempt.ti.max_tries = 1  # what clearing a finished task does
    kept = Attempt(run=attempt.run, store=TaskStateStore(attempt.store), ti=attempt.ti)
    assert kept.execute(QUICK, deferrable=False, on_clear="adopt")["job_name"] == first["job_name"]
    again = attempt.execute(QUICK, deferrable=False)
    assert again["job_name"] != first["job_name"]
    assert attempt.execute(QUICK, deferrable=False) == again


def test_clear_stops_the_running_generation_before_the_next_is_submitted(attempt: Attempt, deployment: Any) -> None:
    first = attempt.defer(SLOW)
    attempt.ti.max_tries = 1
    second = attempt.defer(SLOW)
    assert first.job_name != second.job_name
    assert status(deployment, first.job_name) == "Stopped"
    asyncio.run(second.on_kill())


def test_second_deployment_on_the_same_runtime_never_touches_the_firsts_job(
    attempt: Attempt, deployment: Any, runtime: RuntimeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = attempt.defer(SLOW)
    with local_deployment(runtime, monkeypatch, "two"):
        other = Attempt(run=attempt.run)
        result = other.execute(QUICK, deferrable=False)
    assert result["job_name"] != first.job_name
    assert result["job_name"].startswith("two-")
    assert status(deployment, first.job_name) == "InProgress"
    asyncio.run(first.on_kill())


def test_job_of_somebody_else_under_our_name_is_refused(attempt: Attempt, deployment: Any) -> None:
    first = attempt.execute(QUICK, deferrable=False)
    deployment.add_tags(ResourceArn=first["arn"], Tags=[{"Key": "millrace:deployment", "Value": "other"}])
    with pytest.raises(AirflowException, match="is not this task's"):
        attempt.execute(QUICK, deferrable=False)


def test_users_kill_stops_the_job_once_and_for_all(attempt: Attempt, deployment: Any) -> None:
    trigger = attempt.defer(SLOW)
    asyncio.run(trigger.on_kill())
    asyncio.run(trigger.on_kill())  # twice is no error
    until(lambda: status(deployment, trigger.job_name) == "Stopped", 30, "the stop")


def test_timeout_is_absolute_and_stops_the_job(attempt: Attempt, deployment: Any) -> None:
    with pytest.raises(AirflowException, match="took longer than 0:00:02"):
        attempt.execute(SLOW, deferrable=False, timeout=timedelta(seconds=2))
    name = attempt.store["millrace_job"]["job_name"]
    until(lambda: status(deployment, name) == "Stopped", 30, "the stop")


def test_trigger_survives_serialization_streams_the_log_and_fires_at_the_end(
    attempt: Attempt, caplog: pytest.LogCaptureFixture
) -> None:
    trigger = attempt.defer(QUICK)
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
