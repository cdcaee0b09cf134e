"""Jobs that want more than there is: they wait in turn and say why, and one that takes more dies alone and says so."""

from __future__ import annotations

import time
from typing import Any

import pytest

from millrace.runtime import capacity
from tests.runtime.jobs import CLUSTER, Jobs
from tests.runtime.process import RuntimeProcess, until

WHOLE_MACHINE = {**CLUSTER, "InstanceType": "ml.m5.24xlarge"}
SMALL = {**CLUSTER, "InstanceType": "ml.t3.medium"}


def describe(jobs: Jobs, name: str) -> dict[str, Any]:
    found: dict[str, Any] = jobs.sagemaker.describe_training_job(TrainingJobName=name)
    return found


def until_training(jobs: Jobs, name: str) -> None:
    until(lambda: describe(jobs, name)["SecondaryStatus"] == "Training", 30, f"{name}'s turn")


def test_jobs_get_their_instances_in_the_order_of_their_creation_and_say_what_they_wait_for(
    own_runtime: RuntimeProcess,
) -> None:
    jobs = Jobs(own_runtime)
    first = jobs.training("import time; time.sleep(600)", ResourceConfig=SMALL)
    until_training(jobs, first)
    large = jobs.training("print('large')", ResourceConfig=WHOLE_MACHINE)
    behind = jobs.training("print('behind')", ResourceConfig=SMALL)
    until(lambda: describe(jobs, behind)["SecondaryStatus"] == "Pending", 10, "its waiting")
    assert describe(jobs, large)["SecondaryStatusTransitions"][-1]["StatusMessage"] == (
        "Waiting for capacity: the job needs 16/16 of this machine, and 15/16 are free"
    )
    assert (
        "jobs that were created earlier wait"
        in describe(jobs, behind)["SecondaryStatusTransitions"][-1]["StatusMessage"]
    )
    jobs.sagemaker.stop_training_job(TrainingJobName=first)
    ended = [jobs.end("training", name) for name in (large, behind)]
    assert [job["TrainingJobStatus"] for job in ended] == ["Completed", "Completed"]
    assert ended[0]["TrainingEndTime"] <= ended[1]["TrainingStartTime"]
    assert [row["Status"] for row in ended[0]["SecondaryStatusTransitions"]][:3] == [
        "Starting",
        "Pending",
        "Downloading",
    ]


def test_waiting_job_can_be_stopped_and_lets_the_next_one_through(own_runtime: RuntimeProcess) -> None:
    jobs = Jobs(own_runtime)
    first = jobs.training("import time; time.sleep(600)", ResourceConfig=SMALL)
    until_training(jobs, first)
    large = jobs.training("print('large')", ResourceConfig=WHOLE_MACHINE)
    behind = jobs.training("print('behind')", ResourceConfig=SMALL)
    until(lambda: describe(jobs, behind)["SecondaryStatus"] == "Pending", 10, "its waiting")
    jobs.sagemaker.stop_training_job(TrainingJobName=large)
    assert jobs.end("training", large)["TrainingJobStatus"] == "Stopped"
    assert jobs.end("training", behind)["TrainingJobStatus"] == "Completed"
    jobs.sagemaker.stop_training_job(TrainingJobName=first)
    jobs.end("training", first)


def test_capacity_of_a_killed_runtimes_jobs_is_held_by_the_next(own_runtime: RuntimeProcess) -> None:
    jobs = Jobs(own_runtime)
    first = jobs.training("import time; time.sleep(4)", ResourceConfig=WHOLE_MACHINE)
    until_training(jobs, first)
    own_runtime.kill()
    own_runtime.start()
    second = jobs.training("print(1)", ResourceConfig=SMALL)
    until(lambda: describe(jobs, second)["SecondaryStatus"] == "Pending", 10, "its waiting")
    assert jobs.end("training", first)["TrainingEndTime"] <= jobs.end("training", second)["TrainingStartTime"]


def test_job_that_eats_memory_dies_alone_and_says_so(jobs: Jobs) -> None:
    peer = jobs.training("import time; time.sleep(8)", ResourceConfig=SMALL)
    share = capacity.share_of("ml.t3.medium").memory_bytes
    script = f"""
import time
held = []
while sum(map(len, held)) < {3 * share}:
    held.append(bytearray(b"x" * (64 << 20)))
    time.sleep(0.02)
time.sleep(600)
"""
    started = time.monotonic()
    description = jobs.end("training", jobs.training(script, ResourceConfig=SMALL))
    assert time.monotonic() - started < 60
    assert description["TrainingJobStatus"] == "Failed"
    reason = description["FailureReason"]
    assert "OutOfMemory" in reason
    assert f"its share of this machine is {share >> 20} MiB as a ml.t3.medium. Use a larger instance type" in reason
    assert jobs.end("training", peer)["TrainingJobStatus"] == "Completed"


def test_memory_of_child_processes_counts_and_what_they_share_counts_once(jobs: Jobs) -> None:
    share = capacity.share_of("ml.t3.medium").memory_bytes
    script = f"""
import os, time
held = bytearray(b"x" * {share // 3})
for _ in range(4):
    if os.fork() == 0:
        time.sleep(2)
        os._exit(0)
for _ in range(4):
    os.wait()
"""
    description = jobs.end("training", jobs.training(script, ResourceConfig=SMALL))
    assert description["TrainingJobStatus"] == "Completed", description["FailureReason"]


@pytest.mark.parametrize("mode", ["Continuous", "EndOfJob"])
def test_continuous_outputs_reach_s3_while_the_job_runs(jobs: Jobs, mode: str) -> None:
    name = jobs.name("continuous")
    output = {"S3Uri": f"s3://bucket/{name}", "LocalPath": "/opt/ml/processing/out", "S3UploadMode": mode}
    jobs.processing(
        "echo one > /opt/ml/processing/out/1; sleep 5; echo two > /opt/ml/processing/out/2", name,
        ProcessingOutputConfig={"Outputs": [{"OutputName": "out", "S3Output": output}]},
    )  # fmt: skip

    def keys() -> list[str]:
        listed = jobs.s3.list_objects_v2(Bucket="bucket", Prefix=f"{name}/").get("Contents", [])
        return [row["Key"].rpartition("/")[2] for row in listed]

    seen_early = False
    while jobs.sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"] == "InProgress":
        seen_early = seen_early or keys() == ["1"]
        time.sleep(0.1)
    assert seen_early == (mode == "Continuous")
    assert keys() == ["1", "2"]


def test_temporary_files_of_a_job_are_its_own_and_go_with_it(jobs: Jobs, runtime: RuntimeProcess) -> None:
    first = jobs.processing("echo mine > /tmp/left && cat /tmp/left")
    assert jobs.end("processing", first)["ProcessingJobStatus"] == "Completed"
    second = jobs.processing("ls -A /tmp")
    assert jobs.end("processing", second)["ProcessingJobStatus"] == "Completed"
    assert "left" not in jobs.lines("processing", second)
    assert not [path for path in runtime.data_dir.glob("jobs/*/algo-1/tmp") if path.exists()]
