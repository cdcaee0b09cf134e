"""The rows of docs/kill-matrix.md: what each case did, and what was seen of it when it was over.

A case's title is its test's name, what it did is its test's docstring, and what was seen is read from Airflow and the
runtime after the test, never written by hand.
"""

from __future__ import annotations

import inspect
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.live.runs import TaskRun

FIRST, LAST = "<!-- rows: begin -->", "<!-- rows: end -->"
HEAD = ("| Case | What was done | Jobs: generation and status | Attempts and final state | Seconds |", "|---" * 5 + "|")


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    done: str
    jobs: str
    attempts: str
    seconds: int

    def markdown(self) -> str:
        return f"| {self.title} | {self.done} | {self.jobs} | {self.attempts} | {self.seconds} |"


class Case:
    """One case: its test, and the tasks that it watches."""

    def __init__(self, test: Callable[..., Any], variant: str = "") -> None:
        name = test.__name__.removeprefix("test_").replace("_", " ")
        self.title = f"{name} ({variant})" if variant else name
        self.done = " ".join((inspect.getdoc(test) or "").split())
        assert self.done, f"{test.__name__} needs a docstring: it is what the kill matrix says was done"
        self._runs: list[TaskRun] = []

    def watch(self, *runs: TaskRun) -> None:
        """Name the tasks whose jobs and attempts the row is to show."""
        self._runs += runs

    def row(self) -> Row:
        assert self._runs, f"{self.title} watches no task"
        seconds = round(time.monotonic() - min(run.started for run in self._runs))
        return Row(
            self.title,
            self.done,
            "<br>".join(_jobs(run) for run in self._runs),
            "<br>".join(_attempts(run) for run in self._runs),
            seconds,
        )


def _jobs(run: TaskRun) -> str:
    counted = Counter(f"{job.generation} {job.status}" for job in run.jobs())
    seen = ", ".join(what if many == 1 else f"{many} times {what}" for what, many in sorted(counted.items()))
    return f"{run}: {seen or 'none'}"


def _attempts(run: TaskRun) -> str:
    """The attempts before the last, then the task's state."""
    earlier = ", ".join(f"{attempt.number} {attempt.state}" for attempt in run.attempts()[:-1])
    last = run.attempts()[-1].number
    return f"{run}: {earlier + ', ' if earlier else ''}{last} **{run.state}**"


def write(document: Path, rows: Iterable[Row]) -> None:
    """Put the rows between the document's two markers.

    Raises:
        ValueError: the document lacks a marker.
    """
    text = document.read_text()
    if FIRST not in text or LAST not in text:
        raise ValueError(f"{document} lacks {FIRST} or {LAST}, between which the rows go")
    before, after = text.split(FIRST)[0], text.split(LAST)[1]
    lines = [FIRST, *HEAD, *(row.markdown() for row in rows), LAST]
    document.write_text(before + "\n".join(lines) + after)
