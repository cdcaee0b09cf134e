"""DeployEndpointOperator: a version behind an endpoint, believed only when it answers on the wanted configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from millrace.sagemaker import hosting, observe, preflight
from millrace.sagemaker.decision import Attempt, attempt_of
from millrace.sagemaker.deployment import Deployment
from millrace.sagemaker.hosting import DEPLOYED_TAG, WANTED_TAG, Before, EndpointState
from millrace.sagemaker.requests import EndpointConfigRequest, ModelRequest
from operators import termination
from operators.clients import client
from operators.endpoint import EndpointOperator
from operators.failures import StepFailed, StepTimeout, typed_failures
from operators.invoke import ask
from operators.job import PARSING, literal
from operators.task_state import identity_of, max_tries, recall, remember, run_started

if TYPE_CHECKING:
    from airflow.sdk import Context

STATE_KEY = "millrace_endpoint"


class DeployEndpointOperator(EndpointOperator):
    """Create or update an endpoint for a model version, prove that it answers, and make the version the champion.

    Success means: the endpoint is InService on the configuration that was asked for (after an automatic rollback it is
    InService on the old one), and a smoke request was answered. When it is not, a new endpoint is deleted and an updated
    one is put back on the configuration it had. A user's mark or clear puts it back as well, once SageMaker lets it.

    Args:
        model: the registered model.
        version: its version's number.
        endpoint: the endpoint's name, behind the deployment's id.
        instance_type: SageMaker's hosting instance type, for example `ml.c5.large`.
        smoke_body: a request that the model must answer.
        smoke_content_type: its content type.
        timeout: how long the endpoint may take to come up, deferred or not.

    Example::

        deploy = DeployEndpointOperator(
            task_id="deploy", model="digits", version=register.output["version"], endpoint="digits",
            instance_type="ml.c5.large", smoke_body=settings.smoke_body,
        )
    """

    template_fields: Sequence[str] = (
        *EndpointOperator.template_fields, "model", "version", "instance_type", "smoke_body", "environment", "image",
    )  # fmt: skip

    def __init__(
        self,
        *,
        model: str,
        version: Any,
        instance_type: str,
        smoke_body: str,
        smoke_content_type: str = "text/csv",
        instance_count: int = 1,
        environment: Mapping[str, str] | None = None,
        timeout: timedelta = timedelta(minutes=30),
        image: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.version = version
        self.instance_type = instance_type
        self.smoke_body = smoke_body
        self.smoke_content_type = smoke_content_type
        self.instance_count = instance_count
        self.environment = dict(environment or {})
        if not isinstance(timeout, timedelta) or timeout <= timedelta(0):
            raise ValueError(f"timeout is {timeout!r}; it must be a timedelta above 0")
        self.timeout = timeout
        self.image = image
        self._answer = ""
        parsing = EndpointConfigRequest(
            name=PARSING, model_name=PARSING, instance_type=literal(instance_type), instance_count=instance_count
        )
        preflight.check("CreateEndpointConfig", parsing.to_api())

    def execute(self, context: Context) -> dict[str, Any]:
        deployment = Deployment.from_environment()
        termination.listen()
        with typed_failures(f"deploying version {self.version} of {self.model}"):
            name, config = self._name(deployment), self._ensure_config(deployment)
            self._link(context, name)
            self._begin(context, config)
            return self._go_on(context, name)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        with typed_failures(f"deploying version {self.version} of {self.model}"):
            return self._go_on(context, event["endpoint"])

    def _go_on(self, context: Context, name: str) -> dict[str, Any]:
        """One step after the other, each after the endpoint has stopped changing: ask, judge, and put back what failed."""
        while True:
            state, before = self._state(context), self._before(context)
            description = self._describe(name)
            if hosting.endpoint_state(description, before.wanted) is EndpointState.CHANGING:
                deadline = datetime.fromisoformat(state["started"]) + self.timeout
                self._until_settled(context, name, before.to_json(), deadline)
            elif before.failed:
                context["task_state_store"].delete(STATE_KEY)
                serves = f"it serves {description['EndpointConfigName']}" if description else "there is none any more"
                raise StepFailed(f"{before.failed}; it was put back: {serves}")
            elif before.requested:
                why = self._why_not(name, description, before)
                if not why and description:
                    return self._succeed(context, name, description, before)
                self.log.warning("%s: %s", why, hosting.put_back(self._sagemaker, name, description, before))
                self._remember(context, replace(before, failed=why))
            else:
                self._request(context, name, description)

    def _why_not(self, name: str, description: dict[str, Any] | None, before: Before) -> str:
        """Hold what is live against what was asked for, and ask it something; nothing when all is well."""
        if hosting.endpoint_state(description, before.wanted) is not EndpointState.LIVE:
            found = description or {}
            return (
                f"endpoint {name} is {found.get('EndpointStatus', 'absent')} on {found.get('EndpointConfigName')}, not "
                f"InService on {before.wanted}: {found.get('FailureReason', 'no reason was given')}"
            )
        try:
            self._answer = ask(self._invoking, name, self.smoke_body, self.smoke_content_type).text
        except Exception as error:
            return f"endpoint {name} did not answer the smoke request: {error}"
        return ""

    def _succeed(self, context: Context, name: str, description: dict[str, Any], before: Before) -> dict[str, Any]:
        """What is live is proven: only now the version is promoted."""
        from millrace.registry.models import Registry

        self._tag(description["EndpointArn"], {DEPLOYED_TAG: before.wanted})
        Registry().promote(self.model, str(self.version), endpoint=name)
        # From here on what is live is right. Should the task be cleared one day, it starts from what is live then.
        context["task_state_store"].delete(STATE_KEY)
        self.log.info(
            "endpoint %s serves version %s of %s; it answered %s", name, self.version, self.model, self._answer
        )
        context["ti"].xcom_push(key="endpoint", value=name)
        self._result = {
            "endpoint": name,
            "config": before.wanted,
            "model": self.model,
            "version": str(self.version),
            "smoke": self._answer,
        }
        return self._result

    @property
    def _invoking(self) -> Any:
        return client("sagemaker-runtime", self.aws_conn_id, self.region_name)

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

    def _begin(self, context: Context, config: str) -> None:
        """Go on with what an earlier attempt began for this configuration, or begin anew."""
        state, now = self._state(context), datetime.now(UTC)
        kind = attempt_of(state, max_tries(context), run_started(context))
        if kind is Attempt.RETRY and state["before"]["wanted"] == config:
            if datetime.fromisoformat(state["started"]) + self.timeout < now:
                self._remember(context, Before.from_json(state["before"]), now)
            return
        self._remember(context, Before(wanted=config, previous="", was_live=False), now)

    def _request(self, context: Context, name: str, description: dict[str, Any] | None) -> None:
        """Ask for the configuration, having written down what the endpoint served before."""
        before = self._before(context)
        state = hosting.endpoint_state(description, before.wanted)
        if not before.previous and not before.was_live:
            before = replace(before, **self._served_until_now(description, before.wanted))
            self._remember(context, before)
        self.log.info("%s x %s: %s", self.instance_count, self.instance_type, self._price())
        tags = self._tags(context, before.wanted)
        if state is EndpointState.FAILED:
            self.log.info("endpoint %s has failed; SageMaker allows only its deletion, so it is made anew", name)
            self._sagemaker.delete_endpoint(EndpointName=name)
            return  # and comes back here once it is gone
        if state is EndpointState.ABSENT:
            request = {"EndpointName": name, "EndpointConfigName": before.wanted}
            preflight.check("CreateEndpoint", request)
            self.log.info("creating endpoint %s on %s", name, before.wanted)
            shown = [{"Key": key, "Value": value} for key, value in tags.items()]
            self._asked(name, before.wanted, lambda: self._sagemaker.create_endpoint(**request, Tags=shown))
        else:
            assert description is not None  # noqa: S101 - it is InService
            arn = description["EndpointArn"]
            if before.previous and DEPLOYED_TAG not in observe.tags(self._sagemaker, arn):
                tags[DEPLOYED_TAG] = before.previous  # it served until now: an abandoned update is put back on it
            self._tag(arn, tags)
            if state is EndpointState.OTHER:
                self.log.info("updating endpoint %s from %s to %s", name, before.previous, before.wanted)
                self._asked(
                    name,
                    before.wanted,
                    lambda: self._sagemaker.update_endpoint(
                        EndpointName=name, EndpointConfigName=before.wanted, RetainAllVariantProperties=False
                    ),
                )
            else:
                self.log.info("endpoint %s is on %s already", name, before.wanted)
        self._remember(context, replace(before, requested=True))

    def _price(self) -> str:
        """What serving costs: an endpoint is paid for until it is deleted, used or not, and on no run's ledger."""
        from millrace.sagemaker import cost
        from millrace.sagemaker.prices import Prices

        hourly = cost.hourly(self.instance_type, self.instance_count, Prices.from_environment())
        if hourly.usd is None:
            return f"price unknown ({hourly.why_unknown})"
        return f"estimated at {cost.shown(hourly.usd)} an hour, until the endpoint is deleted"

    def _served_until_now(self, description: dict[str, Any] | None, wanted: str) -> dict[str, Any]:
        """The configuration to go back to, and whether the wanted one was served, and proven, already."""
        state = hosting.endpoint_state(description, wanted)
        if description is None or state not in (EndpointState.OTHER, EndpointState.LIVE):
            return {"previous": "", "was_live": False}
        # What is live may be what a deployment asked for and never proved: then the proven one is what to go back to.
        live = description["EndpointConfigName"]
        tags = observe.tags(self._sagemaker, description["EndpointArn"])
        proven = tags.get(DEPLOYED_TAG, "")
        good = proven if tags.get(WANTED_TAG) == live else live
        return {"previous": "" if good == wanted else good, "was_live": good == wanted}

    def _asked(self, name: str, wanted: str, call: Callable[[], Any]) -> None:
        """Make a call whose answer may have been lost before: a refusal because it is under way is no error."""
        from botocore.exceptions import ClientError

        try:
            call()
        except ClientError:
            if hosting.endpoint_state(self._describe(name), wanted) in (EndpointState.ABSENT, EndpointState.OTHER):
                raise
            self.log.info("endpoint %s is on its way to %s: an earlier try of this call got through", name, wanted)

    def _tags(self, context: Context, wanted: str) -> dict[str, str]:
        """Who is deploying what: the reconciler reads it, should nobody finish."""
        identity = identity_of(context, Deployment.from_environment())
        tags = {tag["Key"]: tag["Value"] for tag in identity.tags(0, "", str(self.version))}
        return {**tags, WANTED_TAG: wanted}

    def _tag(self, arn: str, tags: Mapping[str, str]) -> None:
        self._sagemaker.add_tags(
            ResourceArn=arn, Tags=[{"Key": key, "Value": value} for key, value in tags.items() if value]
        )

    def _overdue(self, name: str) -> NoReturn:
        raise StepTimeout(
            f"endpoint {name} was still changing after {self.timeout}. SageMaker takes no stop for that; the "
            "millrace_reconciler DAG puts it back once it has settled, and clearing this task goes on with it"
        )

    def _state(self, context: Context) -> dict[str, Any]:
        return recall(context, STATE_KEY)

    def _before(self, context: Context) -> Before:
        return Before.from_json(self._state(context)["before"])

    def _remember(self, context: Context, before: Before, started: datetime | None = None) -> None:
        at = started.isoformat() if started else self._state(context)["started"]
        remember(context, STATE_KEY, {"before": before.to_json(), "started": at})
