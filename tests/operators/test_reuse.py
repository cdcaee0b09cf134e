"""The step cache as a user meets it: a hit runs nothing and says so, and whatever differs is a miss."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millrace.runtime import fault_plan
from operators.processing import ProcessingOperator
from tests.operators.attempts import Attempts
from tests.operators.steps import HELD, Steps
from tests.runtime.process import until


@pytest.fixture(scope="module")
def first(worker: Callable[[], Any]) -> Iterator[tuple[Steps, Attempts, dict[str, Any]]]:
    """A deployment in which one step has run and is remembered; whatever it asks for after that is held."""
    with worker() as steps:
        attempts = Attempts()
        result = attempts.execute(step(steps))
        steps.deal(HELD)
        yield steps, attempts, result
    fault_plan.clear(steps.runtime.data_dir)


def step(steps: Steps, **options: Any) -> ProcessingOperator:
    key = f"{steps.deployment}/numbers/a.csv"
    if "Contents" not in steps.jobs.s3.list_objects_v2(Bucket="bucket", Prefix=key):
        steps.jobs.put(key, b"1\n2\n")
    return steps.operator(**{"cache": True, "inputs": {"data": f"s3://bucket/{steps.deployment}/numbers"}} | options)


First = tuple[Steps, Attempts, dict[str, Any]]


def test_equal_step_of_another_run_takes_the_result_and_runs_nothing(
    first: First, caplog: pytest.LogCaptureFixture
) -> None:
    steps, earlier, result = first
    made, other = steps.names(), Attempts()
    with caplog.at_level(logging.INFO):
        again = other.execute(step(steps))
    assert steps.names() == made
    assert again["cached_from"] == f"pipeline.step of {earlier.run}"
    assert (again["job_name"], again["outputs"]) == (result["job_name"], result["outputs"])
    assert (again["billable_seconds"], again["estimated_usd"]) == (0, 0.0)
    assert other.ti.xcom["out"] == result["outputs"]["out"]
    assert other.ti.xcom["sagemaker_job_link"] == earlier.ti.xcom["sagemaker_job_link"]
    assert "step cache: HIT" in caplog.text


def test_another_machine_makes_no_other_result(first: First) -> None:
    steps, _, result = first
    assert Attempts().execute(step(steps, instance_type="ml.m5.xlarge"))["job_name"] == result["job_name"]


def test_retry_of_a_hit_is_a_hit(first: First) -> None:
    steps, other = first[0], Attempts()
    assert other.execute(step(steps)) == other.execute(step(steps))


def test_hit_enters_nothing_into_the_runs_account(first: First) -> None:
    other = Attempts()
    other.execute(step(first[0], max_cost=1))
    assert first[0].account(other) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"arguments": ["-n", "1", "-r", "1", "print('something else')"]},
        {"environment": {"SEED": "8"}},
        {"packages": ("pipelines.digits",)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_changed_argument_is_a_miss_that_says_how_to_learn_why(
    first: First, changed: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    steps = first[0]
    with caplog.at_level(logging.INFO):
        deferred: Any = Attempts().defer(step(steps, **changed))
    assert steps.status(deferred.trigger.job_name) == "InProgress"
    assert "step cache: miss" in caplog.text
    assert "millrace explain-cache pipeline step" in caplog.text


def test_step_without_cache_neither_looks_nor_takes(first: First, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Attempts().defer(step(first[0], cache=False))
    assert "step cache" not in caplog.text


def test_clearing_a_hit_runs_the_step(first: First) -> None:
    steps, other = first[0], Attempts()
    other.execute(step(steps))
    other.clear()
    deferred: Any = other.defer(step(steps))
    assert steps.status(deferred.trigger.job_name) == "InProgress"


def test_clearing_the_step_that_ran_runs_it_again(first: First) -> None:
    steps, earlier, result = first
    earlier.clear()
    deferred: Any = earlier.defer(step(steps))
    assert deferred.trigger.job_name != result["job_name"]


def test_clear_goes_past_the_cache_through_every_retry(first: First) -> None:
    steps, other = first[0], Attempts()
    other.execute(step(steps))
    other.clear()
    name = other.defer(step(steps)).trigger.job_name
    steps.jobs.sagemaker.stop_processing_job(ProcessingJobName=name)
    until(lambda: steps.status(name) == "Stopped", 30, "the stop")
    assert other.defer(step(steps)).trigger.job_name not in ("", name)  # a retry: the cached result was not asked for


def test_changed_input_is_a_miss(first: First) -> None:
    steps = first[0]
    steps.jobs.put(f"{steps.deployment}/numbers/a.csv", b"1\n3\n")
    deferred: Any = Attempts().defer(step(steps))
    assert steps.status(deferred.trigger.job_name) == "InProgress"
