"""DeployEndpointOperator: a version behind an endpoint, believed only when it answers on the wanted configuration."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, TaskDeferralTimeout

from millrace.sagemaker import hosting, preflight
from millrace.sagemaker.deployment import Deployment
from millrace.sagemaker.hosting import EndpointState
from millrace.sagemaker.names import slug
from millrace.sagemaker.requests import EndpointConfigRequest, ModelRequest
from operators.clients import client
from operators.job import PARSING, identity_of, literal
from operators.triggers import EndpointTrigger, earliest_return

if TYPE_CHECKING:
    from airflow.sdk import Context

STATE_KEY = "millrace_endpoint"
TEXT_BYTES = 300


class DeployEndpointOperator(BaseOperator):
    """Create or update an endpoint for a model version, prove that it answers, and make the version the champion.

    Success means: the endpoint is InService on the configuration that was asked for (after an automatic rollback it is
    InService on the old one), and a smoke request was answered. When it is not, a new endpoint is deleted and an updated
    one is put back on the configuration it had.

    Args:
        model: the registered model.
        version: its version's number.
        endpoint: the endpoint's name, behind the deployment's id.
        instance_type: SageMaker's hosting instance type, for example `ml.c5.large`.
        smoke_body: a request that the model must answer.
        smoke_content_type: its content type.
        timeout: how long the endpoint may take to come up.

    Example::

        deploy = DeployEndpointOperator(
            task_id="deploy", model="digits", version=register.output["version"], endpoint="digits",
            instance_type="ml.c5.large", smoke_body=settings.smoke_body,
        )
    """

    template_fields: Sequence[str] = (
        "model", "version", "endpoint", "instance_type", "smoke_body", "aws_conn_id", "region_name", "image",
    )  # fmt: skip
    ui_color = "#dff3f7"

    def __init__(
        self,
        *,
        model: str,
        version: Any,
        endpoint: str,
        instance_type: str,
        smoke_body: str,
        smoke_content_type: str = "text/csv",
        instance_count: int = 1,
        environment: Mapping[str, str] | None = None,
        timeout: timedelta = timedelta(minutes=30),
        deferrable: bool = True,
        poll_seconds: float = 15,
        image: str | None = None,
        aws_conn_id: str = "aws_default",
        region_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.version = version
        self.endpoint = endpoint
        self.instance_type = instance_type
        self.smoke_body = smoke_body
        self.smoke_content_type = smoke_content_type
        self.instance_count = instance_count
        self.environment = dict(environment or {})
        self.timeout = timeout
        self.deferrable = deferrable
        self.poll_seconds = poll_seconds
        self.image = image
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        parsing = EndpointConfigRequest(
            name=PARSING, model_name=PARSING, instance_type=literal(instance_type), instance_count=instance_count
        )
        preflight.check("CreateEndpointConfig", parsing.to_api())

    def execute(self, context: Context) -> dict[str, Any]:
        deployment = Deployment.from_environment()
        endpoint = self._endpoint_name(deployment)
        config = self._ensure_config(deployment)
        self._wait_while_changing(endpoint)
        self._request(endpoint, config, deployment, context)
        if self.deferrable:
            trigger = EndpointTrigger(
                endpoint, self.aws_conn_id, self.region_name, self.poll_seconds, earliest_return()
            )
            self.defer(trigger=trigger, method_name="execute_complete", timeout=self.timeout)
        self._wait_while_changing(endpoint)
        return self.execute_complete(context, {"endpoint": endpoint})

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Hold what is live against what was asked for, ask it something, and only then promote the version."""
        from millrace.registry.models import Registry

        endpoint = event["endpoint"]
        state: Any = context["task_state_store"].get(STATE_KEY)
        wanted = state["config"]
        description = hosting.describe_endpoint(self._sagemaker, endpoint)
        live = hosting.endpoint_state(description, wanted)
        if live is not EndpointState.LIVE:
            self._put_back(endpoint, state, live)
            reason = (description or {}).get("FailureReason", "no reason was given")
            status = (description or {}).get("EndpointStatus", "absent")
            raise AirflowException(
                f"endpoint {endpoint} is {status} on {(description or {}).get('EndpointConfigName')}, not InService on "
                f"{wanted}: {reason}"
            )
        try:
            answer = self._smoke(endpoint)
        except Exception as error:
            self._put_back(endpoint, state, live)
            raise AirflowException(
                f"endpoint {endpoint} did not answer the smoke request, and was put back: {error}"
            ) from error
        Registry().promote(self.model, str(self.version), endpoint=endpoint)
        # From here on what is live is right. Should the task be cleared one day, it starts from what is live then.
        context["task_state_store"].delete(STATE_KEY)
        self.log.info("endpoint %s serves version %s of %s; it answered %s", endpoint, self.version, self.model, answer)
        ti = context["ti"]
        ti.xcom_push(key="endpoint", value=endpoint)
        return {
            "endpoint": endpoint,
            "config": wanted,
            "model": self.model,
            "version": str(self.version),
            "smoke": answer,
        }

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout as error:
            endpoint = self._endpoint_name(Deployment.from_environment())
            raise AirflowException(
                f"endpoint {endpoint} was still changing after {self.timeout}. SageMaker takes no stop for that: look at "
                "it in the console, and clear this task once it has settled"
            ) from error

    @property
    def _sagemaker(self) -> Any:
        return client("sagemaker", self.aws_conn_id, self.region_name)

    def _endpoint_name(self, deployment: Deployment) -> str:
        return f"{deployment.id}-{slug(self.endpoint)}"[:63].rstrip("-")

    def _ensure_config(self, deployment: Deployment) -> str:
        from millrace.registry.models import Registry

        version = Registry().version(self.model, str(self.version))
        tags = [{"Key": "millrace:deployment", "Value": deployment.id}]
        request = ModelRequest(
            name=self.model,
            role_arn=deployment.role_arn,
            image=self.image or deployment.jobs_image,
            model_data_uri=version.source,
            environment=self.environment,
        )
        model_name = hosting.ensure_model(self._sagemaker, deployment.id, request, tags)
        config = EndpointConfigRequest(
            name=self.endpoint,
            model_name=model_name,
            instance_type=self.instance_type,
            instance_count=self.instance_count,
        )
        return hosting.ensure_endpoint_config(self._sagemaker, deployment.id, config, tags)

    def _request(self, endpoint: str, config: str, deployment: Deployment, context: Context) -> None:
        """Ask for the endpoint, having written down what it served before."""
        description = hosting.describe_endpoint(self._sagemaker, endpoint)
        state = hosting.endpoint_state(description, config)
        known: Any = context["task_state_store"].get(STATE_KEY)
        # What was there before is written down once: a retry after the update has begun must not take the new
        # configuration for the previous one.
        if not known or known["config"] != config:
            previous = description["EndpointConfigName"] if description and state is EndpointState.OTHER else ""
            known = {"config": config, "previous": previous, "was_live": state is EndpointState.LIVE}
            context["task_state_store"].set(STATE_KEY, known)
        if state is EndpointState.FAILED:
            self.log.info("endpoint %s has failed; SageMaker allows only its deletion, so it is made anew", endpoint)
            self._delete(endpoint)
            state = EndpointState.ABSENT
        if state is EndpointState.ABSENT:
            identity = identity_of(context, deployment)
            tags = identity.tags(0, "", str(self.version))
            preflight.check("CreateEndpoint", {"EndpointName": endpoint, "EndpointConfigName": config})
            self.log.info("creating endpoint %s on %s", endpoint, config)
            self._sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=config, Tags=tags)
        elif state is EndpointState.OTHER:
            self.log.info("updating endpoint %s from %s to %s", endpoint, known["previous"], config)
            self._sagemaker.update_endpoint(
                EndpointName=endpoint, EndpointConfigName=config, RetainAllVariantProperties=False
            )
        else:
            self.log.info("endpoint %s is on %s already", endpoint, config)

    def _smoke(self, endpoint: str) -> str:
        runtime = client("sagemaker-runtime", self.aws_conn_id, self.region_name)
        answer = runtime.invoke_endpoint(
            EndpointName=endpoint, ContentType=self.smoke_content_type, Accept=self.smoke_content_type,
            Body=self.smoke_body.encode(),
        )  # fmt: skip
        text = str(answer["Body"].read(TEXT_BYTES).decode(errors="replace").strip())
        if not text:
            raise AirflowException("the answer was empty")
        return text

    def _put_back(self, endpoint: str, before: dict[str, Any], live: EndpointState) -> None:
        """Leave no half-made endpoint serving: the configuration before, or nothing where nothing was."""
        previous = before["previous"]
        # What served this very configuration before this task began is not ours to take away.
        if before["was_live"] or live is EndpointState.ABSENT or (live is EndpointState.OTHER and previous):
            return
        if not previous:
            self.log.warning("deleting endpoint %s: it was new, and does not serve", endpoint)
            self._delete(endpoint)
            return
        self.log.warning("putting endpoint %s back on %s", endpoint, previous)
        self._sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=previous)
        self._wait_while_changing(endpoint)

    def _delete(self, endpoint: str) -> None:
        self._sagemaker.delete_endpoint(EndpointName=endpoint)
        self._wait_while_changing(endpoint)

    def _wait_while_changing(self, endpoint: str) -> None:
        deadline = time.monotonic() + self.timeout.total_seconds()
        pause = 0.2
        while True:
            description = hosting.describe_endpoint(self._sagemaker, endpoint)
            if hosting.endpoint_state(description, "") is not EndpointState.CHANGING:
                return
            if time.monotonic() > deadline:
                raise AirflowException(f"endpoint {endpoint} is still {(description or {}).get('EndpointStatus')}")
            time.sleep(pause)
            pause = min(pause * 1.3, self.poll_seconds)
