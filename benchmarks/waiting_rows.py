"""Deferred task instances and their triggers, written into Airflow's database through Airflow's own models.

This stands in for the workers that would have deferred them; the triggerer cannot tell the difference. What it does not
do: it starts no process. The environment must name the database before this module is imported.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.models.dagbag import DBDagBag
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import TaskDeferred
from airflow.triggers.base import BaseTrigger
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import delete, func, select, update

from operators import attempt

DAG_ID = "waiting"


@dataclass(frozen=True, slots=True)
class Slot:
    """One task instance that shall wait."""

    run_id: str
    task_id: str


@dataclass
class _Instance:
    """As much of a task instance as an operator looks at when it submits and defers."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def xcom_push(self, key: str, value: Any) -> None:
        """Links and artifacts: nobody reads them here."""


@dataclass(frozen=True, slots=True)
class _Run:
    """As much of a DAG run."""

    dag_id: str
    run_id: str
    start_date: datetime = field(default_factory=lambda: datetime.now(UTC))


class _StateStore(dict[str, Any]):
    """The task's state store, as a dict."""

    def set(self, key: str, value: Any, **_: Any) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)


def slots(count: int, tasks: int, phase: str) -> list[Slot]:
    return [Slot(f"{phase}_{index // tasks}", f"wait_{index % tasks}") for index in range(count)]


def deferred_trigger(operator: BaseOperator, slot: Slot) -> BaseTrigger:
    """Run a task until it defers, which submits its job, and return the trigger it waits with.

    It defers at once: the moment that a worker waits for jobs that end soon is not what is measured here.
    """
    attempt.BRIEFLY = timedelta(0)
    instance, run = _Instance(DAG_ID, slot.run_id, slot.task_id), _Run(DAG_ID, slot.run_id)
    context = {"ti": instance, "task_instance": instance, "dag_run": run, "run_id": slot.run_id}
    try:
        operator.execute({**context, "task": operator, "task_state_store": _StateStore()})
    except TaskDeferred as deferred:
        return deferred.trigger
    raise RuntimeError(f"{slot.task_id} did not defer: its job had ended, though nothing was to run it")


def insert(waiting: dict[Slot, BaseTrigger]) -> None:
    """One run for each run id, its tasks deferred to these triggers."""
    now = datetime.now(UTC)
    with create_session() as session:
        dag = DBDagBag().get_latest_version_of_dag(DAG_ID, session=session)
        for run_id in {slot.run_id for slot in waiting}:
            dag.create_dagrun(
                run_id=run_id, run_after=now, run_type=DagRunType.MANUAL, state=DagRunState.RUNNING,
                triggered_by=DagRunTriggeredByType.TEST, session=session,
            )  # fmt: skip
        session.flush()
        instances = {(ti.run_id, ti.task_id): ti for ti in _instances(session, waiting)}
        rows = {slot: Trigger.from_object(trigger) for slot, trigger in waiting.items()}
        session.add_all(rows.values())
        session.flush()
        for slot, row in rows.items():
            instance = instances[slot.run_id, slot.task_id]
            instance.state, instance.trigger_id = TaskInstanceState.DEFERRED, row.id
            instance.next_method, instance.next_kwargs = "execute_complete", {}
            instance.start_date, instance.try_number = now, 1


def clear() -> None:
    """Nobody waits any longer."""
    with create_session() as session:
        session.execute(update(TaskInstance).values(state=TaskInstanceState.REMOVED, trigger_id=None))
        session.execute(delete(Trigger))


def resumed(slot: Slot) -> bool:
    """Whether Airflow has taken the trigger's event."""
    with create_session() as session:
        where = (TaskInstance.run_id == slot.run_id, TaskInstance.task_id == slot.task_id)
        return bool(session.scalar(select(TaskInstance.state).where(*where)) != TaskInstanceState.DEFERRED)


def assigned() -> int:
    with create_session() as session:
        return int(session.scalar(select(func.count(Trigger.id)).where(Trigger.triggerer_id.is_not(None))) or 0)


def _instances(session: Any, waiting: Sequence[Slot] | dict[Slot, BaseTrigger]) -> Iterator[TaskInstance]:
    run_ids = {slot.run_id for slot in waiting}
    yield from session.scalars(select(TaskInstance).where(TaskInstance.run_id.in_(run_ids)))
