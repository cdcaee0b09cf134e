"""Warm pools: kept for their time, taken over by the next job that fits, and never in another job's way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from millrace.runtime import clock, fault_plan
from millrace.runtime.database import Database
from millrace.runtime.fault_plan import Rule
from millrace.runtime.faults import CrashHost, HoldJob
from tests.runtime.jobs import CLUSTER, Jobs, archive
from tests.runtime.process import IMAGE, RuntimeProcess, needs_sandbox, until

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


@pytest.fixture
def silent_index() -> Iterator[str]:
    """A package index that takes connections and never answers: a job that asks it is staged for ever."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    yield f"http://127.0.0.1:{server.server_port}/simple/"
    server.server_close()


@needs_sandbox
@pytest.mark.parametrize("is_recorded", [True, False], ids=["recorded", "killed-before-it-was-recorded"])
def test_pool_and_its_cache_stay_with_a_job_whose_staging_a_kill_has_cut_off(
    jobs: Jobs, own_runtime: RuntimeProcess, silent_index: str, is_recorded: bool
) -> None:
    first = train(jobs)
    jobs.end("training", first)
    packages, code = own_runtime.data_dir / "packages", "code/silent.tar.gz"
    requirements = f"--index-url {silent_index}\n--retries 0\n--timeout 4\nsix\n"
    jobs.put(code, archive({"train.py": "", "requirements.txt": requirements}))
    second = jobs.training(
        "", ResourceConfig={**WHOLE_MACHINE, "KeepAlivePeriodInSeconds": 600},
        HyperParameters={"sagemaker_program": "train.py", "sagemaker_submit_directory": f"s3://bucket/{code}"},
    )  # fmt: skip
    until(lambda: list(packages.glob("new-*")), 20, "the installation, in the midst of staging")
    own_runtime.kill()
    if not is_recorded:
        _rewrite(own_runtime, first, Status="Available", ReusedByJob=None)
    own_runtime.start()
    until(lambda: list(packages.glob("new-*")), 20, "the installation again")
    assert (pool(jobs, first)["Status"], pool(jobs, first)["ReusedByJob"]) == ("Reused", second)
    assert pool(jobs, second)["Status"] == "InUse"
    assert [(cache / "runs").read_text() for cache in _kept(own_runtime)] == ["x\n"]
    jobs.sagemaker.stop_training_job(TrainingJobName=second)
    assert jobs.end("training", second)["TrainingJobStatus"] == "Stopped"
    until(lambda: not _kept(own_runtime), 10, "the removal of a cache that nobody will find")


def test_pool_keeps_its_cache_when_the_runtime_is_killed_before_it_is_put_aside(
    jobs: Jobs, own_runtime: RuntimeProcess
) -> None:
    first = train(jobs)
    jobs.end("training", first)
    (kept,) = until(lambda: _kept(own_runtime), 10)
    own_runtime.kill()
    left = kept.parents[1] / "algo-1/ml/sagemaker/warmpoolcache"
    left.parent.mkdir(parents=True)
    kept.rename(left)
    own_runtime.start()
    assert jobs.model_files(jobs.end("training", train(jobs)))["runs"] == b"x\nx\n"


def test_cache_of_a_pool_that_was_ended_just_before_a_kill_is_removed(jobs: Jobs, own_runtime: RuntimeProcess) -> None:
    first = train(jobs)
    jobs.end("training", first)
    until(lambda: _kept(own_runtime), 10, "the cache put aside")
    own_runtime.kill()
    _rewrite(own_runtime, first, Status="Terminated")
    own_runtime.start()
    until(lambda: not _kept(own_runtime), 10, "the removal")


def test_job_that_is_stopped_while_it_waits_for_another_host_has_no_pool_in_use(
    jobs: Jobs, own_runtime: RuntimeProcess
) -> None:
    held = Rule(HoldJob(hold_seconds=1), operation="CreateTrainingJob", name="first", times=1)
    struck = Rule(CrashHost(run_seconds=3), operation="CreateTrainingJob", name="second", times=1)
    fault_plan.write(own_runtime.data_dir, [held, struck])
    train(jobs, seconds=0, name="first", script="sleep 600")
    train(jobs, name="second", script="sleep 600", ResourceConfig={**CLUSTER, "KeepAlivePeriodInSeconds": 600},
          RetryStrategy={"MaximumRetryAttempts": 1})  # fmt: skip
    until(lambda: _secondary(jobs, "first") == "Training", 20, "the start of the job that came first")
    until(lambda: _secondary(jobs, "second") == "Pending", 20, "the wait for another host")
    jobs.sagemaker.stop_training_job(TrainingJobName="second")
    assert jobs.end("training", "second")["TrainingJobStatus"] == "Stopped"
    assert pool(jobs, "second")["Status"] == "Terminated"


def _secondary(jobs: Jobs, name: str) -> str:
    return str(jobs.sagemaker.describe_training_job(TrainingJobName=name)["SecondaryStatus"])


def _kept(runtime: RuntimeProcess) -> list[Path]:
    """The caches that are put aside."""
    return list(runtime.data_dir.glob("jobs/*/warm/0"))


def _rewrite(runtime: RuntimeProcess, name: str, **pool: Any) -> None:
    """Let the record of a pool be what a kill has left, while the runtime is down."""
    database = Database(runtime.data_dir / "runtime.sqlite")
    database.change("training-job", name, lambda document: document["warm_pool"].update(pool))
    database.close()


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
