"""Deployment against a real runtime and a real registry: what is live is what was asked for, or what was there before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest
from airflow.sdk.exceptions import AirflowException

from millrace.registry.models import CHAMPION, Registry
from operators.deploy import DeployEndpointOperator
from tests.operators.attempts import Attempts, TaskStateStore
from tests.operators.runtime import local_deployment
from tests.runtime.jobs import Jobs, archive
from tests.runtime.process import RuntimeProcess, until

HANDLERS = """
def model_fn(model_dir): return {answer!r}
def transform_fn(model, body, content_type, accept):
    if model == "mute": return ""
    if model == "angry": raise RuntimeError("no")
    return model
"""
BROKEN = "def model_fn(model_dir): raise OSError('weights are missing')\n"


class Deployments:
    """Deploys versions of one model to one endpoint, one task attempt each."""

    def __init__(self, runtime: RuntimeProcess) -> None:
        self.jobs = Jobs(runtime)
        self.name = f"model{time.time_ns()}"
        self.endpoint = f"one-{self.name}"
        self.registry = Registry()

    def version(self, handlers: str) -> str:
        data = archive({"code/inference.py": handlers})
        uri = self.jobs.put(f"versions/{self.jobs.name()}/model.tar.gz", data)
        return self.registry.register(self.name, source=uri, run_id=None, metrics={}, tags={}).version

    def operator(self, version: str, deferrable: bool = False) -> DeployEndpointOperator:
        return DeployEndpointOperator(
            task_id="deploy", model=self.name, version=version, endpoint=self.name, instance_type="ml.c5.large",
            smoke_body="x", deferrable=deferrable, poll_seconds=0.2,
        )  # fmt: skip

    def deploy(self, version: str, store: TaskStateStore | None = None) -> Any:
        operator = self.operator(version)
        attempts = Attempts(store=TaskStateStore() if store is None else store)
        return attempts.execute(operator)

    def live(self) -> str:
        """What the endpoint answers, or nothing when there is none."""
        try:
            answer = self.jobs.runtime.client("sagemaker-runtime").invoke_endpoint(
                EndpointName=self.endpoint, Body=b"x"
            )
        except botocore.exceptions.ClientError as error:
            assert "not found" in str(error)
            return ""
        return str(answer["Body"].read().decode())

    def champion(self) -> str | None:
        found = self.registry.by_alias(self.name, CHAMPION)
        return found.version if found else None


@pytest.fixture
def deployments(runtime: RuntimeProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Deployments]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with local_deployment(runtime, monkeypatch, "one"):
        yield Deployments(runtime)


def test_endpoint_is_created_updated_and_left_alone_when_it_is_right(deployments: Deployments) -> None:
    first, second = (deployments.version(HANDLERS.format(answer=answer)) for answer in ("a", "b"))
    result = deployments.deploy(first)
    assert (deployments.live(), deployments.champion()) == ("a", first)
    assert set(result) == {"endpoint", "config", "model", "version", "smoke"}
    updated = deployments.deploy(second)
    assert (deployments.live(), deployments.champion()) == ("b", second)
    assert updated["config"] != result["config"]
    assert deployments.deploy(second)["config"] == updated["config"]


def test_model_that_does_not_load_leaves_nothing_where_nothing_was(deployments: Deployments) -> None:
    with pytest.raises(AirflowException, match="weights are missing"):
        deployments.deploy(deployments.version(BROKEN))
    assert (deployments.live(), deployments.champion()) == ("", None)
    fixed = deployments.version(HANDLERS.format(answer="fixed"))
    deployments.deploy(fixed)
    assert (deployments.live(), deployments.champion()) == ("fixed", fixed)


@pytest.mark.parametrize("handlers", [BROKEN, HANDLERS.format(answer="mute"), HANDLERS.format(answer="angry")])
def test_version_that_fails_leaves_the_one_before_serving(deployments: Deployments, handlers: str) -> None:
    good = deployments.version(HANDLERS.format(answer="good"))
    deployments.deploy(good)
    with pytest.raises(AirflowException):
        deployments.deploy(deployments.version(handlers))
    assert (deployments.live(), deployments.champion()) == ("good", good)


def test_clearing_an_old_deployment_that_no_longer_answers_puts_the_newer_one_back(deployments: Deployments) -> None:
    old, newer = (deployments.version(HANDLERS.format(answer=answer)) for answer in ("old", "newer"))
    store = TaskStateStore()
    deployments.deploy(old, store)
    deployments.deploy(newer)
    source = deployments.registry.version(deployments.name, old).source
    spoilt = archive({"code/inference.py": HANDLERS.format(answer="angry")})
    deployments.jobs.put(source.removeprefix("s3://bucket/"), spoilt)
    with pytest.raises(AirflowException, match="was put back"):
        deployments.deploy(old, store)  # the same task, cleared: its state is what the first time left
    assert (deployments.live(), deployments.champion()) == ("newer", newer)


def test_clearing_a_deployment_in_mid_update_still_knows_what_was_proven(deployments: Deployments) -> None:
    good, mute = (deployments.version(HANDLERS.format(answer=answer)) for answer in ("good", "mute"))
    deployments.deploy(good)
    attempts = Attempts()
    attempts.defer(deployments.operator(mute, deferrable=True))
    attempts.clear()  # and the triggerer's thread, which would have put it back, did not live to do so
    with pytest.raises(AirflowException, match="was put back"):
        attempts.execute(deployments.operator(mute))
    assert (deployments.live(), deployments.champion()) == ("good", good)


def test_failing_deployment_goes_back_past_one_that_nobody_proved(deployments: Deployments) -> None:
    good, abandoned, mute = (
        deployments.version(HANDLERS.format(answer=answer)) for answer in ("good", "abandoned", "mute")
    )
    deployments.deploy(good)
    Attempts().defer(deployments.operator(abandoned, deferrable=True))  # and nobody comes back to it
    until(lambda: deployments.live() == "abandoned", 60, "the update")
    with pytest.raises(AirflowException, match="was put back"):
        deployments.deploy(mute)
    assert (deployments.live(), deployments.champion()) == ("good", good)


def test_retry_after_the_update_had_begun_still_knows_what_was_there_before(deployments: Deployments) -> None:
    good, angry = (deployments.version(HANDLERS.format(answer=answer)) for answer in ("good", "angry"))
    deployments.deploy(good)
    store = TaskStateStore()
    for _ in range(2):
        with pytest.raises(AirflowException, match="was put back"):
            deployments.deploy(angry, store)
        assert deployments.live() == "good"
