"""One poller for many waiters, against a real runtime: what it costs, what it tells, and what it survives."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import botocore.exceptions
import pytest

from millrace.runtime import fault_plan
from millrace.runtime.fault_plan import Rule
from millrace.runtime.faults import FailCall, FailJob, HoldJob, LoseResponse, Throttle
from millrace.sagemaker import poller as module
from millrace.sagemaker.kinds import PROCESSING
from millrace.sagemaker.poller import Poller, Watch
from tests.runtime.jobs import Jobs
from tests.runtime.process import until

MANY = 12


class Scene:
    """A deployment's prefix, jobs that wait for instances, and a poller whose calls are counted."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.prefix = f"dep{time.time_ns()}-"
        self.calls: Counter[str] = Counter()
        self.described: list[str] = []
        """What each Describe sent, as its body."""
        self.told: list[str] = []
        self.clients = 0
        self.refuse = ""
        self.forbidden = ""
        self.poller = Poller(PROCESSING, self.prefix, self.connect)
        self.plan(Rule(HoldJob(hold_seconds=300), name=f"{self.prefix}*", seconds=600))

    def plan(self, *rules: Rule) -> None:
        fault_plan.write(self.jobs.runtime.data_dir, list(rules))

    def connect(self) -> Any:
        self.clients += 1
        client = self.jobs.runtime.client("sagemaker")
        client.meta.events.register("before-call.sagemaker", self.count)
        return client

    def count(self, model: Any, params: Any, **_: Any) -> None:
        self.calls[model.name] += 1
        if model.name.startswith("Describe"):
            self.described.append(str(params["body"]))
        if self.forbidden and model.name.startswith("Describe") and self.forbidden in str(params["body"]):
            refusal = {"Error": {"Code": "AccessDeniedException", "Message": "this one is not yours"}}
            raise botocore.exceptions.ClientError(refusal, model.name)  # type: ignore[arg-type]
        if self.refuse:
            code, self.refuse = self.refuse, ""
            raise botocore.exceptions.ClientError({"Error": {"Code": code, "Message": "as told"}}, model.name)

    def job(self, script: str = "true") -> str:
        return self.jobs.processing(script, f"{self.prefix}{self.jobs.name()}")

    def watch(self, name: str, most_seconds: float = 0.5) -> Watch:
        return self.poller.watch(name, most_seconds=most_seconds, trouble=self.told.append)

    def stop(self, name: str) -> None:
        self.jobs.sagemaker.stop_processing_job(ProcessingJobName=name)


@pytest.fixture
def scene(jobs: Jobs) -> Iterator[Scene]:
    scene = Scene(jobs)
    yield scene
    fault_plan.clear(jobs.runtime.data_dir)
    for page in jobs.sagemaker.get_paginator("list_processing_jobs").paginate(
        NameContains=scene.prefix, StatusEquals="InProgress"
    ):
        for summary in page["ProcessingJobSummaries"]:
            scene.stop(summary["ProcessingJobName"])


def status(watch: Watch) -> str:
    found = watch.ended.result(30)
    assert found is not None
    return str(found["ProcessingJobStatus"])


def test_each_waiter_gets_the_last_description_of_its_own_job(scene: Scene) -> None:
    stopped, waiting = scene.job(), scene.job()
    watches = {name: scene.watch(name) for name in (stopped, waiting)}
    scene.stop(stopped)
    assert status(watches[stopped]) == "Stopped"
    assert not watches[waiting].ended.done()


def test_two_waiters_of_one_job_are_both_told(scene: Scene) -> None:
    name = scene.job()
    first, second = scene.watch(name), scene.watch(name)
    scene.stop(name)
    assert [status(first), status(second)] == ["Stopped", "Stopped"]


def test_job_that_is_gone_has_ended(scene: Scene) -> None:
    assert scene.watch(f"{scene.prefix}never-made").ended.result(30) is None


def test_what_waits_costs_one_listing_a_look_and_what_ends_one_describe(scene: Scene) -> None:
    names = [scene.job() for _ in range(MANY)]
    watches = {name: scene.watch(name) for name in names}
    until(lambda: scene.calls["ListProcessingJobs"] >= 3, 30, "a few looks")
    scene.calls.clear()
    scene.described.clear()
    until(lambda: scene.calls["ListProcessingJobs"] >= 3, 30, "three more looks")
    assert not scene.described
    scene.stop(names[0])
    assert status(watches[names[0]]) == "Stopped"
    # One, and one more for each look that falls between Stopping and Stopped; none of those that wait.
    assert scene.described
    assert all(names[0] in body for body in scene.described)


