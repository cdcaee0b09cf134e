"""Clients that are not ours: the AWS CLI, and the amazon provider's own SageMaker operators, unchanged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.jobs import CLUSTER, Jobs, archive
from tests.runtime.process import IMAGE, REGION, ROLE, RuntimeProcess

AWS = str(Path(sys.executable).with_name("aws"))
PROVIDER = """
import json, sys
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerEndpointOperator, SageMakerTrainingOperator
training, endpoint = json.loads(sys.stdin.read())
for operator in (
    SageMakerTrainingOperator(task_id="t", config=training, check_interval=1, print_log=True, wait_for_completion=True),
    SageMakerEndpointOperator(task_id="e", config=endpoint, check_interval=1, wait_for_completion=True),
):
    operator.execute({})
print("both done")
"""


def test_aws_cli_runs_a_job_and_reads_its_log(jobs: Jobs, runtime: RuntimeProcess) -> None:
    environment = {
        "PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": runtime.url, "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_PAGER": "",
    }  # fmt: skip

    def aws(*arguments: str) -> Any:
        done = subprocess.run([AWS, *arguments], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else None

    name = jobs.name("cli")
    application = {"ImageUri": IMAGE, "ContainerEntrypoint": ["/bin/echo", "hello from the command line"]}
    created = aws(
        "sagemaker", "create-processing-job", "--processing-job-name", name, "--role-arn", ROLE,
        "--app-specification", json.dumps(application),
        "--processing-resources", json.dumps({"ClusterConfig": CLUSTER}),
    )  # fmt: skip
    assert created["ProcessingJobArn"].endswith(name)
    assert jobs.end("processing", name)["ProcessingJobStatus"] == "Completed"
    described = aws("sagemaker", "describe-processing-job", "--processing-job-name", name)
    assert described["ProcessingJobStatus"] == "Completed"
    group = "/aws/sagemaker/ProcessingJobs"
    events = aws("logs", "filter-log-events", "--log-group-name", group, "--log-stream-name-prefix", name)["events"]
    assert [event["message"] for event in events] == ["hello from the command line"]
    assert aws("sts", "get-caller-identity")["Account"] == "123456789012"


@pytest.mark.e2e  # the provider sleeps 30 seconds before its first look
def test_amazon_providers_own_operators_train_and_deploy(jobs: Jobs, runtime: RuntimeProcess, tmp_path: Path) -> None:
    training_name, model, config, endpoint = (jobs.name(what) for what in ("train", "model", "config", "endpoint"))
    code = jobs.put(f"code/{training_name}.tar.gz", archive({"train.py": "print('trained by the provider')"}))
    handlers = "def model_fn(d): return 1\ndef transform_fn(m, b, c, a): return b.decode() + '!'\n"
    data = jobs.put(f"models/{model}.tar.gz", archive({"code/inference.py": handlers}))
    training = {
        "TrainingJobName": training_name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": {"sagemaker_program": "train.py", "sagemaker_submit_directory": code},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/provider"},
        "ResourceConfig": CLUSTER,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    variant = {"VariantName": "v", "ModelName": model, "InstanceType": "ml.c5.large", "InitialInstanceCount": 1}
    deployment = {
        "Model": {"ModelName": model, "ExecutionRoleArn": ROLE,
                  "PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": data}},
        "EndpointConfig": {"EndpointConfigName": config, "ProductionVariants": [variant]},
        "Endpoint": {"EndpointName": endpoint, "EndpointConfigName": config},
    }  # fmt: skip
    connection = {"conn_type": "aws", "login": "any", "password": "any",
                  "extra": {"region_name": REGION, "endpoint_url": runtime.url}}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PROVIDER],
        input=json.dumps([training, deployment]),
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AIRFLOW_HOME": str(tmp_path),
             "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "both done" in done.stdout
    assert "trained by the provider" in done.stdout + done.stderr
    answer = runtime.client("sagemaker-runtime").invoke_endpoint(EndpointName=endpoint, Body=b"hello")
    assert answer["Body"].read() == b"hello!"
