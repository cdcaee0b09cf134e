"""The floor of parse time: a DAG of one task, and nothing else."""

from airflow.sdk import BaseOperator, dag


@dag(schedule=None, catchup=False)  # type: ignore[untyped-decorator]
def empty() -> None:
    BaseOperator(task_id="nothing")


empty()
