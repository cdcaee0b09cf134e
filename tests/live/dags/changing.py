"""A DAG whose file a case changes while its job runs."""

from datetime import timedelta

from airflow.sdk import DAG, Param

from operators.processing import ProcessingOperator

VERSION = "first"

with DAG("changing", schedule=None, catchup=False, params={"code": Param(type="string")}):
    ProcessingOperator(
        task_id="changing",
        module="timeit",
        packages=("pipelines.digits",),
        arguments=["-n", "1", "-r", "1", "{{ params.code }}"],
        environment={"VERSION": VERSION},
        instance_type="ml.m5.large",
        poll_seconds=2,
        deferrable=False,
        retries=2,
        retry_delay=timedelta(seconds=1),
    )
