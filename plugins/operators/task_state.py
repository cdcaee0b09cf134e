"""The task instance as operators see it: who it is, what earlier attempts wrote down, and when its run began."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from millrace.sagemaker.deployment import Deployment
from millrace.sagemaker.names import TaskIdentity

if TYPE_CHECKING:
    from airflow.sdk import Context


def identity_of(context: Context, deployment: Deployment) -> TaskIdentity:
    """Who this task instance is."""
    ti = context["ti"]
    return TaskIdentity(
        deployment=deployment.id,
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=ti.map_index if ti.map_index is not None else -1,
    )


def remember(context: Context, key: str, document: dict[str, Any]) -> None:
    """Keep something in the task state store for good: a task that is cleared months later must not be taken for new.

    With it go the marks by which a later attempt tells a clear from a retry (see decision.attempt_of).
    """
    from airflow.sdk.execution_time.context import NEVER_EXPIRE

    marks = {"max_tries": max_tries(context), "run_started": run_started(context)}
    context["task_state_store"].set(key, {**document, **marks}, retention=NEVER_EXPIRE)


def recall(context: Context, key: str) -> dict[str, Any]:
    """What an earlier attempt, or an earlier part of this one, has remembered; empty when nothing."""
    found: Any = context["task_state_store"].get(key)
    return dict(found or {})


def max_tries(context: Context) -> int:
    """A retry leaves it, clearing the task moves it."""
    return int(context["ti"].max_tries)


def run_started(context: Context) -> str:
    """When the DAG run was started, in ISO 8601; a retry leaves it, clearing a finished run moves it."""
    started: datetime | None = context["dag_run"].start_date
    return started.isoformat() if started else ""
