"""The demonstration: the three pipelines from end to end, triggered through Airflow's REST API, and what came out.

It does what a user would do by hand: trigger, look, approve, trigger again. Nothing is read but what the pipelines left.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from rich.panel import Panel
from rich.table import Table

from .environment import client
from .follow import Followed
from .stage import Stage

TRAINING, SCORING, MONITORING = "digits_training", "digits_scoring", "digits_monitoring"


def play(stage: Stage) -> None:
    """Play it and print the summary.

    Raises:
        DagNotFound: one of the DAGs does not parse.
        DemoFailed: the drift started no training.
        RunFailed: a run failed; its task, log and job log were printed.
    """
    stage.await_dags(TRAINING, SCORING, MONITORING)
    api = stage.api
    [training] = stage.follow("training", Followed(TRAINING, api.trigger(TRAINING)))
    scoring, clean, drifted = stage.follow(
        "scoring and monitoring",
        Followed(SCORING, api.trigger(SCORING)),
        Followed(MONITORING, api.trigger(MONITORING, {"batch": "clean"}), "(clean)"),
        Followed(MONITORING, api.trigger(MONITORING, {"batch": "drifted"}), "(drifted)"),
    )
    started = stage.started_by(drifted, TRAINING)
    [retraining] = stage.follow("training after drift", Followed(TRAINING, started, "(drift)"))
    Summary(stage, training, scoring, clean, drifted, retraining).show()


@dataclass
class Summary:
    """What the demonstration prints at its end, read from what the runs left."""

    stage: Stage
    training: Followed
    scoring: Followed
    clean: Followed
    drifted: Followed
    retraining: Followed

    def show(self) -> None:
        console, layout = self.stage.console, self.stage.layout
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
        return self.stage.api.xcom(run.dag_id, run.run_id, task_id)

    def _champion(self) -> str:
        from mlflow.tracking import MlflowClient

        version = MlflowClient(self.stage.layout.mlflow_url).get_model_version_by_alias("digits", "champion")
        return (
            f"version {version.version}, aliases {', '.join(sorted(version.aliases)) or 'champion'}, {version.source}"
        )

    def _answers(self) -> str:
        """The endpoint's answers for five real images beside their labels."""
        import pandas as pd

        prefix = str(self._result(self.retraining, "prepare")["outputs"]["test"]).removeprefix("s3://")
        bucket, _, key = prefix.partition("/")
        body = client("s3", self.stage.layout).get_object(Bucket=bucket, Key=f"{key}/test.parquet")["Body"].read()
        five = pd.read_parquet(io.BytesIO(body)).head(5)
        labels = [int(label) for label in five.pop("label")]
        name = str(self._result(self.retraining, "deploy")["endpoint"])
        answer = client("sagemaker-runtime", self.stage.layout).invoke_endpoint(
            EndpointName=name, ContentType="text/csv", Accept="text/csv", Body=five.to_csv(index=False, header=False)
        )
        rows = answer["Body"].read().decode().splitlines()
        said = "  ".join(
            f"{row.split(',')[0]} ({float(row.split(',')[1]):.0%}) is {label}"
            for row, label in zip(rows, labels, strict=True)
        )
        return f"{name} says: {said}"
