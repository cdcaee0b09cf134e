"""Parts of Airflow that die: the triggerer and the scheduler, killed and stopped as a deploy stops them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from tests.live.gates import JOB_WAITS
from tests.live.matrix import Case
from tests.live.postgres import needs_postgres
from tests.live.runs import SECONDS, TaskRun, seen, start
from tests.live.stack import LiveAirflow

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), needs_postgres]


@dataclass(frozen=True, slots=True)
class Outage:
    """The tasks that waited while there was no triggerer."""

    waiting: TaskRun
    ended: TaskRun
    marked: TaskRun
    cleared: TaskRun


@pytest.fixture(scope="module")
def outage(live: LiveAirflow) -> Outage:
    """Kill the triggerer while four tasks are deferred, do to them what the tests say, and start it again."""
    runs = Outage(*(start(live, "deferred") for _ in range(4)))
    for run in (runs.waiting, runs.ended, runs.marked, runs.cleared):
        run.until_watched()
    live.parts["triggerer"].kill()
    assert all(run.state == "deferred" for run in (runs.waiting, runs.ended, runs.marked, runs.cleared))
    runs.marked.mark("failed")
    runs.cleared.clear()
    runs.cleared.until_job("Stopped")
    for run in (runs.cleared, runs.ended):
        run.let_finish()
    runs.ended.until_job("Completed")
    live.until_missed("triggerer")
    live.restart("triggerer")
    seen(lambda: runs.waiting.watches() == 2, SECONDS, "the new triggerer's taking over")
    runs.waiting.let_finish()
    return runs


def test_triggerer_killed(outage: Outage, case: Case, live: LiveAirflow) -> None:
    """kill -9 of the triggerer while the task is deferred; the triggerer is started again, and the job runs on."""
    case.watch(outage.waiting)
    assert outage.waiting.end() == "success"
    assert outage.waiting.generations() == [(0, "Completed")]
    assert len(outage.waiting.attempts()) == 1


def test_job_ended_while_the_triggerer_was_dead(outage: Outage, case: Case, live: LiveAirflow) -> None:
    """kill -9 of the triggerer; the job completes while nobody looks; the triggerer is started again."""
    case.watch(outage.ended)
    assert outage.ended.end() == "success"
    assert outage.ended.generations() == [(0, "Completed")]
    assert len(outage.ended.attempts()) == 1


def test_task_cleared_while_the_triggerer_was_dead(outage: Outage, case: Case, live: LiveAirflow) -> None:
    """kill -9 of the triggerer; the user clears the deferred task; the triggerer is started again."""
    case.watch(outage.cleared)
    assert outage.cleared.end() == "success"
    assert outage.cleared.generations() == [(0, "Stopped"), (1, "Completed")]


def test_task_marked_failed_while_the_triggerer_was_dead(outage: Outage, case: Case, live: LiveAirflow) -> None:
    """kill -9 of the only triggerer; the user marks the deferred task failed; the triggerer is started again once it has
    been missed, and hears of it then."""
    case.watch(outage.marked)
    assert outage.marked.end() == "failed"
    outage.marked.until_job("Stopped")
    assert outage.marked.generations() == [(0, "Stopped")]


@pytest.mark.parametrize("how", ["SIGTERM to all its processes", "kill -9", "kill -9 of all its processes"])
def test_scheduler_restarted(live: LiveAirflow, case: Case, how: str) -> None:
    """The scheduler is ended as named while one task is deferred and one waits in a worker, and started again. A plain
    kill -9 leaves its workers alive: the new scheduler resets their task, and Airflow ends them later."""
    deferred, in_worker = start(live, "deferred"), start(live, "in_worker")
    case.watch(deferred, in_worker)
    deferred.until_watched()
    in_worker.until_log(JOB_WAITS)
    scheduler = live.parts["scheduler"]
    ways = {"SIGTERM to all its processes": scheduler.terminate, "kill -9": scheduler.kill_alone}
    ways.get(how, scheduler.kill)()
    live.restart("scheduler")
    in_worker.until_log("an earlier attempt's job is running", attempt=2)
    for run in (deferred, in_worker):
        run.let_finish()
    assert [deferred.end(), in_worker.end()] == ["success", "success"]
    assert deferred.generations() == [(0, "Completed")]
    assert in_worker.generations() == [(0, "Completed")]
    assert len(deferred.attempts()) == 1
    assert len(in_worker.attempts()) == 2


def test_task_marked_failed_while_its_triggerer_was_dead_and_another_lived(live: LiveAirflow, case: Case) -> None:
    """kill -9 of one of two triggerers; the user marks one of its tasks failed before the other has taken them over, so
    that no trigger hears of it; then the reconciler, told to stop what is left."""
    waiting, marked = start(live, "deferred"), start(live, "deferred")
    case.watch(waiting, marked)
    waiting.until_watched()
    marked.until_watched()
    live.start_another("triggerer")
    killed = datetime.now(UTC)
    live.parts["triggerer"].kill()
    live.await_well("another triggerer", killed)
    marked.mark("failed")
    seen(lambda: waiting.watches() == 2, SECONDS, "the other triggerer's taking over")
    assert marked.generations() == [(0, "InProgress")]
    reconciled = live.api.trigger("reconcile_at_once")
    marked.until_job("Stopped")
    waiting.let_finish()
    seen(lambda: live.api.run("reconcile_at_once", reconciled)["state"] == "success", SECONDS, "the reconciler's end")
    assert [waiting.end(), marked.end()] == ["success", "failed"]
    assert waiting.generations() == [(0, "Completed")]
    assert marked.generations() == [(0, "Stopped")]
