"""What the operators of endpoints share: names that are nobody else's, answers that get lost, deadlines while deferred."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.bases.operator import TriggerFailureReason

from millrace.registry.models import Registry
from millrace.runtime import fault_plan
from millrace.runtime.fault_plan import Rule
from millrace.runtime.faults import Delay, LoseResponse, Throttle
from millrace.sagemaker.preflight import PreflightError
from operators.delete import DeleteEndpointOperator
from operators.deploy import DeployEndpointOperator
from operators.failures import RETRY_POLICY, StepTimeout
from operators.invoke import InvokeEndpointOperator
from tests.operators.attempts import Attempts
from tests.operators.steps import Steps
from tests.runtime.jobs import archive

HANDLERS = "def model_fn(model_dir): return 1\ndef transform_fn(model, body, content_type, accept): return body\n"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder: Path = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        yield Registry()


@pytest.fixture
def deploy(steps: Steps, registry: Registry) -> Callable[..., DeployEndpointOperator]:
    """Makes the operator that deploys one version."""
    uri = steps.jobs.put(f"{steps.deployment}/model.tar.gz", archive({"code/inference.py": HANDLERS}))
    version = registry.register(steps.deployment, source=uri, run_id=None, metrics={}, tags={}).version
    told: dict[str, Any] = {
        "task_id": "deploy", "model": steps.deployment, "version": version, "endpoint": "digits",
        "instance_type": "ml.c5.large", "smoke_body": "1", "poll_seconds": 0.5,
    }  # fmt: skip
    return lambda **changes: DeployEndpointOperator(**told | changes)


def endpoints(steps: Steps) -> list[str]:
    found = steps.jobs.sagemaker.list_endpoints(NameContains=f"{steps.deployment}-")["Endpoints"]
    return [row["EndpointName"] for row in found]


@pytest.mark.parametrize(
    ("operation", "late"),
    [
        ("CreateModel", False),
        ("CreateEndpointConfig", False),
        ("CreateEndpoint", False),
        ("CreateEndpoint", True),
        ("AddTags", False),
    ],
)
def test_lost_answer_to_a_new_deployment_makes_one_endpoint(
    operation: str, late: bool, steps: Steps, deploy: Callable[..., DeployEndpointOperator]
) -> None:
    name = f"{steps.deployment}-*"
    rules = [Rule(LoseResponse(), operation=operation, name=name, times=1)]
    if late:  # by the time the call is made again, the endpoint serves
        rules.append(Rule(Delay(before_seconds=4), operation=operation, name=name, times=1))
    fault_plan.write(steps.runtime.data_dir, rules)
    assert Attempts().execute(deploy())["smoke"] == "1"
    assert endpoints(steps) == [f"{steps.deployment}-digits"]


@pytest.mark.parametrize("operation", ["UpdateEndpoint", "AddTags", "DescribeEndpoint"])
def test_lost_answer_to_an_update_is_no_failure(
    operation: str, steps: Steps, deploy: Callable[..., DeployEndpointOperator]
) -> None:
    first = Attempts().execute(deploy())
    name = f"{steps.deployment}-*"
    fault_plan.write(steps.runtime.data_dir, [Rule(LoseResponse(), operation=operation, name=name, times=1)])
    second = Attempts().execute(deploy(environment={"MEANING": "another configuration"}))
    assert second["config"] != first["config"]
    assert [line.operation for line in fault_plan.dealt(steps.runtime.data_dir)][-1] == operation


def test_throttled_looks_do_not_end_a_deployment(steps: Steps, deploy: Callable[..., DeployEndpointOperator]) -> None:
    name = f"{steps.deployment}-*"
    fault_plan.write(steps.runtime.data_dir, [Rule(Throttle(), operation="Describe*", name=name, times=2)])
    assert Attempts().execute(deploy())["smoke"] == "1"


def test_deadline_that_passes_while_the_task_is_deferred_is_said_and_a_clear_goes_on(
    steps: Steps, deploy: Callable[..., DeployEndpointOperator]
) -> None:
    attempts, operator = Attempts(), deploy(timeout=timedelta(minutes=5))
    assert attempts.defer(operator).timeout <= timedelta(minutes=5)
    with pytest.raises(StepTimeout, match="was still changing after 0:05:00"):
        operator.resume_execution("__fail__", {"error": TriggerFailureReason.TRIGGER_TIMEOUT}, attempts.context)
    attempts.clear()
    assert attempts.execute(deploy())["smoke"] == "1"
    assert endpoints(steps) == [f"{steps.deployment}-digits"]


@pytest.mark.parametrize("endpoint", ["", "  ", "--", "é"])
def test_name_that_would_be_anybodys_is_refused(endpoint: str, steps: Steps) -> None:
    """A template that renders to nothing must not deploy to, or delete, an endpoint that merely has a name left."""
    with pytest.raises(PreflightError, match="must hold a letter or a digit"):
        DeleteEndpointOperator(task_id="delete", endpoint=endpoint)
    operator = DeleteEndpointOperator(task_id="delete", endpoint="{{ params.endpoint }}")
    operator.endpoint = endpoint
    with pytest.raises(PreflightError) as raised:
        operator.execute(Attempts().context)
    assert RETRY_POLICY.evaluate(raised.value, 1, 3).action.value == "fail"


def test_long_names_are_refused_and_never_cut_into_one_anothers(steps: Steps) -> None:
    longest = "digits-" + "x" * 39
    operator = InvokeEndpointOperator(task_id="ask", endpoint=longest, body="x")
    assert operator.endpoint == longest
    for last in "ab":
        with pytest.raises(PreflightError, match=r"\(47 characters\); at most 46"):
            InvokeEndpointOperator(task_id="ask", endpoint=longest + last, body="x")
