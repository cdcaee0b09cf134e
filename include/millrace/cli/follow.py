"""Following runs until they end: a live table on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from .airflow_api import AirflowApi

POLL_SECONDS = 1.0
ANSWER_SECONDS = 2.5
COLOURS = {
    "success": "green", "failed": "red", "upstream_failed": "red", "running": "cyan", "deferred": "magenta",
    "awaiting_input": "yellow", "up_for_retry": "yellow", "skipped": "dim", "queued": "blue", "scheduled": "blue",
}  # fmt: skip
ENDED = ("success", "failed")


class RunFailed(RuntimeError):
    """A run that was followed has failed."""

    def __init__(self, dag_id: str, run_id: str) -> None:
        super().__init__(f"{dag_id} {run_id} failed")
        self.dag_id = dag_id
        self.run_id = run_id


@dataclass
class Followed:
    """One run under watch."""

    dag_id: str
    run_id: str
    note: str = ""
    state: str = "queued"
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    order: Sequence[str] = ()


class Follower:
    """Watches runs; `on_waiting` is called once for each task that waits for a person."""

    def __init__(self, api: AirflowApi, console: Console, on_waiting: Callable[[Followed, str], None]) -> None:
        self._api = api
        self._console = console
        self._on_waiting = on_waiting
        self._asked: dict[tuple[str, str, int], float] = {}

    def follow(self, runs: Sequence[Followed]) -> None:
        """Wait until every run has ended.

        Raises:
            RunFailed: one of them failed; the others were waited for too.
        """
        for run in runs:
            run.order = self._api.task_order(run.dag_id)
        if self._console.is_terminal:
            with Live(self._table(runs), console=self._console, refresh_per_second=4) as live:
                self._watch(runs, lambda: live.update(self._table(runs)))
        else:
            self._watch(runs, lambda: None)
        failed = [run for run in runs if run.state != "success"]
        if failed:
            raise RunFailed(failed[0].dag_id, failed[0].run_id)

    def _watch(self, runs: Sequence[Followed], show: Callable[[], None]) -> None:
        while True:
            for run in runs:
                if run.state not in ENDED:
                    self._look(run)
            show()
            if all(run.state in ENDED for run in runs):
                return
            time.sleep(POLL_SECONDS)

    def _look(self, run: Followed) -> None:
        run.state = str(self._api.run(run.dag_id, run.run_id)["state"])
        for task in self._api.tasks(run.dag_id, run.run_id):
            name, state = task["task_id"], task["state"]
            before = (run.tasks.get(name) or {}).get("state")
            run.tasks[name] = task
            if state != before and not self._console.is_terminal and state in COLOURS:
                seconds = f" {task['duration']:.1f} s" if task.get("duration") and state in ENDED else ""
                self._console.print(f"{run.dag_id}.{name}: {state}{seconds}", highlight=False)
            if state == "awaiting_input":
                self._ask(run, name, int(task["try_number"]))

    def _ask(self, run: Followed, name: str, attempt: int) -> None:
        """Pass a question on, once for each attempt, when it has stood for a moment: docs/decisions/0016."""
        question = (run.run_id, name, attempt)
        first_seen = self._asked.setdefault(question, time.monotonic())
        if time.monotonic() - first_seen >= ANSWER_SECONDS:
            self._asked[question] = float("inf")
            self._on_waiting(run, name)

    def _table(self, runs: Sequence[Followed]) -> Table:
        table = Table(box=None, pad_edge=False)
        for column in ("pipeline", "task", "state", "seconds"):
            table.add_column(column, justify="right" if column == "seconds" else "left")
        for run in runs:
            for index, name in enumerate(run.order):
                task = run.tasks.get(name) or {}
                state = str(task.get("state") or "")
                title = f"{run.dag_id} {run.note}".strip() if index == 0 else ""
                table.add_row(title, name, f"[{COLOURS.get(state, 'dim')}]{state}[/]", _seconds(task))
        return table


def _seconds(task: dict[str, Any]) -> str:
    if task.get("duration") and task.get("state") in ENDED:
        return f"{task['duration']:.1f}"
    if task.get("start_date") and task.get("state") in ("running", "deferred", "awaiting_input"):
        started = datetime.fromisoformat(str(task["start_date"]).replace("Z", "+00:00"))
        return f"{(datetime.now(started.tzinfo) - started).total_seconds():.0f} …"
    return ""


def explain_failure(api: AirflowApi, run: RunFailed, console: Console, job_log: Callable[[str], list[str]]) -> None:
    """Print the failing task, the end of its log, and the end of its job's log."""
    for task in api.tasks(run.dag_id, run.run_id):
        if task["state"] != "failed":
            continue
        name = task["task_id"]
        console.rule(f"[red]{run.dag_id}.{name} failed")
        for line in api.log(run.dag_id, run.run_id, name, task["try_number"], task["map_index"])[-40:]:
            console.print(line, markup=False, highlight=False)
        try:
            link = str(api.xcom(run.dag_id, run.run_id, name, "sagemaker_job_link"))
        except RuntimeError:
            continue  # it failed before there was a job
        console.rule(f"the log of its job {link.rpartition('/')[2]}")
        for line in job_log(link)[-40:]:
            console.print(line, markup=False, highlight=False)
