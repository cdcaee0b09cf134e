"""Warm pools: kept for their time, taken over by the next job that fits, and never in another job's way."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from millrace.runtime import clock, fault_plan
from millrace.runtime.fault_plan import Rule
from millrace.runtime.faults import HoldJob
from tests.runtime.jobs import CLUSTER, Jobs
from tests.runtime.process import IMAGE, RuntimeProcess, until

WHOLE_MACHINE = {**CLUSTER, "InstanceType": "ml.m5.24xlarge"}
COUNT = (
    "mkdir -p sagemaker/warmpoolcache; echo x >> sagemaker/warmpoolcache/runs; cp sagemaker/warmpoolcache/runs model/"
)


@pytest.fixture
def jobs(own_runtime: RuntimeProcess) -> Jobs:
    return Jobs(own_runtime)


def train(jobs: Jobs, seconds: int = 600, script: str = COUNT, **changes: Any) -> str:
    resources = {**WHOLE_MACHINE, "KeepAlivePeriodInSeconds": seconds} if seconds else WHOLE_MACHINE
    entrypoint = {"ContainerEntrypoint": ["/bin/sh", "-c", f"cd ${{SAGEMAKER_BASE_DIR:-/opt/ml}}; {script}"]}
    return jobs.training(
        "", **{"ResourceConfig": resources, **changes},
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File", **entrypoint},
    )  # fmt: skip


def pool(jobs: Jobs, name: str) -> dict[str, Any]:
    found: dict[str, Any] = jobs.sagemaker.describe_training_job(TrainingJobName=name)["WarmPoolStatus"]
    return found


def test_next_job_like_it_takes_the_pool_over_with_what_lies_in_its_cache(jobs: Jobs) -> None:
    first = train(jobs)
    assert jobs.model_files(jobs.end("training", first))["runs"] == b"x\n"
    assert pool(jobs, first)["Status"] == "Available"
    second = train(jobs, script=f"{COUNT}; sleep 1")
    until(lambda: pool(jobs, first)["Status"] == "Reused", 10, "the pool's reuse")
    assert pool(jobs, first)["ReusedByJob"] == second
    assert pool(jobs, second)["Status"] == "InUse"
    in_use = jobs.sagemaker.list_training_jobs(WarmPoolStatusEquals="InUse")["TrainingJobSummaries"]
    assert [row["TrainingJobName"] for row in in_use] == [second]
    description = jobs.end("training", second)
    assert jobs.model_files(description)["runs"] == b"x\nx\n"
    assert "Pending" not in [row["Status"] for row in description["SecondaryStatusTransitions"]]
    assert pool(jobs, second)["Status"] == "Available"
    listed = jobs.sagemaker.list_training_jobs(WarmPoolStatusEquals="Available")["TrainingJobSummaries"]
    assert [row["TrainingJobName"] for row in listed] == [second]
    with pytest.raises(botocore.exceptions.ClientError, match="has a warm pool that is Available"):
        jobs.sagemaker.delete_training_job(TrainingJobName=second)


@pytest.mark.parametrize(
    "changes",
    [{"RoleArn": "arn:aws:iam::123456789012:role/another"}, {"EnableInterContainerTrafficEncryption": True}],
)
def test_job_that_differs_does_not_fit_and_the_pool_makes_room(jobs: Jobs, changes: dict[str, Any]) -> None:
    first = train(jobs)
    jobs.end("training", first)
    second = train(jobs, seconds=0, **changes)
    assert jobs.model_files(jobs.end("training", second))["runs"] == b"x\n"
    assert pool(jobs, first)["Status"] == "Terminated"


def test_capacity_that_a_pool_gives_up_is_for_the_job_that_came_first(own_runtime: RuntimeProcess) -> None:
    jobs, half = Jobs(own_runtime), {**CLUSTER, "InstanceType": "ml.m5.2xlarge"}
    for role in ("one", "two"):
        resources = {**half, "KeepAlivePeriodInSeconds": 600}
        jobs.end("training", train(jobs, RoleArn=f"arn:aws:iam::123456789012:role/{role}", ResourceConfig=resources))
    held = Rule(HoldJob(hold_seconds=1.5), operation="CreateTrainingJob", times=2)
    fault_plan.write(own_runtime.data_dir, [held])
    large = train(jobs, seconds=0)
    small = train(jobs, seconds=0, ResourceConfig=half)
    ended = [jobs.end("training", name) for name in (large, small)]
    assert [job["TrainingJobStatus"] for job in ended] == ["Completed", "Completed"]
    assert ended[0]["TrainingEndTime"] <= ended[1]["TrainingStartTime"]


def test_time_ends_a_pool_and_its_capacity_is_free(jobs: Jobs, own_runtime: RuntimeProcess) -> None:
    first = train(jobs, seconds=3600)
    jobs.end("training", first)
    clock.advance(own_runtime.data_dir, 3601)
    until(lambda: pool(jobs, first)["Status"] == "Terminated", 10, "the pool's end")
    assert pool(jobs, first)["ResourceRetainedBillableTimeInSeconds"] == 3600
    second = train(jobs)
    assert jobs.model_files(jobs.end("training", second))["runs"] == b"x\n"


def test_pool_survives_the_runtime(jobs: Jobs, own_runtime: RuntimeProcess) -> None:
    first = train(jobs)
    jobs.end("training", first)
    own_runtime.kill()
    own_runtime.start()
    second = train(jobs)
    assert jobs.model_files(jobs.end("training", second))["runs"] == b"x\nx\n"
    assert pool(jobs, first)["ReusedByJob"] == second
    assert pool(jobs, first)["ResourceRetainedBillableTimeInSeconds"] < 30


def test_update_keeps_a_pool_longer_or_ends_it(jobs: Jobs, own_runtime: RuntimeProcess) -> None:
    name = train(jobs, seconds=100)
    jobs.end("training", name)
    jobs.sagemaker.update_training_job(TrainingJobName=name, ResourceConfig={"KeepAlivePeriodInSeconds": 1000})
    clock.advance(own_runtime.data_dir, 500)
    time.sleep(0.5)
    assert pool(jobs, name)["Status"] == "Available"
    jobs.sagemaker.update_training_job(TrainingJobName=name, ResourceConfig={"KeepAlivePeriodInSeconds": 0})
    assert pool(jobs, name)["Status"] == "Terminated"
    with pytest.raises(botocore.exceptions.ClientError, match="has no warm pool that is Available"):
        jobs.sagemaker.update_training_job(TrainingJobName=name, ResourceConfig={"KeepAlivePeriodInSeconds": 5})
    jobs.sagemaker.delete_training_job(TrainingJobName=name)


def test_job_of_another_kind_is_not_disturbed_by_a_pool(jobs: Jobs) -> None:
    jobs.end("training", train(jobs, ResourceConfig={**CLUSTER, "KeepAlivePeriodInSeconds": 600}))
    assert jobs.end("processing", jobs.processing("true"))["ProcessingJobStatus"] == "Completed"


def test_failed_job_leaves_no_pool(jobs: Jobs) -> None:
    name = train(jobs, script="exit 1")
    jobs.end("training", name)
    assert pool(jobs, name)["Status"] == "Terminated"


def test_link_in_the_caches_place_is_not_kept(jobs: Jobs, tmp_path: Path) -> None:
    for name in ("secret", "warmpoolcache"):
        (tmp_path / name).mkdir()
    for planted in (f"mkdir sagemaker; ln -s {tmp_path}/secret sagemaker/warmpoolcache", f"ln -s {tmp_path} sagemaker"):
        name = train(jobs, script=planted)
        jobs.end("training", name)
        assert pool(jobs, name)["Status"] == "Available"
        assert not list(jobs.runtime.data_dir.glob("jobs/*/warm/*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret", "warmpoolcache"]


@pytest.mark.parametrize(
    "changes",
    [
        {
            "EnableManagedSpotTraining": True,
            "StoppingCondition": {"MaxRuntimeInSeconds": 10, "MaxWaitTimeInSeconds": 20},
        },
        {
            "ResourceConfig": {
                "VolumeSizeInGB": 1,
                "KeepAlivePeriodInSeconds": 60,
                "InstanceGroups": [{"InstanceGroupName": "g", "InstanceType": "ml.m5.large", "InstanceCount": 1}],
            }
        },
    ],
)
def test_pool_is_refused_where_sagemaker_has_none(jobs: Jobs, changes: dict[str, Any]) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match=r"\(a warm pool\) cannot be used with"):
        train(jobs, **changes)
