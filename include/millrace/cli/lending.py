"""A month of the lending pipeline, night after night: a broken delivery, a world that changes, and what follows by itself.

It triggers the nights; the training that drift starts is Airflow's own doing, and is only waited for, since in the world a
day lies between two nights. Nothing is read but what the pipelines left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from rich.panel import Panel
from rich.table import Table

from pipelines.lending.settings import FIRST_DAY

from .follow import Followed
from .stage import Stage

NIGHTLY, TRAINING = "lending_nightly", "lending_training"


@dataclass(frozen=True, slots=True)
class Night:
    """What one night has left."""

    day: date
    run: Followed
    gate: dict[str, Any]
    monitor: dict[str, Any]
    retraining: Followed | None


def play(stage: Stage, nights: int) -> None:
    """Train on the bank's past, play the nights, and print the summary.

    Raises:
        DagNotFound: one of the DAGs does not parse.
        DemoFailed: drift that lasts started no training.
        RunFailed: a run failed; its task, log and job log were printed.
    """
    stage.await_dags(NIGHTLY, TRAINING)
    stage.follow(
        "training on the bank's past", Followed(TRAINING, stage.api.trigger(TRAINING, {"day": str(FIRST_DAY)}))
    )
    played = [_night(stage, FIRST_DAY + timedelta(days=number)) for number in range(nights)]
    stage.seconds = _added_up(stage.seconds)
    _show(stage, played)


def _night(stage: Stage, day: date) -> Night:
    run = Followed(NIGHTLY, stage.api.trigger(NIGHTLY, {"day": str(day)}), str(day))
    stage.follow(f"night of {day}", run)
    gate, monitor = (stage.api.xcom(NIGHTLY, run.run_id, task) for task in ("gate", "monitor"))
    stage.console.print(f"  {gate['summary']} {monitor['summary']} [bold]{monitor['action']}[/]: {monitor['why']}")
    retraining = None
    if monitor["action"] == "retrain":
        retraining = Followed(TRAINING, stage.started_by(run, TRAINING), "(drift)")
        stage.follow(f"retraining after {day}", retraining)
        result = stage.api.xcom(TRAINING, retraining.run_id, "challenge")
        stage.console.print(f"  {result['summary']}")
    return Night(day, run, gate, monitor, retraining)


def _added_up(seconds: dict[str, float]) -> dict[str, float]:
    """The nights in one figure."""
    nights = [value for what, value in seconds.items() if what.startswith("night")]
    return {what: value for what, value in seconds.items() if not what.startswith("night")} | {
        f"{len(nights)} nights": sum(nights)
    }


def _show(stage: Stage, nights: Sequence[Night]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    read, aside = (sum(night.gate["metrics"][name] for night in nights) for name in ("rows_read", "rows_quarantined"))
    table.add_row("nights", f"{len(nights)}, {read:,.0f} applications")
    worst = max(nights, key=lambda night: night.gate["metrics"]["rows_quarantined"])
    table.add_row("quarantine", f"{aside:,.0f} rows, most of them on {worst.day}: {worst.gate['summary']}")
    first = next((night for night in nights if night.monitor["drifted"]), None)
    table.add_row("drift", "none" if first is None else f"from {first.day} on: {first.monitor['summary']}")
    for night in nights:
        if night.retraining is not None:
            challenge = stage.api.xcom(TRAINING, night.retraining.run_id, "challenge")
            table.add_row(f"retraining of {night.day}", challenge["summary"])
    table.add_row("champion", _champion(stage))
    stage.console.print(Panel(table, title="what the month has left", border_style="green"))
    pages = {
        "Airflow": f"{stage.layout.airflow_url}  (user admin, password in {stage.layout.passwords})",
        "history": stage.layout.page(nights[-1].monitor["history"]),
        "drift report": stage.layout.page(nights[-1].monitor["report"]),
        "quarantine": stage.layout.page(worst.gate["data_docs"]),
    }
    for name, address in pages.items():  # unwrapped, so that a terminal can follow them
        stage.console.print(f"[bold]{name:<13}[/] {address}", soft_wrap=True)


def _champion(stage: Stage) -> str:
    from mlflow.tracking import MlflowClient

    version = MlflowClient(stage.layout.mlflow_url).get_model_version_by_alias("lending", "champion")
    return f"version {version.version} of {version.name}, {version.source}"
