"""ModelQualityOperator: what a model has predicted against the ground truth that has come since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk.exceptions import AirflowSkipException

from millrace.retraining.record import Record
from millrace.sagemaker.deployment import Deployment
from millrace.verdict import Verdict
from operators.history import CHAMPION_VARIABLE, RUN_TIME, champion_of, history_of, publish_page, window_end, written_by
from operators.links import HistoryLink, JobLink
from operators.processing import ProcessingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ModelQualityOperator(ProcessingOperator):
    """Join predictions with the labels that have come, measure the model with confidence intervals, and record it.

    `.output["report"]` holds statistics.json and constraint_violations.json in Model Monitor's form, coverage.json (how
    many predictions have a label, and how late it came), report.html and verdict.json. With too few labels nothing is
    measured; where there are probabilities an estimate is written instead, and named one. The task succeeds either way.

    Args:
        predictions: S3 URI of predictions: batch transform's output, or CSV or Parquet. While it renders to
            nothing, the task is skipped.
        ground_truth: S3 URI of labels; may render to nothing while none has come.
        model: the registered model.
        version: its version that has made the predictions, as a BatchTransformOperator's result says.
        id_column, label_column: the columns that join both, and that hold the truth.
        probability_column: the predicted probability of the positive label.
        positive_label: how the truth writes it.
        columns: column names of predictions that have no header line, such as batch transform's.
        metric: what the history shows.
        window: the time that the predictions are of; by default the run's.

    Example::

        quality = ModelQualityOperator(
            task_id="quality", model="digits", version=score.output["version"], predictions=score.output["predictions"],
            ground_truth="s3://bucket/labels", id_column="id", label_column="label", probability_column="probability",
            instance_type="ml.m5.large",
        )
    """

    template_fields: Sequence[str] = (
        *ProcessingOperator.template_fields, "predictions", "ground_truth", "model", "version", "window",
    )  # fmt: skip
    operator_extra_links = (JobLink(), HistoryLink())
    ui_color = "#fde7e3"

    def __init__(
        self,
        *,
        model: str,
        version: Any,
        predictions: Any,
        ground_truth: Any,
        id_column: str,
        label_column: str,
        probability_column: str,
        positive_label: str = "True",
        columns: Sequence[str] = (),
        metric: Literal["auc", "accuracy", "f1", "precision", "recall"] = "auc",
        window: Any = RUN_TIME,
        **kwargs: Any,
    ) -> None:
        self.predictions = (
            predictions  # template fields of their own, so that a mapped task comes after what makes them
        )
        self.ground_truth = ground_truth
        self.model = model
        self.version = version
        self.metric = metric
        self.window = window
        arguments = ["model-quality", "--output", "output/report", "--id-column", id_column, "--label-column", label_column,
                     "--probability-column", probability_column, "--probability-threshold", "0.5",
                     "--positive-label", positive_label]  # fmt: skip
        if columns:
            arguments += ["--columns", ",".join(columns)]
        if ground_truth:
            arguments += ["--ground-truth", "input/ground_truth"]
        super().__init__(
            module="millrace.monitoring",
            packages=("millrace.monitoring",),
            arguments=arguments,
            inputs={"predictions": predictions, "ground_truth": ground_truth},
            outputs=("report",),
            verdict="report",
            **kwargs,
        )

    def prepare(self, deployment: Deployment) -> None:
        if not self.predictions:
            raise AirflowSkipException("there are no predictions yet to be measured")
        window_end(self.window)  # before the job is paid for: its result must have a time
        self.environment = {**self.environment, CHAMPION_VARIABLE: str(self.version)}
        super().prepare(deployment)

    def judge(self, verdict: Verdict, uri: str, context: Context) -> dict[str, Any]:
        history, job_name = history_of(self.model, self._s3), str(self.job[self.kind.name_field])
        names = {"value": self.metric, "low": f"{self.metric}_low", "high": f"{self.metric}_high"}
        if self.metric not in verdict.metrics:
            names = {"value": f"estimated_{self.metric}"}
        facts = {fact: verdict.metrics[name] for fact, name in names.items() if name in verdict.metrics}
        measured = self.metric in verdict.metrics
        record = Record(
            kind="quality", at=window_end(self.window), subject=str(self.window),
            outcome="measured" if measured else "estimated" if facts else "not judged", summary=verdict.summary,
            champion=champion_of(self.job), facts={**verdict.metrics, **facts},
            links={name: f"{uri}/{path}" for name, path in verdict.artifacts.items()}, by=written_by(context, job_name),
        )  # fmt: skip
        history.add(record, job_name)
        publish_page(self, history, context)
        return {"history": history.page_uri}
