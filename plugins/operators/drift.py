"""Drift: the baseline of what a version was trained on, and the look at a window that may ask for a new training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import Asset, AssetAlias

from millrace.retraining.history import History
from millrace.retraining.policy import RetrainingPolicy, decide
from millrace.retraining.record import Record
from millrace.sagemaker.deployment import Deployment
from millrace.verdict import Verdict
from operators.history import (
    CHAMPION_VARIABLE,
    RUN_TIME,
    champion_of,
    history_of,
    publish_page,
    window_end,
    written_by,
)
from operators.links import DriftReportLink, HistoryLink, JobLink, object_page
from operators.processing import ProcessingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

CAPTURES = (None, "input", "output", "both")
ON_FIRST_DRIFT = RetrainingPolicy()


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
    """Hold a window of data against the champion's baseline; when drift lasts, and only then, emit an event of `asset`.

    `.output["report"]` holds statistics.json, constraints.json and constraint_violations.json in Model Monitor's
    format, profile.json, report.html and verdict.json. The task succeeds either way: finding drift is its work.

    What was found and decided is added to the model's history, whose page `.output["history"]` names. The event's extra
    holds the evidence: the reports and the data of the windows that have drifted, so that what answers it can train on them.

    What an endpoint has captured is looked at with `capture`: `data` is then a prefix of captured lines, such as
    `<DestinationS3Uri>/<endpoint>/<variant>/2026/11/21/`, and cells without a name have the baseline's by position
    (with `both` the answer's come first, as in Model Monitor).

    A window of fewer than `least_rows` rows is recorded and not judged. One that comes late, after a later one was judged,
    is recorded and starts nothing. A prefix without objects fails the task, as SageMaker does.

    Args:
        data: S3 URI of the window's data.
        model: the registered model whose champion's baseline is used.
        asset: the asset that means "there was drift"; schedule what should answer it on this asset.
        alias: the asset alias through which the event is emitted. A plain outlet would fire on every success.
        exclude: columns to leave out.
        capture: look at what an endpoint was asked (`input`), has answered (`output`), or `both`.
        window: the window's end, a date or time; a template. By default the run's.
        policy: how many windows have to drift, and how long to wait after an event.
        least_rows: rows below which a window is not judged.

    Example::

        monitor = DriftMonitorOperator(
            task_id="monitor", data=batch.output["batch"], model="digits", asset=DRIFT, alias="digits-drift-found",
            instance_type="ml.m5.large",
        )
    """

    template_fields: Sequence[str] = (*ProcessingOperator.template_fields, "data", "model", "window")
    operator_extra_links = (JobLink(), DriftReportLink(), HistoryLink())
    ui_color = "#fde7e3"

    def __init__(
        self,
        *,
        data: Any,
        model: str,
        asset: Asset,
        alias: str,
        exclude: Sequence[str] = (),
        capture: Literal["input", "output", "both"] | None = None,
        window: Any = RUN_TIME,
        policy: RetrainingPolicy = ON_FIRST_DRIFT,
        least_rows: int = 30,
        outlets: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        if least_rows < 1:
            raise ValueError(f"least_rows is {least_rows}; it must be 1 or more")
        if capture not in CAPTURES:
            raise ValueError(f"capture is {capture!r}; it must be one of {', '.join(map(repr, CAPTURES))}")
        self.data = data  # a template field of its own, so that a mapped task comes after what makes it
        self.model = model
        self.asset = asset
        self.alias = AssetAlias(alias)
        self.window = window
        self.policy = policy
        super().__init__(
            module="millrace.monitoring",
            packages=("millrace.monitoring",),
            arguments=["drift", "--data", "input/data", "--baseline", "input/baseline", "--output", "output/report",
                       "--least-rows", str(least_rows), *(["--capture", capture] if capture else []),
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

        window_end(self.window)  # before the job is paid for: its result must have a time
        champion = Registry().champion(self.model)
        if champion.baseline is None:
            raise RegistryError(
                f"version {champion.version} of {self.model!r} has no drift baseline; run its training DAG to the end first"
            )
        self.inputs = {**self.inputs, "baseline": champion.baseline}
        self.environment = {**self.environment, CHAMPION_VARIABLE: champion.version}
        super().prepare(deployment)

    def judge(self, verdict: Verdict, uri: str, context: Context) -> dict[str, Any]:
        links: dict[str, str] = {
            name: f"{uri}/{path}" for name, path in verdict.artifacts.items() if name in ("report", "profile")
        }
        if "report" in links:
            page = object_page(self._s3, links["report"])
            self.publish(context, drift_report=links["report"], **{DriftReportLink.xcom_key_name: page})
        history, job_name = history_of(self.model, self._s3), str(self.job[self.kind.name_field])
        record = history.found("window", job_name)
        if record is None:  # otherwise an earlier attempt has decided: its decision stands
            record = self._record(verdict, {"data": self.data, **links}, history.records(), context)
            history.add(record, job_name)
        publish_page(self, history, context)
        self.log.info("%s: %s", record.action, record.why)
        if record.action == "retrain":
            context["outlet_events"][self.alias].add(self.asset, extra=self._evidence(record, history))
            self.log.info("an event of %s is emitted", self.asset.name)
        return {
            "drifted": not verdict.passed, "action": record.action, "why": record.why, "report": links.get("report"),
            "history": history.page_uri,
        }  # fmt: skip

    def _record(self, verdict: Verdict, links: dict[str, str], earlier: Sequence[Record], context: Context) -> Record:
        at = window_end(self.window)
        outcome = "not judged" if verdict.metrics.get("judged") == 0 else "stable" if verdict.passed else "drifted"
        champion = champion_of(self.job)
        decision = decide(outcome, at, champion, earlier, self.policy)
        return Record(
            kind="window", at=at, subject=str(self.window), outcome=outcome, summary=verdict.summary,
            action=decision.action, why=decision.why, champion=champion, facts=verdict.metrics, links=links,
            by=written_by(context, self.job[self.kind.name_field]),
        )  # fmt: skip

    def _evidence(self, record: Record, history: History) -> dict[str, Any]:
        """The event's extra: what has drifted, why that is enough, and where to look."""
        earlier = [one for one in history.records() if one.at < record.at]
        decision = decide(record.outcome, record.at, record.champion, earlier, self.policy)
        windows = [*decision.evidence, record]
        return {
            "model": self.model, "summary": record.summary, "why": record.why, "champion": record.champion,
            "windows": [one.subject for one in windows],
            "data": [one.links["data"] for one in windows if "data" in one.links],
            "report": record.links.get("report"), "history": history.page_uri,
        }  # fmt: skip


def _excluded(columns: Sequence[str]) -> list[str]:
    return [argument for column in columns for argument in ("--exclude", column)]
