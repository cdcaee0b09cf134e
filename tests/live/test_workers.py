"""Workers that die: in each phase of a task, by the task's process, its supervisor, or both."""

from __future__ import annotations

import pytest

from millrace.runtime import fault_plan
from millrace.runtime.faults import Delay, LoseResponse
from tests.live.gates import JOB_WAITS
from tests.live.matrix import Case
from tests.live.postgres import needs_postgres
from tests.live.runs import Attempt, TaskRun, start
from tests.live.stack import LiveAirflow

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), needs_postgres]
LATE_SECONDS = 30


@pytest.mark.together
def test_worker_killed_before_its_request_was_carried_out(live: LiveAirflow, case: Case) -> None:
    """CreateProcessingJob is carried out 30 s late; while it is on its way, kill -9 of both processes of the worker."""
    rule = fault_plan.Rule(
        Delay(before_seconds=LATE_SECONDS), operation="CreateProcessingJob", name="local-slow-before-*", times=1
    )
    _kill_in_submit(live, case, "slow_before_create", rule)


@pytest.mark.together
def test_worker_killed_before_it_heard_the_answer(live: LiveAirflow, case: Case) -> None:
    """CreateProcessingJob is answered 30 s late, with the job made; meanwhile kill -9 of both processes of the worker."""
    rule = fault_plan.Rule(
        Delay(after_seconds=LATE_SECONDS), operation="CreateProcessingJob", name="local-slow-after-*", times=1
    )
    _kill_in_submit(live, case, "slow_after_create", rule)


def _kill_in_submit(live: LiveAirflow, case: Case, way: str, rule: fault_plan.Rule) -> None:
    live.add_fault(rule)
    run = start(live, way)
    case.watch(run)
    live.until_dealt(rule)
    run.worker().kill()
    run.until_attempt(2)
    run.let_finish()
    assert run.end() == "success"
    assert run.generations() == [(0, "Completed")]
    assert len(run.attempts()) == 2


@pytest.mark.together
def test_answer_to_create_lost(live: LiveAirflow, case: Case) -> None:
    """CreateProcessingJob is carried out and its connection closed without an answer; nobody is killed."""
    rule = fault_plan.Rule(LoseResponse(), operation="CreateProcessingJob", name="local-lost-answer-*", times=1)
    live.add_fault(rule)
    run = start(live, "lost_answer")
    case.watch(run)
    live.until_dealt(rule)
    run.until_watched()
    run.let_finish()
    assert run.end() == "success"
    assert run.generations() == [(0, "Completed")]
    assert len(run.attempts()) == 1


@pytest.mark.together
@pytest.mark.parametrize("which", ["both", "task", "supervisor"])
def test_worker_killed_in_wait(live: LiveAirflow, case: Case, which: str) -> None:
    """kill -9 of the named processes of the worker while it waits: the job's own lines are in the task's log already."""
    run = start(live, "in_worker")
    case.watch(run)
    run.until_log(JOB_WAITS)
    worker = run.worker()
    doomed = {"both": (worker.supervisor, worker.task), "task": (worker.task,), "supervisor": (worker.supervisor,)}
    worker.kill(*doomed[which])
    assert run.generations() == [(0, "InProgress")]
    run.until_log("an earlier attempt's job is running", attempt=2)
    run.let_finish()
    assert run.end() == "success"
    assert run.generations() == [(0, "Completed")]
    assert len(run.attempts()) == 2


@pytest.mark.together
@pytest.mark.parametrize("way", ["slow_result_in_worker", "slow_result_deferred"])
def test_worker_killed_while_it_reads_the_result(live: LiveAirflow, case: Case, way: str) -> None:
    """The job has completed and the operator reads its result: kill -9 of both processes of the worker."""
    run = start(live, way)
    case.watch(run)
    if way == "slow_result_deferred":
        run.until_watched()
    run.let_finish()
    run.until_log("reading the result")
    assert run.generations() == [(0, "Completed")]
    run.worker().kill()
    assert run.end() == "success"
    assert run.generations() == [(0, "Completed")]
    assert len(run.attempts()) == 2
    assert run.result()["job_name"] == run.jobs()[0].name


@pytest.mark.together
def test_one_worker_of_three_mapped_tasks_killed(live: LiveAirflow, case: Case) -> None:
    """kill -9 of both processes of the second of three mapped tasks while all three wait."""
    run = start(live, "mapped")
    shards = [TaskRun(live, run.dag_id, run.run_id, map_index=index) for index in range(3)]
    case.watch(*shards)
    for shard in shards:
        shard.until_log(JOB_WAITS)
    shards[1].worker().kill()
    shards[1].until_attempt(2)
    run.let_finish()
    assert [shard.end() for shard in shards] == ["success"] * 3
    assert [shard.generations() for shard in shards] == [[(0, "Completed")]] * 3
    assert [len(shard.attempts()) for shard in shards] == [1, 2, 1]


@pytest.mark.together
def test_code_changed_between_attempts(live: LiveAirflow, case: Case) -> None:
    """The DAG file asks for another environment while the job runs; then kill -9 of both processes of the worker."""
    run = start(live, "changing")
    case.watch(run)
    run.until_log(JOB_WAITS)
    file = live.layout.project / "dags" / "changing.py"
    file.write_text(file.read_text().replace('VERSION = "first"', 'VERSION = "second"'))
    run.worker().kill()
    run.until_log("though the request has changed since", attempt=2)
    run.let_finish()
    assert run.end() == "success"
    assert run.generations() == [(0, "Completed")]
    assert len(run.attempts()) == 2


@pytest.mark.together
@pytest.mark.parametrize("way", ["deferred_once", "in_worker_once"])
def test_timeout(live: LiveAirflow, case: Case, way: str) -> None:
    """A job that takes longer than the task's timeout of 20 s, without retries; nobody is killed."""
    run = start(live, way)
    case.watch(run)
    assert run.end() == "failed"
    run.until_job("Stopped")
    assert run.generations() == [(0, "Stopped")]
    assert run.attempts() == [Attempt(1, "failed")]
    assert "took longer than 0:00:20 and was stopped" in run.whole_log()


@pytest.mark.together
def test_retry_after_a_timeout(live: LiveAirflow, case: Case) -> None:
    """The same, deferred, with one retry: it gets a job and a time of its own."""
    run = start(live, "deferred_twice")
    case.watch(run)
    assert run.end() == "failed"
    run.until_job("Stopped", generation=1)
    assert run.generations() == [(0, "Stopped"), (1, "Stopped")]
    assert [attempt.number for attempt in run.attempts()] == [1, 2]
