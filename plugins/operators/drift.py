"""Drift: the baseline of what a version was trained on, and the look at a batch that may ask for a new training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

from millrace.sagemaker.deployment import Deployment
from millrace.verdict import Verdict
from operators.processing import ProcessingOperator, split_uri

if TYPE_CHECKING:
    from airflow.sdk import Context


class DriftBaselineOperator(ProcessingOperator):
    """Write statistics.json and constraints.json of a dataset, and tie them to a model version.

    Args:
        data: S3 URI of the Parquet or CSV files.
        model, version: the registered version that was trained on them; DriftMonitorOperator finds the baseline there.
        exclude: columns to leave out, such as the label.

    Example::

        baseline = DriftBaselineOperator(
            task_id="baseline", data=prepare.output["train"], model="digits", version=register.output["version"],
            exclude=("label",), instance_type="ml.m5.large",
        )
    """

    template_fields: Sequence[str] = (*ProcessingOperator.template_fields, "data", "model", "version")
    ui_color = "#fde7e3"

    def __init__(self, *, data: Any, model: str, version: Any, exclude: Sequence[str] = (), **kwargs: Any) -> None:
        self.data = data  # a template field of its own, so that a mapped task comes after what makes it
        self.model = model
        self.version = version
        super().__init__(
            module="millrace.monitoring",
            packages=("millrace.monitoring",),
            arguments=["baseline", "--data", "input/data", "--output", "output/baseline", *_excluded(exclude)],
            inputs={"data": data},
            required_inputs=("data",),
            outputs=("baseline",),
            **kwargs,
        )

    def prepare(self, deployment: Deployment) -> None:
        from millrace.registry.models import Registry

        Registry().version(self.model, str(self.version))  # before the job is paid for: its baseline must have a place
        super().prepare(deployment)

    def harvest(self, description: dict[str, Any], context: Context) -> dict[str, Any]:
        from millrace.registry.models import BASELINE_TAG, Registry

        result = super().harvest(description, context)
        Registry().tag(self.model, str(self.version), BASELINE_TAG, result["outputs"]["baseline"])
        return result


class DriftMonitorOperator(ProcessingOperator):
    """Hold a batch against the champion's baseline; on drift, and only then, emit an event of `asset`.

    `.output["report"]` holds statistics.json, constraints.json and constraint_violations.json in Model Monitor's
    format, report.html and verdict.json. The task succeeds either way: finding drift is its work.

    Args:
        data: S3 URI of the batch.
        model: the registered model whose champion's baseline is used.
        asset: the asset that means "there was drift"; schedule what should answer it on this asset.
        alias: the asset alias through which the event is emitted. A plain outlet would fire on every success.
        exclude: columns to leave out.

    Example::

        monitor = DriftMonitorOperator(
            task_id="monitor", data=batch.output["batch"], model="digits", asset=DRIFT, alias="digits-drift-found",
            instance_type="ml.m5.large",
        )
    """

    template_fields: Sequence[str] = (*ProcessingOperator.template_fields, "data", "model")
    ui_color = "#fde7e3"

    def __init__(
        self,
        *,
        data: Any,
        model: str,
        asset: Asset,
        alias: str,
        exclude: Sequence[str] = (),
        outlets: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        self.data = data  # a template field of its own, so that a mapped task comes after what makes it
        self.model = model
        self.asset = asset
        self.alias = AssetAlias(alias)
        super().__init__(
            module="millrace.monitoring",
            packages=("millrace.monitoring",),
            arguments=["drift", "--data", "input/data", "--baseline", "input/baseline", "--output", "output/report",
                       *_excluded(exclude)],
            inputs={"data": data},
            required_inputs=("data",),
            outputs=("report",),
            verdict="report",
            outlets=[self.alias, *outlets],
            **kwargs,
        )  # fmt: skip

    def prepare(self, deployment: Deployment) -> None:
        from millrace.registry.models import Registry, RegistryError

        champion = Registry().champion(self.model)
        if champion.baseline is None:
            raise RegistryError(
                f"version {champion.version} of {self.model!r} has no drift baseline; run its training DAG to the end first"
            )
        self.inputs = {**self.inputs, "baseline": champion.baseline}
        super().prepare(deployment)

    def judge(self, verdict: Verdict, uri: str, context: Context) -> dict[str, Any]:
        bucket, prefix = split_uri(uri)
        page = f"s3://{bucket}/{prefix}/{verdict.artifacts.get('report', 'report.html')}"
        self.publish(context, drift_report=page)
        drifted = not verdict.passed
        if drifted:
            extra = {"summary": verdict.summary, "report": page, "model": self.model}
            context["outlet_events"][self.alias].add(self.asset, extra=extra)
            self.log.info("drift: an event of %s is emitted", self.asset.name)
        return {"drifted": drifted, "report": page}


def _excluded(columns: Sequence[str]) -> list[str]:
    return [argument for column in columns for argument in ("--exclude", column)]
