"""The amazon provider's own SageMaker operators, unchanged, sync and deferrable. One sleeps 30 s before its first look."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.jobs import CLUSTER, Jobs, archive
from tests.runtime.process import IMAGE, REGION, ROLE, RuntimeProcess, running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
SYNC = """
import json, sys
from airflow.providers.amazon.aws.operators import sagemaker
training, processing, endpoint = json.loads(sys.stdin.read())
waiting = {"check_interval": 1, "wait_for_completion": True}
for operator in (
    sagemaker.SageMakerTrainingOperator(task_id="t", config=training, print_log=True, **waiting),
    sagemaker.SageMakerProcessingOperator(task_id="p", config=processing, **waiting),
    sagemaker.SageMakerEndpointOperator(task_id="e", config=endpoint, **waiting),
):
    operator.execute({})
print("all done")
"""
DEFERRABLE = """
import asyncio, json, sys
from airflow.providers.amazon.aws.operators import sagemaker
from airflow.sdk.exceptions import TaskDeferred
training, processing = json.loads(sys.stdin.read())

async def event_of(trigger):
    async for event in trigger.run():
        return event.payload

for operator in (
    sagemaker.SageMakerTrainingOperator(task_id="t", config=training, check_interval=1, deferrable=True),
    sagemaker.SageMakerProcessingOperator(task_id="p", config=processing, check_interval=1, deferrable=True),
):
    try:
        operator.execute({})
        sys.exit(f"{operator.task_id} did not defer")
    except TaskDeferred as deferred:
        event = asyncio.run(event_of(deferred.trigger))
        getattr(operator, deferred.method_name)({}, event=event)
    print(operator.task_id, "ended after", event["status"])
print("all done")
"""
ASYNC_PACKAGES = ("aiobotocore==3.10.0", "boto3==1.43.117")
"""What the provider's triggers need; it holds botocore back, so it lies in a folder of its own before the rest."""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    with running(tmp_path_factory.mktemp("runtime")) as process:
        yield process


@pytest.fixture
def jobs(runtime: RuntimeProcess) -> Jobs:
    return Jobs(runtime)


def run(runtime: RuntimeProcess, home: Path, program: str, requests: list[Any], *before: Path) -> str:
    """Run a program of the provider's, and return what it printed and logged."""
    connection = {"conn_type": "aws", "login": "any", "password": "any",
                  "extra": {"region_name": REGION, "endpoint_url": runtime.url}}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "AIRFLOW_HOME": str(home),
             "PYTHONPATH": os.pathsep.join(map(str, before)), "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "all done" in done.stdout
    return done.stdout + done.stderr


def training_request(jobs: Jobs, says: str) -> dict[str, Any]:
    name = jobs.name("train")
    code = jobs.put(f"code/{name}.tar.gz", archive({"train.py": f"import time; time.sleep(2); print({says!r})"}))
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": {"sagemaker_program": "train.py", "sagemaker_submit_directory": code},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/provider"},
        "ResourceConfig": CLUSTER,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }


def processing_request(jobs: Jobs) -> dict[str, Any]:
    name = jobs.name("process")
    output = {"S3Uri": f"s3://bucket/{name}", "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}
    return {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "AppSpecification": {
            "ImageUri": IMAGE,
            "ContainerEntrypoint": ["/bin/sh", "-c", "sleep 2; echo done > /opt/ml/processing/out/result"],
        },
        "ProcessingResources": {"ClusterConfig": CLUSTER},
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": output}]},
    }


def result(jobs: Jobs, request: dict[str, Any]) -> bytes:
    found = jobs.s3.get_object(Bucket="bucket", Key=f"{request['ProcessingJobName']}/result")["Body"].read()
    return bytes(found)


def test_amazon_providers_operators_train_process_and_deploy(
    jobs: Jobs, runtime: RuntimeProcess, tmp_path: Path
) -> None:
    model, config, endpoint = (jobs.name(what) for what in ("model", "config", "endpoint"))
    handlers = "def model_fn(d): return 1\ndef transform_fn(m, b, c, a): return b.decode() + '!'\n"
    data = jobs.put(f"models/{model}.tar.gz", archive({"code/inference.py": handlers}))
    variant = {"VariantName": "v", "ModelName": model, "InstanceType": "ml.c5.large", "InitialInstanceCount": 1}
    deployment = {
        "Model": {"ModelName": model, "ExecutionRoleArn": ROLE,
                  "PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": data}},
        "EndpointConfig": {"EndpointConfigName": config, "ProductionVariants": [variant]},
        "Endpoint": {"EndpointName": endpoint, "EndpointConfigName": config},
    }  # fmt: skip
    processing = processing_request(jobs)
    training = training_request(jobs, "trained by the provider")
    assert "trained by the provider" in run(runtime, tmp_path, SYNC, [training, processing, deployment])
    assert result(jobs, processing) == b"done\n"
    answer = runtime.client("sagemaker-runtime").invoke_endpoint(EndpointName=endpoint, Body=b"hello")
    assert answer["Body"].read() == b"hello!"


def test_amazon_providers_deferrable_operators_train_and_process(
    jobs: Jobs, runtime: RuntimeProcess, tmp_path: Path
) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    overlay = tmp_path / "async"
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", sys.executable, "--target", str(overlay), *ASYNC_PACKAGES],
        check=True,
    )
    training, processing = training_request(jobs, "trained deferred"), processing_request(jobs)
    said = run(runtime, tmp_path, DEFERRABLE, [training, processing], overlay)
    assert "t ended after success" in said
    assert "p ended after success" in said
    assert jobs.end("training", training["TrainingJobName"])["TrainingJobStatus"] == "Completed"
    assert result(jobs, processing) == b"done\n"
