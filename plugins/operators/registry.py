"""From a trained archive to a version that may serve: the gate on metrics, the registration, the approval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseOperator, RetryPolicy
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from millrace.sagemaker.preflight import PreflightError, is_template
from operators.failures import RETRY_POLICY

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
        self,
        *,
        model: str,
        metrics: Any,
        least: Mapping[str, float],
        compared: str,
        tolerance: float,
        retry_policy: RetryPolicy | None = RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
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

        candidate = measured(self.metrics)
        champion = Registry().by_alias(self.model, CHAMPION)
        verdict = judge(
            candidate,
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

    def __init__(
        self,
        *,
        model: str,
        artifact: Any,
        metrics: Any,
        run_id: Any = None,
        retry_policy: RetryPolicy | None = RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        if isinstance(artifact, str) and not is_template(artifact):
            check_artifact(artifact)
        self.model = model
        self.artifact = artifact
        self.metrics = metrics
        self.run_id = run_id

    def execute(self, context: Context) -> dict[str, Any]:
        from millrace.registry.models import Registry

        check_artifact(self.artifact)
        metrics = measured(self.metrics)
        ti = context["ti"]
        version = Registry().register(
            self.model,
            source=self.artifact,
            run_id=self.run_id,
            metrics=metrics,
            tags={"airflow.dag": ti.dag_id, "airflow.run": ti.run_id},
        )
        self.log.info("registered version %s of %s, alias candidate", version.version, self.model)
        context["ti"].xcom_push(key="version", value=version.version)
        return {"model": self.model, "version": version.version, "source": version.source}


class PromoteModelOperator(BaseOperator):
    """Make a version the champion of a model that is served by batch transform; a refused one skips what follows.

    DeployEndpointOperator does it for a model with an endpoint.

    Args:
        model: the registered model's name.
        version: the version.
        challenge: a ChallengeOperator's result; unless it was won, nothing is promoted and the task is skipped.

    Example::

        promote = PromoteModelOperator(
            task_id="promote", model="digits", version=register.output["version"], challenge=challenge.output
        )
    """

    template_fields: Sequence[str] = ("model", "version", "challenge")
    ui_color = "#f0e6ff"

    def __init__(
        self,
        *,
        model: str,
        version: Any,
        challenge: Any,
        retry_policy: RetryPolicy | None = RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        if isinstance(challenge, str) and not is_template(challenge):
            was_won(challenge)
        self.model = model
        self.version = version
        self.challenge = challenge

    def execute(self, context: Context) -> dict[str, Any]:
        from millrace.registry.models import Registry

        won, why = was_won(self.challenge)
        registry = Registry()
        version = registry.version(self.model, str(self.version))
        if not won:
            raise AirflowSkipException(f"version {version.version} of {self.model!r} is not promoted: {why}")
        registry.promote(self.model, version.version, endpoint="batch transform")
        self.log.info("version %s of %s is the champion: %s", version.version, self.model, why)
        return {"model": self.model, "version": version.version}


def was_won(challenge: Any) -> tuple[bool, str]:
    """Whether a challenge was won, and why.

    Raises:
        PreflightError: it is no challenge's result.
    """
    if not isinstance(challenge, Mapping) or not isinstance(challenge.get("passed"), bool):
        raise PreflightError(f"challenge is {challenge!r}; it must be a ChallengeOperator's result")
    return challenge["passed"], str(challenge.get("summary", ""))


def measured(evaluation: Any) -> dict[str, float]:
    """The metrics in an evaluation's result.

    Raises:
        PreflightError: it holds none.
    """
    metrics = evaluation.get("metrics") if isinstance(evaluation, Mapping) else None
    if not isinstance(metrics, Mapping):
        raise PreflightError(
            f"metrics is {evaluation!r}; it must be an evaluation's result, with its figures under 'metrics'"
        )
    return dict(metrics)


def check_artifact(artifact: Any) -> None:
    """
    Raises:
        PreflightError: it is no URI.
    """
    if not isinstance(artifact, str) or "://" not in artifact:
        raise PreflightError(f"artifact is {artifact!r}; it must be a URI, as a training's .output['model'] is")


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
