"""The demonstration: the three pipelines from end to end, triggered through Airflow's REST API, and what came out.

It does what a user would do by hand: trigger, look, approve, trigger again. Nothing is read but what the pipelines left.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from .airflow_api import AirflowApi
from .environment import client
from .follow import Followed, Follower, RunFailed, explain_failure
from .layout import Layout

TRAINING, SCORING, MONITORING = "digits_training", "digits_scoring", "digits_monitoring"
PARSE_SECONDS, EVENT_SECONDS = 120, 90


class DemoFailed(RuntimeError):
    """The demonstration cannot go on; the message says why."""


@dataclass
class Demo:
    """One demonstration on a stack that is up."""

    layout: Layout
    console: Console
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.api = AirflowApi(self.layout)

    def run(self) -> None:
        """Run it and print the summary.

        Raises:
            DemoFailed: a DAG does not parse, or the drift started no training.
            RunFailed: a run failed; its task, log and job log were printed.
        """
        follower = Follower(self.api, self.console, self._approve)
        self._await_dags()
        try:
            training = self._follow(follower, "training", Followed(TRAINING, self.api.trigger(TRAINING)))[0]
            scoring, clean, drifted = self._follow(
                follower,
                "scoring and monitoring",
                Followed(SCORING, self.api.trigger(SCORING)),
                Followed(MONITORING, self.api.trigger(MONITORING, {"batch": "clean"}), "(clean)"),
                Followed(MONITORING, self.api.trigger(MONITORING, {"batch": "drifted"}), "(drifted)"),
            )
            started = self._started_by(drifted)
            retraining = self._follow(follower, "training after drift", Followed(TRAINING, started, "(drift)"))[0]
        except RunFailed as failure:
            explain_failure(self.api, failure, self.console, self.job_log)
            raise
        Summary(self, training, scoring, clean, drifted, retraining).show()

    def _await_dags(self) -> None:
        deadline = time.monotonic() + PARSE_SECONDS
        waiting = {TRAINING, SCORING, MONITORING}
        while waiting:
            waiting = {dag_id for dag_id in waiting if not self.api.has_dag(dag_id)}
            errors = self.api.import_errors()
            if errors:
                raise DemoFailed("a DAG does not parse:\n" + "\n".join(errors))
            if waiting and time.monotonic() > deadline:
                raise DemoFailed(
                    f"Airflow has not found {', '.join(sorted(waiting))}; see `millrace logs dag-processor`"
                )
            time.sleep(0.3 if waiting else 0)
        for dag_id in (TRAINING, SCORING, MONITORING):
            self.api.unpause(dag_id)

    def _follow(self, follower: Follower, what: str, *runs: Followed) -> tuple[Followed, ...]:
        started = time.monotonic()
        self.console.print(f"[bold]{what}")
        follower.follow(runs)
        self.seconds[what] = time.monotonic() - started
        return runs

    def _approve(self, run: Followed, task_id: str) -> None:
        question = self.api.approval(run.dag_id, run.run_id, task_id)
        self.console.print(f"{question['subject']} Approved through the API, as the web UI would.", highlight=False)
        self.api.answer(run.dag_id, run.run_id, task_id, "Approve")

    def _started_by(self, monitoring: Followed) -> str:
        """The training run that this monitoring run's drift event started."""
        deadline = time.monotonic() + EVENT_SECONDS
        while time.monotonic() < deadline:
            for run in self.api.runs(TRAINING, "asset_triggered"):
                path = f"/dags/{TRAINING}/dagRuns/{run['dag_run_id']}/upstreamAssetEvents"
                for event in self.api.call("GET", path.replace("+", "%2B"))["asset_events"]:
                    if event["source_run_id"] == monitoring.run_id:
                        return str(run["dag_run_id"])
            time.sleep(0.5)
        raise DemoFailed(
            f"the drift found by {monitoring.run_id} started no run of {TRAINING} within {EVENT_SECONDS} s"
        )

    def job_log(self, link: str) -> list[str]:
        kind, _, name = link.rpartition("/console/")[2].partition("-jobs/")
        group = f"/aws/sagemaker/{kind.capitalize()}Jobs"
        logs = client("logs", self.layout)
        lines: list[str] = []
        for stream in logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]:
            page = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])
            lines += [event["message"] for event in page["events"]]
        return lines


@dataclass
class Summary:
    """What the demonstration prints at its end, read from what the runs left."""

    demo: Demo
    training: Followed
    scoring: Followed
    clean: Followed
    drifted: Followed
    retraining: Followed

    def show(self) -> None:
        console, layout = self.demo.console, self.demo.layout
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for run, title in ((self.training, "training"), (self.retraining, "training after drift")):
            metrics = self._result(run, "evaluate")["metrics"]
            deployed = self._result(run, "deploy")
            table.add_row(
                title,
                f"accuracy {metrics['accuracy']:.4f} on {metrics['rows']:.0f} held-back digits; version "
                f"{deployed['version']} of {deployed['model']}; {self._result(run, 'metrics_gate')['summary']}",
            )
        table.add_row("champion", self._champion())
        table.add_row("endpoint", self._answers())
        scored = self._result(self.scoring, "predictions_gate")["metrics"]["rows"]
        table.add_row("rows scored", f"{scored:.0f}, each joined to its input")
        for run, title in ((self.clean, "clean batch"), (self.drifted, "drifted batch")):
            verdict = self._result(run, "monitor")
            table.add_row(title, ("drifted: " if verdict["drifted"] else "no drift: ") + verdict["summary"])
        console.print(Panel(table, title="what came out", border_style="green"))
        pages = {
            "Airflow": f"{layout.airflow_url}  (user admin, password in {layout.passwords})",
            "MLflow": layout.mlflow_url,
            "jobs": f"{layout.runtime_url}/console",
            "Data Docs": layout.page(self._result(self.retraining, "data_gate")["data_docs"]),
            "drift report": layout.page(self._result(self.drifted, "monitor")["report"]),
        }
        for name, address in pages.items():  # unwrapped, so that a terminal can follow them
            console.print(f"[bold]{name:<13}[/] {address}", soft_wrap=True)

    def _result(self, run: Followed, task_id: str) -> Any:
        return self.demo.api.xcom(run.dag_id, run.run_id, task_id)

    def _champion(self) -> str:
        from mlflow.tracking import MlflowClient

        version = MlflowClient(self.demo.layout.mlflow_url).get_model_version_by_alias("digits", "champion")
        return (
            f"version {version.version}, aliases {', '.join(sorted(version.aliases)) or 'champion'}, {version.source}"
        )

    def _answers(self) -> str:
        """The endpoint's answers for five real images beside their labels."""
        import pandas as pd

        prefix = str(self._result(self.retraining, "prepare")["outputs"]["test"]).removeprefix("s3://")
        bucket, _, key = prefix.partition("/")
        body = client("s3", self.demo.layout).get_object(Bucket=bucket, Key=f"{key}/test.parquet")["Body"].read()
        five = pd.read_parquet(io.BytesIO(body)).head(5)
        labels = [int(label) for label in five.pop("label")]
        name = str(self._result(self.retraining, "deploy")["endpoint"])
        answer = client("sagemaker-runtime", self.demo.layout).invoke_endpoint(
            EndpointName=name, ContentType="text/csv", Accept="text/csv", Body=five.to_csv(index=False, header=False)
        )
        rows = answer["Body"].read().decode().splitlines()
        said = "  ".join(
            f"{row.split(',')[0]} ({float(row.split(',')[1]):.0%}) is {label}"
            for row, label in zip(rows, labels, strict=True)
        )
        return f"{name} says: {said}"
