"""A DAG whose file a case changes while its job runs."""

from datetime import timedelta

from airflow.sdk import DAG, Param

from operators.processing import ProcessingOperator

VERSION = "first"
CODE = "import time; print('the job sleeps', flush=True); time.sleep({{ params.seconds }})"

with DAG("changing", schedule=None, catchup=False, params={"seconds": Param(5, type="number")}):
    ProcessingOperator(
        task_id="changing",
        module="timeit",
        packages=("pipelines.digits",),
        arguments=["-n", "1", "-r", "1", CODE],
        environment={"VERSION": VERSION},
        instance_type="ml.m5.large",
        poll_seconds=2,
        deferrable=False,
        retries=2,
        retry_delay=timedelta(seconds=1),
    )
