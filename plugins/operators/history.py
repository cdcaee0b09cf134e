"""What an operator writes into a model's history: when, by whom, against which champion, and where its page is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from millrace.retraining.history import History
from millrace.sagemaker.deployment import Deployment
from millrace.sagemaker.preflight import PreflightError
from operators.links import HistoryLink, object_page

if TYPE_CHECKING:
    from airflow.sdk import Context

    from operators.processing import ProcessingOperator

RUN_TIME = "{{ (data_interval_end | default(none)) or dag_run.run_after }}"
"""The time of a run's window, where none is named."""
CHAMPION_VARIABLE = "MILLRACE_CHAMPION"
"""Tells the job, and whoever looks at it later, which version it compares with or serves."""


def history_of(model: str, s3: Any) -> History:
    """The model's history in this worker's deployment."""
    deployment = Deployment.from_environment()
    return History(s3, deployment.bucket, deployment.id, model)


def publish_page(operator: ProcessingOperator, history: History, context: Context) -> None:
    """Link the history's page from the task."""
    page = object_page(history.s3, history.page_uri)
    operator.publish(context, history=history.page_uri, **{HistoryLink.xcom_key_name: page})


def window_end(text: Any) -> datetime:
    """A window's end as a time with a zone; a date is its midnight in UTC.

    Raises:
        PreflightError: it is neither a date nor a time.
    """
    try:
        found = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
    except ValueError:
        raise PreflightError(
            f"window has rendered to {text!r}; it must be a date or a time, as in 2026-11-21"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def written_by(context: Context, job: str) -> dict[str, str]:
    """Who writes a record."""
    ti = context["ti"]
    return {"dag": ti.dag_id, "run": ti.run_id, "task": ti.task_id, "job": job}


def champion_of(description: dict[str, Any]) -> str | None:
    """The version that a job was told of."""
    found = (description.get("Environment") or {}).get(CHAMPION_VARIABLE)
    return None if found is None else str(found)
