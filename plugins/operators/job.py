"""The base of all job operators: what a job operator is told, and how Airflow calls it.

A subclass says what it asks for (`build`) and what it hands on (`harvest`). How an attempt runs, with everything that
could pay twice or orphan a job, is attempt.py; it is imported when a task runs and not when a DAG is parsed.

What it does not do: it reads no data, and it knows neither AWS nor the local runtime, only a connection.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import BaseOperator, BaseOperatorLink, RetryPolicy
from airflow.sdk.exceptions import TaskDeferralTimeout

from millrace.sagemaker import preflight
from millrace.sagemaker.deployment import Deployment
from millrace.sagemaker.kinds import JobKind
from operators import termination
from operators.clients import client
from operators.failures import RETRY_POLICY
from operators.links import JobLink

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from operators.attempt import JobAttempt

OnClear = Literal["rerun", "adopt"]
PARSING = "{{ known when the task runs }}"


class JobOperator(BaseOperator):
    """Runs one SageMaker job and waits for it.

    Args:
        timeout: how long the job may take from its submission, deferred or not; then it is stopped and the task fails.
        on_clear: what clearing the task does with a job that has ended: `rerun` it (cached or not), or `adopt` its result.
        cache: take over the result of an earlier job of equal content (inputs, code, image and parameters) instead of
            running one; `millrace explain-cache` says what differs.
        max_cost: US dollars that the whole DAG run may cost by estimate; a job that could pass it is not begun. Give it
            to every task of a DAG through `default_args`.
        deferrable: wait in the triggerer (the default) or in the worker.
        poll_seconds: the longest pause between two looks; the first are under a second.
        aws_conn_id: the Airflow connection that says where AWS is, and as whom.

    Raises:
        PreflightError: a literal argument is one that SageMaker would refuse (when the DAG is parsed).
    """

    kind: ClassVar[JobKind]
    template_fields: Sequence[str] = ("aws_conn_id", "region_name", "max_cost")
    operator_extra_links: Sequence[BaseOperatorLink] = (JobLink(),)
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        timeout: timedelta = timedelta(hours=24),
        on_clear: OnClear = "rerun",
        cache: bool = False,
        max_cost: Any = None,
        deferrable: bool = True,
        poll_seconds: float = 15,
        aws_conn_id: str = "aws_default",
        region_name: str | None = None,
        retry_policy: RetryPolicy | None = RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        if not isinstance(timeout, timedelta) or timeout <= timedelta(0):
            raise ValueError(f"timeout is {timeout!r}; it must be a timedelta above 0")
        if poll_seconds <= 0:
            raise ValueError(f"poll_seconds is {poll_seconds}; it must be more than 0")
        if on_clear not in ("rerun", "adopt"):
            raise ValueError(f"on_clear is {on_clear!r}; it must be 'rerun' or 'adopt'")
        self.timeout = timeout
        if isinstance(max_cost, (int, float)) and not 0 < max_cost < float("inf"):
            raise ValueError(f"max_cost is {max_cost!r}; it must be a number of US dollars above 0")
        self.on_clear: OnClear = on_clear
        self.cache = cache
        self.max_cost = max_cost
        self.deferrable = deferrable
        self.poll_seconds = poll_seconds
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self._attempt: JobAttempt | None = None

    @abstractmethod
    def build(self, deployment: Deployment, job_name: str, prefix: str) -> dict[str, Any]:
        """The Create request, without tags, from the rendered fields. `prefix` is the S3 URI this job may write under."""

    @abstractmethod
    def harvest(self, description: dict[str, Any], context: Context) -> dict[str, Any]:
        """What the finished job hands on, beside its name and ARN; pushes `.output[...]` artifacts with `publish`."""

    def prepare(self, deployment: Deployment) -> None:
        """What must be there before the request is built, such as the source archive."""

    def check_literals(self, request: dict[str, Any]) -> None:
        """Hold what is known when the DAG is parsed against SageMaker's constraints."""
        preflight.check(self.kind.operation, request)

    def conclude(self, result: dict[str, Any], context: Context) -> dict[str, Any]:
        """The task's last act, once its result is known and remembered: what follows of it for other tasks."""
        return result

    def execute(self, context: Context) -> dict[str, Any]:
        return self.conclude(self._begin(context).execute(), context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Airflow's way back from the trigger, once the job has ended."""
        return self.conclude(self._begin(context).complete(event["job_name"], event["log_tokens"]), context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Airflow's way back from any trigger. A passed deadline skips the trigger's on_kill: the job is stopped here."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            return self.conclude(self._begin(context).overdue(), context)

    def on_kill(self) -> None:
        """Airflow calls this on any SIGTERM to the worker: a user's kill, and a deploy's. The wait tells them apart."""
        termination.requested.set()

    def get_openlineage_facets_on_complete(self, _task_instance: Any) -> OperatorLineage:
        """The job's inputs, outputs and facts, for Airflow's OpenLineage provider."""
        return self._lineage()

    def get_openlineage_facets_on_failure(self, _task_instance: Any) -> OperatorLineage:
        return self._lineage()

    def publish(self, context: Context, **artifacts: str) -> None:
        """Make artifacts' URIs available as `.output[name]`."""
        for name, uri in artifacts.items():
            context["ti"].xcom_push(key=name, value=uri)

    def _begin(self, context: Context) -> JobAttempt:
        from operators.attempt import JobAttempt

        self._attempt = JobAttempt(self, context)
        return self._attempt

    def _lineage(self) -> OperatorLineage:
        from operators.lineage import lineage

        return self._attempt.lineage() if self._attempt else lineage({}, {}, {})

    @property
    def _s3(self) -> Any:
        return client("s3", self.aws_conn_id, self.region_name)

    @property
    def _sagemaker(self) -> Any:
        return client("sagemaker", self.aws_conn_id, self.region_name)


def literal(value: Any) -> Any:
    """A field as it is known when the DAG is parsed: what another task will say becomes a template."""
    if isinstance(value, dict):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [literal(item) for item in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else PARSING
