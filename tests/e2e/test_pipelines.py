"""The pipelines from end to end, through Airflow's REST API; what is checked is artifacts, not statuses.

The tests of this file run in order and build on one another, as a user's day does: train and approve, score, monitor,
refuse what the drift started, train again while the runtime is killed, and feed it bad data.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from millrace.cli.services import SERVICES
from millrace.runtime import calls
from tests.e2e.conftest import Poison
from tests.e2e.pipelines import Pipelines, Run
from tests.runtime.process import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
PIXELS = [f"pixel_{index}" for index in range(64)]
POLICY = Path(__file__).parents[2] / "docs/iam/worker-policy.json"


@pytest.fixture(scope="session", autouse=True)
def served(pipelines: Pipelines) -> None:
    pipelines.serve("digits_training", "digits_scoring", "digits_monitoring", "waiting")


@pytest.fixture(scope="session")
def trained(pipelines: Pipelines) -> Run:
    """The first training run, approved by a person."""
    run = pipelines.start("digits_training")
    run.answer("Approve")
    return run.succeed()


@pytest.fixture(scope="session")
def scored(pipelines: Pipelines, trained: Run) -> Run:
    return pipelines.start("digits_scoring").succeed()


def test_two_ranks_on_two_hosts_trained_one_model(trained: Run) -> None:
    record = json.loads(trained.model()["training.json"])
    first, second = record["ranks"]
    assert (first["rank"], second["rank"]) == (0, 1)
    assert first["host"] != second["host"]
    assert first["weights"] == second["weights"]
    assert first["samples"] == second["samples"] == 14 * 539
    assert first["losses"][-1] < 0.2 < first["losses"][0]


def test_model_archive_loads_and_predicts_what_the_endpoint_answers(
    trained: Run, pipelines: Pipelines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, body in trained.model().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "code"), *sys.path])
    spec = importlib.util.spec_from_file_location("served", tmp_path / "code/inference.py")
    assert spec is not None and spec.loader is not None
    served: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(served)
    uri = trained.result("prepare")["outputs"]["test"] + "/test.parquet"
    test = pd.read_parquet(io.BytesIO(pipelines.get(uri)))
    labels = test.pop("label").to_list()
    rows = test.to_csv(index=False, header=False)
    model = served.model_fn(str(tmp_path))
    mine = served.output_fn(served.predict_fn(served.input_fn(rows.encode(), "text/csv"), model), "text/csv")
    answers = pipelines.invoke(trained.result("deploy")["endpoint"], rows)
    # The fifth digit of a confidence depends on how rows are batched; the digits themselves do not.
    assert [line.split(",")[0] for line in mine.splitlines()] == [line.split(",")[0] for line in answers]
    correct = sum(int(line.split(",")[0]) == label for line, label in zip(answers, labels, strict=True))
    assert correct / len(labels) == pytest.approx(trained.result("evaluate")["metrics"]["accuracy"])
    assert correct / len(labels) >= 0.95


def test_registry_knows_the_champion_its_metrics_its_figure_and_its_baseline(
    trained: Run, pipelines: Pipelines
) -> None:
    from mlflow.tracking import MlflowClient

    champion = pipelines.champion()
    assert champion.version == trained.result("register")["version"]
    assert champion.source == trained.result("train")["model"]
    assert champion.tags["millrace.endpoint"] == trained.result("deploy")["endpoint"]
    client = MlflowClient(pipelines.layout.mlflow_url)
    run = client.get_run(champion.run_id)
    assert run.data.metrics["accuracy"] == pytest.approx(trained.result("evaluate")["metrics"]["accuracy"])
    assert {file.path for file in client.list_artifacts(champion.run_id)} >= {"confusion_matrix.png", "metrics.json"}
    baseline = champion.tags["millrace.baseline"]
    statistics = trained.json(f"{baseline}/statistics.json")
    assert statistics["dataset"]["item_count"] == 1078
    assert len(statistics["features"]) == 64
    assert trained.json(f"{baseline}/constraints.json")["features"][0]["name"] == "pixel_0"


def test_jobs_log_is_streamed_into_its_task_log(trained: Run) -> None:
    log = "\n".join(trained.log("train"))
    assert "epoch=14 loss=" in log
    assert "rank 1 of 2" in log
    data_docs = trained.result("data_gate")["data_docs"]
    assert data_docs.endswith("index.html")


def test_every_row_is_scored_and_joined_as_the_endpoint_would(scored: Run, trained: Run, pipelines: Pipelines) -> None:
    outputs = scored.result("batch")["outputs"]
    batch = pd.read_parquet(io.BytesIO(pipelines.get(outputs["batch"] + "/batch.parquet")))
    [predictions] = pipelines.keys(scored.result("score")["predictions"])
    joined = pd.read_csv(
        io.BytesIO(pipelines.get(predictions)), header=None, names=[*PIXELS, "prediction", "confidence"]
    )
    assert len(joined) == len(batch) == 359
    assert (joined[PIXELS].to_numpy() == batch[PIXELS].to_numpy()).all()
    answers = pipelines.invoke(trained.result("deploy")["endpoint"], batch.to_csv(index=False, header=False))
    assert [int(line.split(",")[0]) for line in answers] == joined["prediction"].to_list()


def test_only_the_drifted_batch_starts_a_training_and_refusing_it_deploys_nothing(
    pipelines: Pipelines, trained: Run
) -> None:
    clean = pipelines.start("digits_monitoring", batch="clean").succeed()
    assert clean.result("monitor")["drifted"] is False
    assert pipelines.runs_started_by_drift("digits_training") == []
    drifted = pipelines.start("digits_monitoring", batch="drifted").succeed()
    monitor = drifted.result("monitor")
    assert monitor["drifted"] is True
    folder = monitor["outputs"]["report"]
    violations = drifted.json(f"{folder}/constraint_violations.json")["violations"]
    assert {"feature_name", "constraint_check_type", "description"} == set(violations[0])
    assert "baseline_drift_check" in {violation["constraint_check_type"] for violation in violations}
    assert b"<svg" in pipelines.get(monitor["report"]) or b"data:image/png" in pipelines.get(monitor["report"])

    started = pipelines.run_started_by_drift("digits_training")
    before = (pipelines.endpoint_config(), pipelines.champion().version)
    started.answer("Reject")
    started.end()
    assert started.states()["deploy"] == "skipped"
    assert (pipelines.endpoint_config(), pipelines.champion().version) == before
    assert len(pipelines.runs_started_by_drift("digits_training")) == 1


def test_killed_runtime_does_not_lose_a_training_that_needs_no_approval(pipelines: Pipelines, trained: Run) -> None:
    stack = pipelines.stack
    before = pipelines.endpoint_config()
    run = pipelines.start("digits_training", approval_required=False)
    run.until_task("train", "deferred")
    sagemaker = pipelines.client("sagemaker")
    [active] = until(
        lambda: sagemaker.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"], 30, "the training"
    )
    name = active["TrainingJobName"]
    until(lambda: _secondary(sagemaker, name) == "Training", 30, "the script's start")
    runtime = next(service for service in SERVICES if service.name == "runtime")
    process = stack.process(runtime)
    assert process is not None
    process.kill()
    process.wait()
    time.sleep(2)
    stack.restart("runtime")
    run.succeed()
    assert sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "Completed"
    assert run.result("approve")["required"] is False
    assert int(run.result("register")["version"]) > int(trained.result("register")["version"])
    assert "the champion's accuracy" in run.result("metrics_gate")["summary"]
    assert pipelines.endpoint_config() != before
    assert pipelines.champion().version == run.result("register")["version"]


def _secondary(sagemaker: Any, name: str) -> str:
    return str(sagemaker.describe_training_job(TrainingJobName=name)["SecondaryStatus"])


def test_retry_after_a_killed_worker_adopts_the_running_job(pipelines: Pipelines) -> None:
    run = pipelines.start("waiting")
    sagemaker = pipelines.client("sagemaker")

    def jobs() -> list[dict[str, Any]]:
        found = sagemaker.list_processing_jobs(NameContains="local-wait-")["ProcessingJobSummaries"]
        return [dict(summary) for summary in found]

    until(jobs, 60, "the job")
    run.until_task("wait", "running")
    worker = psutil.Process(int(run.task("wait")["pid"]))
    worker.kill()
    run.succeed()
    assert run.task("wait")["try_number"] == 2
    assert len(jobs()) == 1
    assert "adopt" in "\n".join(run.log("wait"))


@pytest.mark.parametrize(
    ("body", "failing", "said"),
    [
        (b"a,b\n1,2\n", "prepare", "input/source lacks the columns pixel_0, pixel_1"),
        (b"\x00not a table", "prepare", "input/source holds no row"),
        (b"", "prepare", "no S3 object found"),
        ("outside", "data_gate", "did not pass"),
    ],
    ids=["schema", "unreadable", "missing", "values"],
)
def test_bad_source_fails_with_its_reason_and_deploys_nothing(
    pipelines: Pipelines, trained: Run, body: bytes | str, failing: str, said: str
) -> None:
    before = (pipelines.endpoint_config(), pipelines.champion().version)
    uri = "s3://millrace/bad/nothing-here.csv"
    if body == "outside":
        frame = pd.DataFrame(999.0, index=range(300), columns=PIXELS).assign(label=[i % 10 for i in range(300)])
        uri = pipelines.put("bad/outside.csv", frame.to_csv(index=False).encode())
    elif isinstance(body, bytes) and body:
        uri = pipelines.put(f"bad/{len(body)}.csv", body)
    run = pipelines.start("digits_training", source_uri=uri, approval_required=False)
    assert run.end() == "failed"
    assert run.states()[failing] == "failed"
    assert run.states()["deploy"] == "upstream_failed"
    assert said in "\n".join(run.log(failing))
    assert run.task(failing)["try_number"] == 1
    assert (pipelines.endpoint_config(), pipelines.champion().version) == before


def test_airflow_called_nothing_that_the_workers_policy_does_not_allow(pipelines: Pipelines, scored: Run) -> None:
    policy = json.loads(POLICY.read_text())
    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
    names = {"HeadObject": "GetObject", "ListObjectsV2": "ListBucket", "ListObjects": "ListBucket"}
    made = {
        f"{service}:{names.get(operation, operation)}"
        for key, service, operation in calls.read(pipelines.layout.state / "runtime" / "calls.jsonl")
        if key == "millrace-airflow"
    }
    assert {"sagemaker:CreateTrainingJob", "sagemaker:UpdateEndpoint", "s3:PutObject"} <= made
    assert made <= allowed
    assert not [action for action in allowed if "*" in action]


def test_poisoned_profile_was_never_used(poison: Poison, scored: Run) -> None:
    assert poison.what_touched_it() == []


def test_second_up_says_that_it_is_up(pipelines: Pipelines) -> None:
    layout = pipelines.layout
    environment = {"MILLRACE_PROJECT": str(layout.project), "MILLRACE_PORT": str(layout.first_port)}
    again = subprocess.run(
        [sys.executable, "-m", "millrace.cli", "up"], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert again.returncode == 1
    assert "the stack is up already" in again.stdout


def test_run_of_an_unknown_dag_names_those_that_are_there(pipelines: Pipelines) -> None:
    layout = pipelines.layout
    environment = {"MILLRACE_PROJECT": str(layout.project), "MILLRACE_PORT": str(layout.first_port)}
    done = subprocess.run(
        [sys.executable, "-m", "millrace.cli", "run", "digits_trainning"],
        env={**os.environ, **environment}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Airflow has found no DAG digits_trainning; it has digits_monitoring, digits_scoring" in done.stdout


def test_failing_run_prints_its_task_its_log_and_its_jobs_log(pipelines: Pipelines, trained: Run) -> None:
    layout = pipelines.layout
    environment = {"MILLRACE_PROJECT": str(layout.project), "MILLRACE_PORT": str(layout.first_port), "COLUMNS": "200"}
    uri = pipelines.put("bad/columns.csv", b"a,b\n1,2\n")
    done = subprocess.run(
        [sys.executable, "-m", "millrace.cli", "run", "digits_training", "--conf", json.dumps({"source_uri": uri})],
        env={**os.environ, **environment}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "digits_training.prepare failed" in done.stdout
    assert "has failed: AlgorithmError" in done.stdout
    assert done.stdout.count("source lacks the columns pixel_0") >= 2, done.stdout
