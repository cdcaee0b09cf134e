"""Tasks that wait for jobs, by the fifty: the benchmark of waiting makes runs of this DAG and defers every task of them."""

from airflow.sdk import BaseOperator, dag

from operators.processing import ProcessingOperator

TASKS = 50


@dag(schedule=None, catchup=False)  # type: ignore[untyped-decorator]
def waiting() -> None:
    BaseOperator(task_id="ticker")
    for number in range(TASKS):
        ProcessingOperator(
            task_id=f"wait_{number}",
            module="timeit",
            packages=("pipelines.digits",),
            instance_type="ml.m5.large",
        )


waiting()
