"""From a trained archive to a version that may serve: the gate on metrics, the registration, the approval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

if TYPE_CHECKING:
    from airflow.sdk import Context

NO = frozenset({"", "0", "false", "no", "none"})


class MetricGateOperator(BaseOperator):
    """Fail unless a candidate's metrics reach their floors and are not much worse than the champion's.

    Args:
        model: the registered model whose champion is compared with.
        metrics: the candidate's metrics, as an evaluation's result has them; larger is better.
        least: for each metric the least value that passes.
        compared: the metric that is compared with the champion's.
        tolerance: how much worse than the champion's it may be.

    Example::

        gate = MetricGateOperator(
            task_id="metrics_gate", model="digits", metrics=evaluate.output, least={"accuracy": 0.95},
            compared="accuracy", tolerance=0.01,
        )
    """

    template_fields: Sequence[str] = ("model", "metrics")
    ui_color = "#fff4d6"

    def __init__(
        self, *, model: str, metrics: Any, least: Mapping[str, float], compared: str, tolerance: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if tolerance < 0:
            raise ValueError(f"tolerance is {tolerance}; it must be 0 or more")
        self.model = model
        self.metrics = metrics
        self.least = dict(least)
        self.compared = compared
        self.tolerance = tolerance

    def execute(self, context: Context) -> dict[str, Any]:
        from millrace.registry.models import CHAMPION, Registry
        from millrace.registry.promotion import judge

        champion = Registry().by_alias(self.model, CHAMPION)
        verdict = judge(
            self.metrics["metrics"],
            champion.metrics if champion else None,
            least=self.least,
            tolerance=self.tolerance,
            compared=self.compared,
        )
        self.log.info(verdict.summary)
        if not verdict.passed:
            raise AirflowFailException(f"the candidate of {self.model!r} did not pass: {verdict.summary}")
        return {
            "passed": True,
            "summary": verdict.summary,
            "champion": champion.version if champion else None,
            "metrics": verdict.metrics,
        }


class RegisterModelOperator(BaseOperator):
    """Register a trained archive as a version of a model, with the alias `candidate`.

    `.output["version"]` is the version's number. A retry finds the version it made.

    Args:
        model: the registered model's name.
        artifact: URI of model.tar.gz.
        metrics: the metrics to write to the version, as an evaluation's result has them.
        run_id: the MLflow run that measured them.

    Example::

        register = RegisterModelOperator(
            task_id="register", model="digits", artifact=train.output["model"], metrics=evaluate.output,
            run_id=evaluate.output["mlflow_run_id"],
        )
    """

    template_fields: Sequence[str] = ("model", "artifact", "metrics", "run_id")
    ui_color = "#f0e6ff"

    def __init__(self, *, model: str, artifact: Any, metrics: Any, run_id: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.artifact = artifact
        self.metrics = metrics
        self.run_id = run_id

    def execute(self, context: Context) -> dict[str, Any]:
        from millrace.registry.models import Registry

        ti = context["ti"]
        version = Registry().register(
            self.model,
            source=self.artifact,
            run_id=self.run_id,
            metrics=self.metrics["metrics"],
            tags={"airflow.dag": ti.dag_id, "airflow.run": ti.run_id},
        )
        self.log.info("registered version %s of %s, alias candidate", version.version, self.model)
        context["ti"].xcom_push(key="version", value=version.version)
        return {"model": self.model, "version": version.version, "source": version.source}


class ModelApprovalOperator(ApprovalOperator):
    """Airflow's approval, asked for only when it is required.

    Approve or reject in the web UI (Required Actions) or through the REST API. Rejecting skips what follows. While it
    waits the task holds no worker and no triggerer.

    Args:
        required: a template; when it renders to false, the task succeeds at once and nobody is asked.

    Example::

        approve = ModelApprovalOperator(
            task_id="approve", subject="Deploy version {{ ti.xcom_pull('register')['version'] }}?",
            required="{{ params.approval_required }}",
        )
    """

    template_fields: Sequence[str] = (*ApprovalOperator.template_fields, "required")

    def __init__(self, *, required: Any = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.required = required

    def execute(self, context: Context) -> Any:
        if str(self.required).strip().lower() in NO:
            self.log.info("no approval is required")
            return {"chosen_options": [], "required": False}
        return super().execute(context)
