"""A DAG of the end-to-end tests: one job that takes its time, waited for in the worker, with a retry."""

from datetime import timedelta

from airflow.sdk import dag

from operators.processing import ProcessingOperator


@dag(schedule=None, catchup=False)  # type: ignore[untyped-decorator]
def waiting() -> None:
    ProcessingOperator(
        task_id="wait",
        module="timeit",
        packages=("pipelines.digits",),
        arguments=["-n", "1", "-r", "1", "import time; time.sleep(15)"],
        instance_type="ml.m5.large",
        deferrable=False,
        retries=1,
        retry_delay=timedelta(seconds=1),
    )


waiting()
