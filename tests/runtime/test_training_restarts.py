"""Spot instances that are taken away, hosts that are lost, checkpoints that make up for it, and time that runs out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import psutil
import pytest

from millrace.runtime import clock, fault_plan
from millrace.runtime.fault_plan import Rule
from millrace.runtime.faults import CrashHost, Fault, HangJob, HoldJob, InterruptJob
from tests.runtime.jobs import Jobs
from tests.runtime.process import RuntimeProcess, until

pytestmark = pytest.mark.e2e
COUNTING = """
import os, pathlib, signal, sys, time
base = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
saved = base / "checkpoints" / "step"
first = step = int(saved.read_text()) if saved.exists() else 0
def leave(*_):
    (base / "checkpoints" / "last-words").write_text(f"at step {step}")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("begun at", step, flush=True)
while step < 12:
    time.sleep(0.25)
    step += 1
    saved.with_suffix(".new").write_text(str(step))
    saved.with_suffix(".new").rename(saved)
    print(f"loss={1 / step:.4f};", flush=True)
(base / "model" / "first").write_text(str(first))
"""
SPOT: dict[str, Any] = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 200},
}


@pytest.fixture
def data_dir(runtime: RuntimeProcess) -> Iterator[Path]:
    yield runtime.data_dir
    fault_plan.clear(runtime.data_dir)


def befall(data_dir: Path, fault: Fault, **rule: Any) -> None:
    fault_plan.write(data_dir, [Rule(fault, operation="CreateTrainingJob", **{"times": 1, **rule})])


def statuses(description: dict[str, Any]) -> list[str]:
    return [transition["Status"] for transition in description["SecondaryStatusTransitions"]]


def checkpoints(jobs: Jobs, folder: str) -> dict[str, str]:
    listed = jobs.s3.list_objects_v2(Bucket="bucket", Prefix=f"{folder}/").get("Contents", [])
    return {
        row["Key"].removeprefix(f"{folder}/"): jobs.s3.get_object(Bucket="bucket", Key=row["Key"])["Body"]
        .read()
        .decode()
        for row in listed
    }


def test_interrupted_spot_training_goes_on_from_its_checkpoint(jobs: Jobs, data_dir: Path) -> None:
    befall(data_dir, InterruptJob(run_seconds=2.0, strikes_in_all=1))
    name = jobs.training(COUNTING, CheckpointConfig={"S3Uri": "s3://bucket/spot"}, **SPOT)
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
    assert statuses(description) == [
        "Starting", "Downloading", "Training", "Interrupted", "Starting", "Downloading", "Training", "Uploading",
        "Completed",
    ]  # fmt: skip
    assert int(jobs.model_files(description)["first"]) > 0
    kept = checkpoints(jobs, "spot")
    assert kept["step"] == "12"
    assert kept["last-words"].startswith("at step")
    assert 3 <= description["BillableTimeInSeconds"] <= description["TrainingTimeInSeconds"] + 1
    lines = jobs.lines("training", name)
    assert sum("begun at" in line for line in lines) == 2
    assert [line.fault for line in fault_plan.dealt(data_dir)][-1:] == ["interrupt_job"]


def test_checkpoints_reach_s3_while_the_job_runs(jobs: Jobs) -> None:
    script = COUNTING.replace("step < 12", "step < 1200").replace("sleep(0.25)", "sleep(0.25 if step < 2 else 100)")
    name = jobs.training(script, CheckpointConfig={"S3Uri": "s3://bucket/live"})
    until(lambda: checkpoints(jobs, "live").get("step") == "2", 30, "the checkpoint in S3")
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert jobs.end("training", name)["TrainingJobStatus"] == "Stopped"
    assert checkpoints(jobs, "live")["last-words"] == "at step 2"


def test_on_demand_instances_are_not_taken_away(jobs: Jobs, data_dir: Path) -> None:
    befall(data_dir, InterruptJob(run_seconds=0))
    description = jobs.end("training", jobs.training("import time; time.sleep(1)"))
    assert statuses(description) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]


def test_lost_host_is_retried_as_often_as_the_strategy_says(jobs: Jobs, data_dir: Path) -> None:
    befall(data_dir, CrashHost(run_seconds=0.5, strikes_in_all=2))
    name = jobs.training("import time; time.sleep(3)", RetryStrategy={"MaximumRetryAttempts": 1})
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Failed"
    assert "host lost" in description["FailureReason"]
    assert statuses(description).count("Restarting") == 1
    befall(data_dir, CrashHost(run_seconds=2.0))
    name = jobs.training("import time; time.sleep(3)", RetryStrategy={"MaximumRetryAttempts": 1})
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Completed"
    assert description["BillableTimeInSeconds"] >= 5  # what was lost has been paid for


def test_limit_covers_what_was_lost(jobs: Jobs, data_dir: Path) -> None:
    befall(data_dir, CrashHost(run_seconds=4.0))
    limit: dict[str, Any] = {
        "RetryStrategy": {"MaximumRetryAttempts": 3},
        "StoppingCondition": {"MaxRuntimeInSeconds": 6},
    }
    description = jobs.end("training", jobs.training("import time; time.sleep(600)", **limit))
    assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert description["BillableTimeInSeconds"] <= 8  # a limit for each start would make it ten


def test_programs_own_failure_is_not_retried(jobs: Jobs) -> None:
    name = jobs.training("raise ValueError('mine')", RetryStrategy={"MaximumRetryAttempts": 3})
    description = jobs.end("training", name)
    assert "ValueError: mine" in description["FailureReason"]
    assert "Restarting" not in statuses(description)


def test_hanging_job_is_in_progress_and_silent(own_runtime: RuntimeProcess) -> None:
    jobs, data_dir = Jobs(own_runtime), own_runtime.data_dir
    befall(data_dir, HangJob(run_seconds=10_000))
    script = "import time\nfor tick in range(10**6):\n    print('tick', tick, flush=True)\n    time.sleep(0.1)\n"
    name = jobs.training(script)
    until(lambda: jobs.lines("training", name), 30, "the first line")
    clock.advance(data_dir, 10_000)
    until(lambda: _is_frozen(jobs), 30, "the hang")
    heard = jobs.lines("training", name)
    time.sleep(1)
    assert jobs.lines("training", name) == heard
    assert _describe(jobs, name)["TrainingJobStatus"] == "InProgress"
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    for process in jobs.runtime.job_processes():
        process.resume()  # else its end would be the KILL after two minutes
    assert jobs.end("training", name)["TrainingJobStatus"] == "Stopped"


def _is_frozen(jobs: Jobs) -> bool:
    """Whether whatever there is below a shim has been stopped."""
    below = [process for shim in jobs.runtime.find("shim.py") for process in shim.children(recursive=True)]
    return bool(below) and all(process.status() == psutil.STATUS_STOPPED for process in below)


def _describe(jobs: Jobs, name: str) -> dict[str, Any]:
    found: dict[str, Any] = jobs.sagemaker.describe_training_job(TrainingJobName=name)
    return found


def test_longest_wait_for_spot_capacity_ends_the_job(own_runtime: RuntimeProcess) -> None:
    jobs, data_dir = Jobs(own_runtime), own_runtime.data_dir
    befall(data_dir, HoldJob(hold_seconds=10_000))
    name = jobs.training("print('never')", **SPOT)
    assert statuses(_describe(jobs, name)) == ["Starting"]
    clock.advance(data_dir, 201)
    description = jobs.end("training", name, 10)
    assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")


def test_runtime_killed_while_a_job_is_interrupted_starts_it_again(own_runtime: RuntimeProcess) -> None:
    jobs, data_dir = Jobs(own_runtime), own_runtime.data_dir
    befall(data_dir, InterruptJob(run_seconds=1.5))
    name = jobs.training(COUNTING, CheckpointConfig={"S3Uri": "s3://bucket/spot"}, **SPOT)
    until(lambda: fault_plan.dealt(data_dir), 20, "the fault")
    until(lambda: checkpoints(jobs, "spot").get("step"), 20, "a checkpoint")
    own_runtime.kill()
    own_runtime.start()
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
    assert statuses(description).count("Interrupted") == 1
    assert checkpoints(jobs, "spot")["step"] == "12"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"EnableManagedSpotTraining": True}, "Invalid MaxWaitTimeInSeconds"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 10, "MaxWaitTimeInSeconds": 20}}, "for managed spot"),
        (
            {
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {"MaxRuntimeInSeconds": 10, "MaxWaitTimeInSeconds": 9},
            },
            "greater than or equal to MaxRuntimeInSeconds; they are 9 and 10",
        ),
        ({"CheckpointConfig": {"S3Uri": "s3://bucket/x", "LocalPath": "/etc"}}, "must be a path below /opt/ml"),
        ({"CheckpointConfig": {"S3Uri": "s3://bucket/x", "LocalPath": "/opt/ml/../x"}}, "must be a path below /opt/ml"),
    ],
)
def test_contradictory_request_is_refused(jobs: Jobs, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match=says):
        jobs.training("", **changes)
