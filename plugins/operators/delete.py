"""DeleteEndpointOperator: the teardown of a deployment; asking for it twice is no error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from millrace.sagemaker import hosting
from millrace.sagemaker.deployment import Deployment
from millrace.sagemaker.hosting import EndpointState
from operators import termination
from operators.endpoint import EndpointOperator
from operators.failures import StepFailed, StepTimeout, typed_failures
from operators.task_state import recall, remember

if TYPE_CHECKING:
    from airflow.sdk import Context

STATE_KEY = "millrace_delete"


class DeleteEndpointOperator(EndpointOperator):
    """Delete an endpoint and the configuration it serves, and wait until it is gone.

    The model stays: it costs nothing, and a batch transform may be using it. So do the registry's aliases. As the
    teardown of a deployment that only a test needs, mark it so: `delete.as_teardown(setups=deploy)`.

    Args:
        endpoint: the endpoint's name, behind the deployment's id.
        timeout: how long the deletion may take, deferred or not.

    Example::

        delete = DeleteEndpointOperator(task_id="delete", endpoint="digits-trial").as_teardown(setups=deploy)
    """

    def __init__(self, *, timeout: timedelta = timedelta(minutes=30), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(timeout, timedelta) or timeout <= timedelta(0):
            raise ValueError(f"timeout is {timeout!r}; it must be a timedelta above 0")
        self.timeout = timeout

    def execute(self, context: Context) -> dict[str, Any]:
        termination.listen()
        name = self._name(Deployment.from_environment())
        self._link(context, name)
        # What an earlier attempt has begun to delete may be gone by now, and its configuration must be too.
        config = recall(context, STATE_KEY).get("config", "")
        started = datetime.now(UTC).isoformat()
        remember(context, STATE_KEY, {"started": started, "config": config, "requested": False})
        return self._go_on(context, name)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        return self._go_on(context, event["endpoint"])

    def _go_on(self, context: Context, name: str) -> dict[str, Any]:
        while True:
            known = recall(context, STATE_KEY)
            with typed_failures(f"deleting endpoint {name}"):
                description = self._describe(name)
                state = hosting.endpoint_state(description, "")
                if description is None:
                    return self._gone(name, known["config"])
                known["config"] = description["EndpointConfigName"]
                remember(context, STATE_KEY, known)
                if state is not EndpointState.CHANGING:
                    if known["requested"]:
                        raise StepFailed(
                            f"endpoint {name} is {description['EndpointStatus']} though its deletion was taken: "
                            f"{description.get('FailureReason', 'no reason was given')}"
                        )
                    remember(context, STATE_KEY, known | {"requested": True})
                    self._delete(name)
                    continue
            self._until_settled(context, name, None, datetime.fromisoformat(known["started"]) + self.timeout)

    def _delete(self, name: str) -> None:
        from botocore.exceptions import ClientError

        self.log.info("deleting endpoint %s", name)
        try:
            self._sagemaker.delete_endpoint(EndpointName=name)
        except ClientError:
            # The answer of an earlier try of this very call may have been lost: then it is going, or gone.
            gone_or_going = (EndpointState.ABSENT, EndpointState.CHANGING)
            if hosting.endpoint_state(self._describe(name), "") not in gone_or_going:
                raise

    def _gone(self, name: str, config: str) -> dict[str, Any]:
        if config:
            self._delete_config(config)
        self.log.info("endpoint %s is gone%s", name, f", and its configuration {config}" if config else "")
        self._result = {"endpoint": name, "config": config}
        return self._result

    def _delete_config(self, config: str) -> None:
        from botocore.exceptions import ClientError

        try:
            self._sagemaker.delete_endpoint_config(EndpointConfigName=config)
        except ClientError as error:
            if "could not find" not in error.response["Error"].get("Message", "").lower():
                raise  # else an earlier try of this call got through, or an earlier attempt

    def _overdue(self, name: str) -> NoReturn:
        raise StepTimeout(f"endpoint {name} was not gone after {self.timeout}; look at it in the console")
