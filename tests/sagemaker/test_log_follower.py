"""Following many logs under one budget, against real jobs: every line once, nobody starved, the budget kept."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from millrace.runtime import fault_plan
from millrace.runtime.fault_plan import Rule
from millrace.runtime.faults import Throttle
from millrace.sagemaker import log_follower as module
from millrace.sagemaker.kinds import PROCESSING
from millrace.sagemaker.log_follower import LogFollower
from millrace.sagemaker.log_tail import LogTail
from tests.runtime.jobs import Jobs
from tests.runtime.process import until


class Counted:
    """Connections to the runtime's logs whose calls are counted."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.calls: Counter[str] = Counter()

    def __call__(self) -> Any:
        client = self.jobs.runtime.client("logs")
        client.meta.events.register("before-call.logs", lambda model, **_: self.calls.update([model.name]))
        return client


def test_each_line_comes_once_and_leaving_says_where_the_reading_stopped(jobs: Jobs) -> None:
    name = jobs.processing("for n in 1 2 3; do echo line $n; sleep 0.3; done")
    lines: list[str] = []
    follower = LogFollower(Counted(jobs))
    following = follower.follow(LogTail(PROCESSING, name), lines.extend)
    jobs.end("processing", name)
    until(lambda: len(lines) == 3, 30, "the lines")
    tokens = follower.leave(following)
    assert lines == ["line 1", "line 2", "line 3"]
    assert LogTail(PROCESSING, name, tokens).read(jobs.logs) == []


def test_flood_is_handed_on_in_parts_and_whole(jobs: Jobs) -> None:
    name = jobs.processing("seq 1 12000")
    jobs.end("processing", name)
    parts: list[list[str]] = []
    follower = LogFollower(Counted(jobs))
    following = follower.follow(LogTail(PROCESSING, name), parts.append)
    until(lambda: sum(map(len, parts)) == 12_000, 60, "the flood")
    follower.leave(following)
    assert [line for part in parts for line in part] == [str(number) for number in range(1, 12_001)]


def test_many_quiet_jobs_keep_to_the_budget_and_the_one_that_speaks_is_heard(jobs: Jobs) -> None:
    counted = Counted(jobs)
    follower = LogFollower(counted, calls_per_second=4, burst=4)
    name = jobs.processing("echo hello")
    jobs.end("processing", name)
    heard: list[str] = []
    begun = time.monotonic()
    quiet = [follower.follow(LogTail(PROCESSING, f"quiet-{number}"), heard.extend) for number in range(15)]
    speaking = follower.follow(LogTail(PROCESSING, name), heard.extend)
    until(lambda: heard == ["hello"], 60, "the line")
    for following in (*quiet, speaking):
        follower.leave(following)
    # A look makes at most a few calls at once, so that the budget may be overdrawn by that many.
    assert counted.calls.total() <= 4 + 4 * (time.monotonic() - begun) + 4


def test_log_that_cannot_be_read_is_tried_again(jobs: Jobs) -> None:
    name = jobs.processing("echo hello")
    jobs.end("processing", name)
    fault_plan.write(jobs.runtime.data_dir, [Rule(Throttle(), operation="GetLogEvents", name=name, times=2)])
    heard: list[str] = []
    follower = LogFollower(lambda: jobs.runtime.client("logs"), calls_per_second=50)
    following = follower.follow(LogTail(PROCESSING, name), heard.extend)
    until(lambda: heard == ["hello"], 30, "the line")
    follower.leave(following)
    assert [fault.operation for fault in fault_plan.dealt(jobs.runtime.data_dir) if fault.name == name] == [
        "GetLogEvents"
    ] * 2
    fault_plan.clear(jobs.runtime.data_dir)


def test_follower_ends_its_thread_when_nobody_listens(jobs: Jobs, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.1)
    follower = LogFollower(Counted(jobs))
    follower.leave(follower.follow(LogTail(PROCESSING, "nobody"), print))
    until(lambda: follower._thread is None, 30, "the end of the thread")
