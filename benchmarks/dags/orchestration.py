"""Chains of ten steps that do nothing, or sleep for JOB_SECONDS: the benchmark of orchestration runs each on the same
Airflow and runtime.

One DAG for each way: Airflow alone (the floor), Millrace's ProcessingOperator, and the amazon provider's at its default
interval and at the shortest sensible one, each waiting in the worker and deferred.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerProcessingOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, BaseOperator, chain

from operators.processing import ProcessingOperator

STEPS = 10
SLEEP = f"import time; time.sleep({float(os.environ.get('JOB_SECONDS', '0'))})"
NOTHING = ["-n", "1", "-r", "1", SLEEP]
MOMENT = "{{ (dag_run.run_after.timestamp() * 1000) | int }}"


def millrace(step: int, **options: Any) -> BaseOperator:
    return ProcessingOperator(
        task_id=f"step_{step}",
        module="timeit",
        packages=("pipelines.digits",),
        arguments=NOTHING,
        instance_type="ml.m5.large",
        timeout=timedelta(minutes=10),
        **options,
    )


def provider(step: int, **options: Any) -> BaseOperator:
    config = {
        "ProcessingJobName": f"peer-{MOMENT}-{step}",
        "RoleArn": "arn:aws:iam::123456789012:role/millrace-jobs",
        "AppSpecification": {
            "ImageUri": "local/jobs",
            "ContainerEntrypoint": ["python", "-m", "timeit"],
            "ContainerArguments": NOTHING,
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30}
        },
    }
    return SageMakerProcessingOperator(task_id=f"step_{step}", config=config, **options)


def nothing() -> None:
    """What the floor does."""


def floor(step: int) -> BaseOperator:
    return PythonOperator(task_id=f"step_{step}", python_callable=nothing)


WAYS: dict[str, tuple[Callable[..., BaseOperator], dict[str, Any]]] = {
    "floor": (floor, {}),
    "millrace_deferred": (millrace, {"deferrable": True}),
    "millrace_in_worker": (millrace, {"deferrable": False}),
    "peer_deferred_30s": (provider, {"deferrable": True, "check_interval": 30}),
    "peer_deferred_1s": (provider, {"deferrable": True, "check_interval": 1}),
    "peer_in_worker_30s": (provider, {"deferrable": False, "check_interval": 30}),
    "peer_in_worker_1s": (provider, {"deferrable": False, "check_interval": 1}),
}

for way, (step_of, options) in WAYS.items():
    with DAG(way, schedule=None, catchup=False, tags=["benchmark"]):
        chain(*(step_of(step, **options) for step in range(STEPS)))
