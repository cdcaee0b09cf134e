"""AttributionDriftOperator: do the same features matter to the model as before?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from millrace.sagemaker.deployment import Deployment
from millrace.verdict import Verdict
from operators.links import DriftReportLink, JobLink, object_page
from operators.processing import ProcessingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

LEAST_NDCG = 0.9
"""Clarify's."""


class AttributionDriftOperator(ProcessingOperator):
    """Compare how much each feature matters to a model now with how much it did before, as Clarify does (NDCG).

    Both sides hold attributions, one column a feature, or with `predict` the features themselves: then Shapley values of
    samples of both are made in the job. They have drifted when the whole confidence interval of the NDCG lies below
    `least_ndcg`. `.output["report"]` holds analysis.json, constraint_violations.json in Model Monitor's form, report.html
    and verdict.json. The task succeeds either way: its result says `drifted`.

    Args:
        data: S3 URI of the window.
        baseline: S3 URI of what it is compared with; of attributions, an earlier report will do.
        predict: `module:function`, from a matrix of rows to one score each; its package must be one of `packages`.
        model: the registered model whose champion's archive `predict` finds under `input/model`; none by default.
        explain: with `predict`, how many rows of each side are explained.
        exclude: columns to leave out, such as the label.

    Example::

        attribution = AttributionDriftOperator(
            task_id="attribution", data=score.output["attributions"], baseline="s3://bucket/digits/attributions",
            instance_type="ml.m5.large",
        )
    """

    template_fields: Sequence[str] = (*ProcessingOperator.template_fields, "data", "baseline", "model")
    operator_extra_links = (JobLink(), DriftReportLink())
    ui_color = "#fde7e3"

    def __init__(
        self,
        *,
        data: Any,
        baseline: Any,
        predict: str | None = None,
        model: str | None = None,
        explain: int = 500,
        least_ndcg: float = LEAST_NDCG,
        exclude: Sequence[str] = (),
        packages: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        if not 0 < least_ndcg <= 1:
            raise ValueError(f"least_ndcg is {least_ndcg}; it must be above 0 and at most 1")
        if predict is None and model is not None:
            raise ValueError(f"model is {model!r} without predict; only predict asks a model")
        self.data = data  # template fields of their own, so that a mapped task comes after what makes them
        self.baseline = baseline
        self.model = model
        arguments = ["attribution-drift", "--data", "input/data", "--baseline", "input/baseline",
                     "--output", "output/report", "--least-ndcg", str(least_ndcg)]  # fmt: skip
        if predict is not None:
            arguments += ["--predict", predict, "--explain", str(explain)]
        for column in exclude:
            arguments += ["--exclude", column]
        super().__init__(
            module="millrace.monitoring",
            packages=(*packages, "millrace.monitoring"),
            arguments=arguments,
            inputs={"data": data, "baseline": baseline},
            required_inputs=("data", "baseline"),
            outputs=("report",),
            verdict="report",
            **kwargs,
        )

    def prepare(self, deployment: Deployment) -> None:
        if self.model is not None:
            from millrace.registry.models import Registry

            self.inputs = {**self.inputs, "model": Registry().champion(self.model).source}
        super().prepare(deployment)

    def judge(self, verdict: Verdict, uri: str, context: Context) -> dict[str, Any]:
        report = f"{uri}/{verdict.artifacts['report']}"
        self.publish(context, **{DriftReportLink.xcom_key_name: object_page(self._s3, report)})
        for finding in verdict.findings:
            self.log.warning("%s: %s", finding.subject, finding.message)
        return {"drifted": not verdict.passed, "report": report}
