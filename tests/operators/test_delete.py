"""The teardown of an endpoint: gone with its configuration, however often it is asked for and whatever it was doing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import botocore.exceptions
import pytest
from airflow.sdk.bases.operator import TriggerFailureReason

from millrace.runtime.faults import Delay, LoseResponse
from operators.delete import DeleteEndpointOperator
from operators.failures import StepTimeout
from tests.operators.attempts import Attempts
from tests.operators.steps import Steps
from tests.runtime.process import until

HANDLERS = (
    "{before}\ndef model_fn(model_dir): return 1\ndef transform_fn(model, body, content_type, accept): return body\n"
)


@dataclass
class Endpoint:
    """An endpoint that a deployment made, with the means to look at what is left of it."""

    steps: Steps
    config: str = ""

    @property
    def name(self) -> str:
        return f"{self.steps.deployment}-trial"

    def make(self, before: str = "", settled: bool = True) -> None:
        sagemaker = self.steps.jobs.sagemaker
        self.config = self.steps.jobs.endpoint_config(self.steps.jobs.model(HANDLERS.format(before=before)))
        sagemaker.create_endpoint(EndpointName=self.name, EndpointConfigName=self.config)
        if settled:
            until(lambda: self.status() == "InService", 60, "the endpoint")

    def status(self) -> str:
        try:
            return str(self.steps.jobs.sagemaker.describe_endpoint(EndpointName=self.name)["EndpointStatus"])
        except botocore.exceptions.ClientError:
            return "absent"

    def has_config(self) -> bool:
        found = self.steps.jobs.sagemaker.list_endpoint_configs(NameContains=self.config)["EndpointConfigs"]
        return bool(found)

    def delete(self, attempts: Attempts, **options: Any) -> Any:
        return attempts.execute(operator(**options))


def operator(**options: Any) -> DeleteEndpointOperator:
    return DeleteEndpointOperator(task_id="delete", endpoint="trial", poll_seconds=0.5, **options)


@pytest.fixture
def endpoint(steps: Steps) -> Iterator[Endpoint]:
    made = Endpoint(steps)
    yield made
    steps.deal()
    made.delete(Attempts())


@pytest.mark.parametrize("deferrable", [True, False])
def test_deletion_waits_until_endpoint_and_configuration_are_gone(endpoint: Endpoint, deferrable: bool) -> None:
    endpoint.make()
    result = endpoint.delete(Attempts(), deferrable=deferrable)
    assert result == {"endpoint": endpoint.name, "config": endpoint.config}
    assert (endpoint.status(), endpoint.has_config()) == ("absent", False)


def test_endpoint_that_never_was_is_gone_already(endpoint: Endpoint) -> None:
    assert endpoint.delete(Attempts()) == {"endpoint": endpoint.name, "config": ""}


def test_endpoint_that_is_being_made_is_deleted_once_it_has_settled(endpoint: Endpoint) -> None:
    endpoint.make(before="import time\ntime.sleep(2)", settled=False)
    assert endpoint.status() == "Creating"
    assert endpoint.delete(Attempts())["config"] == endpoint.config
    assert (endpoint.status(), endpoint.has_config()) == ("absent", False)


def test_retry_after_the_endpoint_had_gone_still_deletes_its_configuration(endpoint: Endpoint) -> None:
    attempts = Attempts()
    endpoint.make()
    attempts.defer(operator())
    until(lambda: endpoint.status() == "absent", 60, "the deletion")
    assert endpoint.has_config()
    assert endpoint.delete(attempts) == {"endpoint": endpoint.name, "config": endpoint.config}
    assert not endpoint.has_config()
    assert endpoint.delete(attempts)["endpoint"] == endpoint.name  # and once more: nothing is left to delete


@pytest.mark.parametrize("operation", ["DeleteEndpoint", "DeleteEndpointConfig"])
def test_lost_answer_is_no_failure(endpoint: Endpoint, operation: str) -> None:
    endpoint.make()
    name = endpoint.name if operation == "DeleteEndpoint" else endpoint.config
    endpoint.steps.deal_to(name, LoseResponse(), operation=operation)
    endpoint.delete(Attempts())
    assert (endpoint.status(), endpoint.has_config()) == ("absent", False)


def test_deadline_that_passes_is_said_and_a_clear_goes_on(endpoint: Endpoint) -> None:
    attempts = Attempts()
    endpoint.make(before="import time\ntime.sleep(2)", settled=False)
    slow = operator(timeout=timedelta(seconds=30))
    assert attempts.defer(slow).timeout <= timedelta(seconds=30)
    with pytest.raises(StepTimeout, match="was not gone after 0:00:30"):
        slow.resume_execution("__fail__", {"error": TriggerFailureReason.TRIGGER_TIMEOUT}, attempts.context)
    attempts.clear()
    endpoint.delete(attempts)
    assert (endpoint.status(), endpoint.has_config()) == ("absent", False)


def test_deadline_holds_in_the_worker_too(endpoint: Endpoint) -> None:
    endpoint.make(before="import time\ntime.sleep(4)", settled=False)
    with pytest.raises(StepTimeout):
        endpoint.delete(Attempts(), deferrable=False, timeout=timedelta(seconds=1))


def test_slow_answers_change_nothing(endpoint: Endpoint) -> None:
    endpoint.make()
    endpoint.steps.deal_to(endpoint.name, Delay(after_seconds=1), operation="DeleteEndpoint")
    endpoint.delete(Attempts(), deferrable=False)
    assert endpoint.status() == "absent"
