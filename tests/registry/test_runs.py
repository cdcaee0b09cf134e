"""Runs over a real MLflow server: what a job measured and drew, once, however often the task is retried."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from millrace.registry.runs import log_run


@pytest.fixture
def client(tracking_uri: str) -> Any:
    return MlflowClient(tracking_uri=tracking_uri)


@pytest.fixture
def experiment() -> str:
    return f"digits-{uuid.uuid4().hex[:8]}"


def log(tracking_uri: str, experiment: str, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "job": "prod-train-0123", "params": {"epochs": 3}, "metrics": {"accuracy": 0.5}, "artifacts": {},
    }  # fmt: skip
    return log_run(experiment, "train", tracking_uri=tracking_uri, **arguments | changes)


def test_a_run_carries_parameters_metrics_and_the_jobs_name_and_is_finished(
    client: Any, tracking_uri: str, experiment: str
) -> None:
    run = client.get_run(log(tracking_uri, experiment, params={"epochs": 3, "rate": 0.5, "device": "cpu"}))
    assert run.data.params == {"epochs": "3", "rate": "0.5", "device": "cpu"}
    assert run.data.metrics == {"accuracy": 0.5}
    assert run.data.tags["millrace.job"] == "prod-train-0123"
    assert (run.info.run_name, run.info.status) == ("train", "FINISHED")
    assert client.get_experiment(run.info.experiment_id).name == experiment


def test_a_retry_finds_the_run_it_made_by_the_jobs_name(client: Any, tracking_uri: str, experiment: str) -> None:
    first = log(tracking_uri, experiment)
    assert log(tracking_uri, experiment) == first
    assert log(tracking_uri, experiment, job="prod-train-4567") != first
    ids = [client.get_experiment_by_name(experiment).experiment_id]
    assert len(client.search_runs(ids)) == 2


def test_a_retry_adds_what_the_first_attempt_did_not_reach(client: Any, tracking_uri: str, experiment: str) -> None:
    log(tracking_uri, experiment, params={}, metrics={})
    run = client.get_run(log(tracking_uri, experiment))
    assert (run.data.params, run.data.metrics) == ({"epochs": "3"}, {"accuracy": 0.5})


def test_artifacts_are_uploaded_whole(client: Any, tracking_uri: str, experiment: str, tmp_path: Path) -> None:
    figure = tmp_path / "confusion.png"
    figure.write_bytes(bytes(range(256)))
    run_id = log(tracking_uri, experiment, artifacts={"confusion.png": figure})
    assert [found.path for found in client.list_artifacts(run_id)] == ["confusion.png"]
    back = tmp_path / "back"
    back.mkdir()
    fetched = client.download_artifacts(run_id, "confusion.png", str(back))
    assert Path(fetched).read_bytes() == bytes(range(256))


def test_jobs_of_two_experiments_have_runs_of_their_own(tracking_uri: str, experiment: str) -> None:
    assert log(tracking_uri, experiment) != log(tracking_uri, f"{experiment}-b")