def test_what_ended_before_anybody_waited_is_found_by_the_first_look_at_many(scene: Scene) -> None:
    names = [scene.job() for _ in range(MANY)]
    scene.stop(names[5])
    until(lambda: describe(scene, names[5]) == "Stopped", 30, "the stop")
    watches = [scene.watch(name) for name in names]
    assert status(watches[5]) == "Stopped"
    assert [watch.ended.done() for watch in watches].count(True) == 1


def describe(scene: Scene, name: str) -> str:
    return str(scene.jobs.sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"])


def test_what_a_listing_missed_is_found_by_the_sweep(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [scene.job() for _ in range(MANY)]
    watches = [scene.watch(name) for name in names]
    until(lambda: scene.calls["ListProcessingJobs"] >= 3, 30, "a few looks")
    # Listings of what has changed reach back to the future: they find nothing at all.
    monkeypatch.setattr(module, "OVERLAP", -timedelta(days=1))
    until(lambda: scene.poller._listed_until and scene.poller._listed_until.timestamp() > time.time(), 30, "blindness")
    scene.stop(names[3])
    until(lambda: describe(scene, names[3]) == "Stopped", 30, "the stop")
    assert not watches[3].ended.done()
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0.0)
    assert status(watches[3]) == "Stopped"


@pytest.mark.e2e
@pytest.mark.parametrize("fault", [Throttle(), FailCall()])
def test_trouble_while_looking_ends_no_wait_and_is_said_to_those_who_wait(scene: Scene, fault: Any) -> None:
    scene.plan(Rule(fault, operation="DescribeProcessingJob", name=f"{scene.prefix}*", times=12),
               Rule(FailJob(reason="CapacityError: none", hold_seconds=1), name=f"{scene.prefix}*", times=1))  # fmt: skip
    watch = scene.watch(scene.job())
    assert status(watch) == "Failed"
    assert "is tried again" in scene.told[0]
    assert len(scene.told) == 1  # once in a row, not once a look


def test_network_that_fails_ends_neither_the_wait_nor_the_thread(scene: Scene) -> None:
    scene.plan(Rule(LoseResponse(), operation="DescribeProcessingJob", name=f"{scene.prefix}*", times=2),
               Rule(FailJob(reason="CapacityError: none", hold_seconds=1), name=f"{scene.prefix}*", times=1))  # fmt: skip
    assert status(scene.watch(scene.job())) == "Failed"


def test_name_that_may_not_be_looked_at_keeps_nobody_else_waiting(scene: Scene) -> None:
    names = sorted(scene.job() for _ in range(MANY))
    scene.forbidden = names[0]
    watches = {name: scene.watch(name) for name in names}
    for name in (names[0], names[-1]):
        scene.stop(name)
    assert status(watches[names[-1]]) == "Stopped"
    assert not watches[names[0]].ended.done()
    scene.forbidden = ""
    assert status(watches[names[0]]) == "Stopped"


def test_end_that_a_listing_has_shown_is_not_forgotten_while_describing_fails(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OVERLAP", timedelta(0))  # each change is listed once
    names = [scene.job() for _ in range(MANY)]
    watches = [scene.watch(name) for name in names]
    until(lambda: scene.calls["ListProcessingJobs"] >= 3, 30, "a few looks")
    scene.plan(Rule(Throttle(), operation="DescribeProcessingJob", seconds=6))
    scene.stop(names[2])
    assert status(watches[2]) == "Stopped"


def test_expired_credentials_are_fetched_anew(scene: Scene) -> None:
    scene.refuse = "ExpiredTokenException"
    name = scene.job()
    watch = scene.watch(name)
    scene.stop(name)
    assert status(watch) == "Stopped"
    assert scene.clients == 2


def test_whoever_waits_no_longer_costs_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.1)
    watch = scene.watch(scene.job())
    until(lambda: watch.seen, 30, "the first look")
    scene.poller.forget(watch)
    until(lambda: scene.poller._thread is None, 30, "the end of the thread")
    name = scene.job()
    again = scene.watch(name)  # and it starts again
    scene.stop(name)
    assert status(again) == "Stopped"


def test_pauses_begin_short_grow_with_age_and_end_at_the_shortest_that_a_waiter_asked_for() -> None:
    poller = Poller(PROCESSING, "x-", lambda: None)
    watch = Watch("x-a", 30.0, print)
    poller._watches.add(watch)

    def pauses(age: float) -> list[float]:
        watch.since = time.monotonic() - age
        return [poller._pause() for _ in range(200)]

    assert min(pauses(0)) > 0.35 and max(pauses(0)) < 0.65
    assert min(pauses(100)) > 11 and max(pauses(100)) < 19
    assert max(pauses(10_000)) <= 36
    assert len(set(pauses(100))) > 100, "jitter"
    poller._watches.add(Watch("x-b", 5.0, print, since=time.monotonic() - 10_000))
    assert max(pauses(10_000)) <= 6
    poller._failures = 6
    assert min(pauses(10_000)) > 20, "back-off"
