"""The base of the operators that work on an endpoint: its name, the connection, and the wait while it is changing.

While it waits it holds no worker: it defers to the shared poller of endpoints. What it does not do: it decides nothing
about an endpoint; see deploy.py, invoke.py and delete.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator, RetryPolicy
from airflow.sdk.exceptions import TaskDeferralTimeout

from millrace.sagemaker import observe
from millrace.sagemaker.deployment import Deployment
from millrace.sagemaker.kinds import ENDPOINT
from millrace.sagemaker.names import slug
from millrace.sagemaker.preflight import PreflightError, is_template
from operators import termination
from operators.clients import client
from operators.failures import RETRY_POLICY, JobStopped, StepFailed
from operators.links import EndpointLink

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

LISTEN_SECONDS = 0.2
MOST_CHARACTERS = 46
"""Of an endpoint's name, so that it fits into SageMaker's 63 behind a deployment's id of up to 16 and a hyphen."""


class EndpointOperator(BaseOperator):
    """Works on one endpoint of this deployment.

    Args:
        endpoint: the endpoint's name, behind the deployment's id.
        deferrable: wait in the triggerer (the default) or in the worker.
        poll_seconds: the longest pause between two looks; the first are under a second.
        aws_conn_id: the Airflow connection that says where AWS is, and as whom.
    """

    template_fields: Sequence[str] = ("endpoint", "aws_conn_id", "region_name")
    operator_extra_links = (EndpointLink(),)
    ui_color = "#dff3f7"

    def __init__(
        self,
        *,
        endpoint: str,
        deferrable: bool = True,
        poll_seconds: float = 15,
        aws_conn_id: str = "aws_default",
        region_name: str | None = None,
        retry_policy: RetryPolicy | None = RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        if isinstance(endpoint, str) and not is_template(endpoint):
            _check_name(endpoint)
        if poll_seconds <= 0:
            raise ValueError(f"poll_seconds is {poll_seconds}; it must be more than 0")
        self.endpoint = endpoint
        self.deferrable = deferrable
        self.poll_seconds = poll_seconds
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self._result: dict[str, Any] = {}

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Airflow's way back from the trigger, or from its deadline."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            self._overdue(self._name(Deployment.from_environment()))

    def on_kill(self) -> None:
        termination.requested.set()

    def get_openlineage_facets_on_complete(self, _task_instance: Any) -> OperatorLineage:
        from operators.lineage import lineage

        return lineage({}, {}, self._result)

    @property
    def _sagemaker(self) -> Any:
        return client("sagemaker", self.aws_conn_id, self.region_name)

    def _name(self, deployment: Deployment) -> str:
        _check_name(self.endpoint)
        return f"{deployment.id}-{slug(self.endpoint)}"

    def _describe(self, name: str) -> dict[str, Any] | None:
        return observe.describe(self._sagemaker, ENDPOINT, name)

    def _link(self, context: Context, name: str) -> None:
        context["ti"].xcom_push(key=EndpointLink.xcom_key_name, value=EndpointLink.url(self._sagemaker, name))

    def _until_settled(self, context: Context, name: str, before: Mapping[str, Any] | None, deadline: datetime) -> None:
        """Wait until the endpoint has stopped changing: in the triggerer, on the way to `execute_complete`, or here."""
        from operators import waiting
        from operators.triggers import EndpointTrigger, earliest_return

        remaining = deadline - datetime.now(UTC)
        if termination.requested.is_set():
            self._leave(context, name)
        if self.deferrable:
            trigger = EndpointTrigger(
                name, dict(before or {}), self.aws_conn_id, self.region_name, self.poll_seconds, earliest_return()
            )
            self.defer(
                trigger=trigger, method_name="execute_complete", timeout=max(remaining, timedelta(milliseconds=1))
            )
        poller = waiting.poller(ENDPOINT, name, self.aws_conn_id, self.region_name)
        watch = poller.watch(name, most_seconds=self.poll_seconds, trouble=self.log.warning)
        try:
            while not watch.ended.done():
                if termination.requested.wait(LISTEN_SECONDS):
                    self._leave(context, name)
                if datetime.now(UTC) > deadline:
                    self._overdue(name)
        finally:
            poller.forget(watch)

    def _leave(self, context: Context, name: str) -> NoReturn:
        """The worker was told to end, by a deploy or by a user; SageMaker cannot stop what an endpoint is doing."""
        state = termination.own_state(context)
        if state in termination.GOES_ON:
            raise StepFailed(f"this worker was told to end; the next attempt goes on with endpoint {name}")
        raise JobStopped(
            f"a user has ended the task (it is {state}) while endpoint {name} was changing; what is left half done the "
            "millrace_reconciler DAG finds"
        )

    def _overdue(self, name: str) -> NoReturn:
        """Say that the deadline has passed."""
        raise NotImplementedError

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on, once the endpoint has stopped changing."""
        raise NotImplementedError


def _check_name(endpoint: str) -> None:
    """An empty name, or one that is cut, could be another endpoint's: a deployment or a deletion must not meet that.

    Raises:
        PreflightError: it is empty or too long.
    """
    if not any(character.isascii() and character.isalnum() for character in endpoint):
        raise PreflightError(f"endpoint is {endpoint!r}; it must hold a letter or a digit")
    if len(slug(endpoint)) > MOST_CHARACTERS:
        raise PreflightError(f"endpoint is {endpoint!r} ({len(slug(endpoint))} characters); at most {MOST_CHARACTERS}")
