"""Gates that need no suite: data against what the champion was trained on, and one group of people against the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk.exceptions import AirflowFailException

from millrace.sagemaker.deployment import Deployment
from millrace.verdict import Verdict
from operators.processing import ProcessingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

CHECKS = ("schema", "skew")


class BaselineGateOperator(ProcessingOperator):
    """Fail unless data looks as what the champion was trained on: its columns and types, or its categories and ranges too.

    It needs the baseline that DriftBaselineOperator has left with the champion. `.output["quality"]` holds verdict.json,
    and with `skew` the page of the suite that the baseline proposes.

    Args:
        check: `schema` (new, missing and retyped columns) or `skew` (training-serving skew: unseen categories, values out of
            range, missing values).
        data: S3 URI of the files to look at.
        model: the registered model.
        tolerance: with `skew`, the share of rows that may be unlike the baseline.

    Example::

        schema = BaselineGateOperator(
            task_id="schema", check="schema", data=batch.output["batch"], model="digits", instance_type="ml.m5.large"
        )
    """

    template_fields: Sequence[str] = (*ProcessingOperator.template_fields, "data", "model")
    ui_color = "#fff4d6"

    def __init__(
        self,
        *,
        check: Literal["schema", "skew"],
        data: Any,
        model: str,
        tolerance: float = 0.01,
        **kwargs: Any,
    ) -> None:
        if check not in CHECKS:
            raise ValueError(f"check is {check!r}; it must be one of {', '.join(CHECKS)}")
        self.data = data  # a template field of its own, so that a mapped gate comes after what makes it
        self.model = model
        arguments = [check, "--data", "input/data", "--baseline", "input/baseline", "--output", "output/quality"]
        if check == "skew":
            arguments += ["--tolerance", str(tolerance)]
        super().__init__(
            module="millrace.quality",
            packages=("millrace.quality",),
            arguments=arguments,
            inputs={"data": data},
            required_inputs=("data",),
            outputs=("quality",),
            verdict="quality",
            **kwargs,
        )

    def prepare(self, deployment: Deployment) -> None:
        from millrace.registry.models import Registry, RegistryError

        champion = Registry().champion(self.model)
        if champion.baseline is None:
            raise RegistryError(
                f"version {champion.version} of {self.model!r} has no baseline; run its training DAG to the end first"
            )
        self.inputs = {**self.inputs, "baseline": champion.baseline}
        super().prepare(deployment)

    def judge(self, verdict: Verdict, uri: str, context: Context) -> dict[str, Any]:
        refuse_unless_passed(verdict, uri)
        return {}


class FairnessGateOperator(ProcessingOperator):
    """Fail when labels or predictions treat one group surely worse than is tolerated, by the metrics that Clarify publishes.

    A metric outside of its range counts only when its whole confidence interval is; otherwise it is a finding to watch.
    `.output["report"]` holds analysis.json in Clarify's form, report.html and verdict.json.

    Args:
        data: S3 URI of rows with the columns below.
        facet: the column of the group, and the values of those who may be disfavoured.
        label: the column of the outcome, and its favourable values.
        prediction: the column of predicted outcomes; without one the labels alone are looked at.
        ranges: metric to the range that it is held to, such as `{"DPPL": (-0.1, 0.1)}`; by default the four-fifths rule.

    Example::

        fairness = FairnessGateOperator(
            task_id="fairness", data=evaluate.output["scored"], facet=("region", ("islands",)), label=("repaid", ("1",)),
            prediction="granted", instance_type="ml.m5.large",
        )
    """

    template_fields: Sequence[str] = (*ProcessingOperator.template_fields, "data")
    ui_color = "#fff4d6"

    def __init__(
        self,
        *,
        data: Any,
        facet: tuple[str, Sequence[str]],
        label: tuple[str, Sequence[str]],
        prediction: str | None = None,
        ranges: Mapping[str, tuple[float, float]] | None = None,
        **kwargs: Any,
    ) -> None:
        self.data = data  # a template field of its own, so that a mapped gate comes after what makes it
        arguments = ["bias", "--data", "input/data", "--output", "output/report"]
        for name, (column, values) in (("facet", facet), ("label", label)):
            if not values:
                raise ValueError(f"{name} is {(column, values)!r}; name at least one value of the column {column!r}")
            arguments += [f"--{name}-column", column]
            for value in values:
                arguments += [f"--{name}-value", value]
        if prediction is not None:
            arguments += ["--prediction-column", prediction]
        for metric, (low, high) in (ranges or {}).items():
            arguments += ["--range", f"{metric}={low}:{high}"]
        super().__init__(
            module="millrace.monitoring",
            packages=("millrace.monitoring",),
            arguments=arguments,
            inputs={"data": data},
            required_inputs=("data",),
            outputs=("report",),
            verdict="report",
            **kwargs,
        )

    def judge(self, verdict: Verdict, uri: str, context: Context) -> dict[str, Any]:
        refuse_unless_passed(verdict, uri)
        return {}


def refuse_unless_passed(verdict: Verdict, report: str) -> None:
    """
    Raises:
        AirflowFailException: the gate did not pass; the same data would fail again, so the task is not retried.
    """
    if not verdict.passed:
        findings = "\n".join(f"- {finding.subject}: {finding.message}" for finding in verdict.findings[:20])
        raise AirflowFailException(
            f"the gate {verdict.gate!r} did not pass: {verdict.summary}\n{findings}\nThe report: {report}"
        )
