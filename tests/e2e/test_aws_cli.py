"""The AWS CLI, which shares nothing with our own client code, runs a processing and a training job and moves objects."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.process import IMAGE, REGION, ROLE, RuntimeProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
CLUSTER = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}


class Cli:
    """`aws`, pointed at a runtime and at nothing else."""

    def __init__(self, runtime: RuntimeProcess, home: Path) -> None:
        self._environment = {
            "PATH": str(Path(sys.executable).parent), "HOME": str(home), "AWS_ENDPOINT_URL": runtime.url,
            "AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip

    def __call__(self, *words: str, request: dict[str, Any] | None = None) -> Any:
        """Run a command and return its JSON document, or its output where it prints something else."""
        extra = ["--cli-input-json", json.dumps(request)] if request else []
        aws = str(Path(sys.executable).with_name("aws"))
        done = subprocess.run(
            [aws, *words, *extra], env=self._environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        try:
            return json.loads(done.stdout or "{}")
        except ValueError:
            return done.stdout


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    process = RuntimeProcess(tmp_path_factory.mktemp("runtime"))
    process.start()
    yield process
    process.end_everything()


@pytest.fixture(scope="module")
def aws(runtime: RuntimeProcess, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    cli = Cli(runtime, tmp_path_factory.mktemp("home"))
    cli("s3", "mb", "s3://bucket")
    return cli


def test_objects_are_synced_both_ways(aws: Cli, tmp_path: Path) -> None:
    (tmp_path / "there/deep").mkdir(parents=True)
    (tmp_path / "there/a.txt").write_text("a")
    (tmp_path / "there/deep/large.bin").write_bytes(b"x" * (9 << 20))  # in parts
    aws("s3", "sync", str(tmp_path / "there"), "s3://bucket/synced")
    aws("s3", "sync", "s3://bucket/synced", str(tmp_path / "back"))
    assert (tmp_path / "back/a.txt").read_text() == "a"
    assert (tmp_path / "back/deep/large.bin").stat().st_size == 9 << 20
    listed = aws("s3api", "list-objects-v2", "--bucket", "bucket", "--prefix", "synced/")
    assert [row["Key"] for row in listed["Contents"]] == ["synced/a.txt", "synced/deep/large.bin"]
    aws("s3", "rm", "--recursive", "s3://bucket/synced")
    assert "Contents" not in aws("s3api", "list-objects-v2", "--bucket", "bucket", "--prefix", "synced/")


def test_processing_job_runs_its_life(aws: Cli, tmp_path: Path) -> None:
    output = {"S3Uri": "s3://bucket/out", "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}
    aws(
        "sagemaker", "create-processing-job",
        request={
            "ProcessingJobName": "from-the-cli", "RoleArn": ROLE,
            "AppSpecification": {
                "ImageUri": IMAGE, "ContainerEntrypoint": ["/bin/sh", "-c", "echo hi | tee /opt/ml/processing/out/hi"],
            },
            "ProcessingResources": {"ClusterConfig": CLUSTER},
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": output}]},
        },
    )  # fmt: skip
    aws("sagemaker", "wait", "processing-job-completed-or-stopped", "--processing-job-name", "from-the-cli")
    described = aws("sagemaker", "describe-processing-job", "--processing-job-name", "from-the-cli")
    assert described["ProcessingJobStatus"] == "Completed"
    assert aws("s3", "cp", "s3://bucket/out/hi", "-") == "hi\n"
    streams = aws("logs", "describe-log-streams", "--log-group-name", "/aws/sagemaker/ProcessingJobs")["logStreams"]
    lines = aws(
        "logs", "get-log-events", "--log-group-name", "/aws/sagemaker/ProcessingJobs",
        "--log-stream-name", streams[0]["logStreamName"],
    )  # fmt: skip
    assert [event["message"] for event in lines["events"]] == ["hi"]
    assert aws("sts", "get-caller-identity")["Account"] == "123456789012"


def test_training_job_is_stopped_listed_and_deleted(aws: Cli) -> None:
    aws(
        "sagemaker", "create-training-job",
        request={
            "TrainingJobName": "from-the-cli", "RoleArn": ROLE,
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE, "TrainingInputMode": "File", "ContainerEntrypoint": ["/bin/sh", "-c", "sleep 600"],
            },
            "ResourceConfig": CLUSTER, "StoppingCondition": {"MaxRuntimeInSeconds": 600},
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
        },
    )  # fmt: skip
    active = aws("sagemaker", "list-training-jobs", "--status-equals", "InProgress")["TrainingJobSummaries"]
    assert [row["TrainingJobName"] for row in active] == ["from-the-cli"]
    aws("sagemaker", "stop-training-job", "--training-job-name", "from-the-cli")
    aws("sagemaker", "wait", "training-job-completed-or-stopped", "--training-job-name", "from-the-cli")
    described = aws("sagemaker", "describe-training-job", "--training-job-name", "from-the-cli")
    assert described["TrainingJobStatus"] == "Stopped"
    aws("sagemaker", "delete-training-job", "--training-job-name", "from-the-cli")
    assert aws("sagemaker", "list-training-jobs")["TrainingJobSummaries"] == []
