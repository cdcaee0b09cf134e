"""Users who clear and mark: what they end is stopped, what they ask for again is paid for once more, and only once."""

from __future__ import annotations

import pytest

from millrace.runtime import fault_plan
from millrace.runtime.faults import Throttle
from tests.live.gates import JOB_WAITS
from tests.live.matrix import Case
from tests.live.postgres import needs_postgres
from tests.live.runs import start
from tests.live.stack import LiveAirflow

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), needs_postgres]


@pytest.mark.together
def test_deferred_task_cleared(live: LiveAirflow, case: Case) -> None:
    """The user clears the task while it is deferred and its job runs."""
    run = start(live, "deferred")
    case.watch(run)
    run.until_watched()
    run.clear()
    run.until_job("Stopped")
    run.let_finish()
    assert run.end() == "success"
    assert run.generations() == [(0, "Stopped"), (1, "Completed")]


@pytest.mark.together
def test_task_in_a_worker_cleared(live: LiveAirflow, case: Case) -> None:
    """The user clears the task while it waits in a worker and its job runs."""
    run = start(live, "in_worker")
    case.watch(run)
    run.until_log(JOB_WAITS)
    run.clear()
    run.until_job("Stopped")
    run.let_finish()
    assert run.end() == "success"
    assert run.generations() == [(0, "Stopped"), (1, "Completed")]


@pytest.mark.together
def test_failed_task_cleared(live: LiveAirflow, case: Case) -> None:
    """The user stops the job, so that the task fails for good; then clears the failed task."""
    run = start(live, "deferred")
    case.watch(run)
    run.until_watched()
    [job] = run.jobs()
    live.client("sagemaker").stop_processing_job(ProcessingJobName=job.name)
    assert run.end() == "failed"
    assert run.generations() == [(0, "Stopped")]
    run.let_finish()
    run.clear()
    run.until_attempt(2)
    assert run.end() == "success"
    assert run.generations() == [(0, "Stopped"), (1, "Completed")]


@pytest.mark.together
@pytest.mark.parametrize(("way", "jobs"), [("deferred", 2), ("in_worker", 2), ("adopting", 1)])
def test_finished_task_cleared(live: LiveAirflow, case: Case, way: str, jobs: int) -> None:
    """The user clears a task that has succeeded: asked for again, it is paid for again; with on_clear="adopt" it is not."""
    run = start(live, way)
    case.watch(run)
    if way != "in_worker":
        run.until_watched()
    run.let_finish()
    assert run.end() == "success"
    assert run.generations() == [(0, "Completed")]
    run.clear()
    run.until_attempt(2)
    assert run.end() == "success"
    assert run.generations() == [(generation, "Completed") for generation in range(jobs)]


@pytest.mark.together
@pytest.mark.parametrize("state", ["failed", "success"])
def test_deferred_task_marked(live: LiveAirflow, case: Case, state: str) -> None:
    """The user marks the task, in the state named, while it is deferred and its job runs."""
    run = start(live, "deferred")
    case.watch(run)
    run.until_watched()
    run.mark(state)
    run.until_job("Stopped")
    assert run.end() == state
    assert run.generations() == [(0, "Stopped")]


@pytest.mark.together
@pytest.mark.parametrize("state", ["failed", "success"])
def test_task_in_a_worker_marked(live: LiveAirflow, case: Case, state: str) -> None:
    """The user marks the task, in the state named, while it waits in a worker and its job runs."""
    run = start(live, "in_worker")
    case.watch(run)
    run.until_log(JOB_WAITS)
    run.mark(state)
    run.until_job("Stopped")
    assert run.end() == state
    assert run.generations() == [(0, "Stopped")]
    assert len(run.attempts()) == 1


@pytest.mark.together
def test_task_in_a_worker_marked_while_stopping_is_throttled(live: LiveAirflow, case: Case) -> None:
    """The user marks the task failed while it waits in a worker and its job runs; for 15 s every call to stop the job is
    refused with ThrottlingException. Airflow kills the worker (-9) 5 s after the mark."""
    run = start(live, "in_worker")
    case.watch(run)
    run.until_log(JOB_WAITS)
    [job] = run.jobs()
    rule = fault_plan.Rule(Throttle(), operation="StopProcessingJob", name=job.name, seconds=15)
    live.add_fault(rule)
    run.mark("failed")
    live.until_dealt(rule)
    run.until_log("Task killed!")
    run.until_job("Stopped")
    assert run.end() == "failed"
    assert run.generations() == [(0, "Stopped")]
    assert len(run.attempts()) == 1
