"""One task instance as Airflow keeps it, and what a retry, a clear and a new run do to its tries, XComs and state store.

The seam between operators and Airflow, for tests without a scheduler; tests/live holds the same against the real one.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.exceptions import TaskDeferred
from airflow.triggers.base import BaseTrigger


@dataclass
class TaskInstance:
    """As much of a task instance as operators look at."""

    dag_id: str = "pipeline"
    run_id: str = "scheduled__2026-01-01"
    task_id: str = "step"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    state: str | None = "running"
    xcom: dict[str, Any] = field(default_factory=dict)
    task: BaseOperator | None = None

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcom[key] = value

    def get_task_states(
        self, dag_id: str, task_ids: list[str], run_ids: list[str], map_index: int
    ) -> dict[str, dict[str, str | None]]:
        assert (dag_id, task_ids, run_ids, map_index) == (self.dag_id, [self.task_id], [self.run_id], self.map_index)
        return {self.run_id: {self.task_id: self.state}}


class TaskStateStore(dict[str, Any]):
    """Airflow's task state store: a dict that survives retries and clears."""

    def set(self, key: str, value: Any, **_: Any) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)


@dataclass
class DagRun:
    """As much of a DAG run as operators look at."""

    start_date: datetime


@dataclass
class Attempts:
    """The attempts of one task instance, of a run of its own unless one is named."""

    run: str = field(default_factory=lambda: f"run-{time.time_ns()}")
    task_id: str = "step"
    map_index: int = -1
    store: TaskStateStore = field(default_factory=TaskStateStore)
    ti: TaskInstance = field(default_factory=TaskInstance)
    run_started: datetime = field(default_factory=lambda: datetime.now(UTC))
    outlet_events: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ti.run_id, self.ti.task_id, self.ti.map_index = self.run, self.task_id, self.map_index

    @property
    def context(self) -> Any:
        return {
            "ti": self.ti,
            "task_state_store": self.store,
            "dag_run": DagRun(self.run_started),
            "outlet_events": self.outlet_events,
        }

    def execute(self, operator: BaseOperator) -> Any:
        """One attempt to its end, through every deferral."""
        try:
            return operator.execute(self.context)
        except TaskDeferred as deferred:
            return self.resume(operator, deferred)

    def defer(self, operator: BaseOperator) -> TaskDeferred:
        """One attempt until it defers."""
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(self.context)
        return deferred.value

    def resume(self, operator: BaseOperator, deferred: TaskDeferred) -> Any:
        """Wait as the triggerer does, and go on as a worker does."""
        while True:
            event = asyncio.run(_first_event(revived(deferred.trigger)))
            try:
                return operator.resume_execution(deferred.method_name, {"event": event}, self.context)
            except TaskDeferred as again:
                deferred = again

    def clear(self) -> None:
        """What clearing a task does that is not running."""
        self.ti.max_tries += 1

    def recreate(self) -> None:
        """What deleting the run does, and making it again under the same id."""
        self.store.clear()
        self.ti.max_tries = 0
        self.run_started = datetime.now(UTC)


def revived(trigger: BaseTrigger) -> BaseTrigger:
    """A trigger as the triggerer makes it, from its serialized form; it may fire at once."""
    path, arguments = trigger.serialize()
    assert path == f"{type(trigger).__module__}.{type(trigger).__name__}"
    return type(trigger)(**{**arguments, "not_before": 0.0})


async def _first_event(trigger: BaseTrigger) -> Any:
    return (await anext(trigger.run())).payload
