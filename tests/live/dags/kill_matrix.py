"""The DAGs of the kill matrix: each one job whose Python the run's conf holds, waited for in one way.

One DAG for each way of waiting, because retries, timeout and deferrable are fixed when a DAG is parsed; and one for each
case that needs faults of its own, because a fault finds its jobs by name.
"""

import time
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Context, Param

from operators.processing import ProcessingOperator

COMMON: dict[str, Any] = {
    "module": "timeit",
    "packages": ("pipelines.digits",),
    "arguments": ["-n", "1", "-r", "1", "{{ params.code }}"],
    "outputs": ("report",),
    "instance_type": "ml.m5.large",
    "poll_seconds": 2,
    "retry_delay": timedelta(seconds=1),
}
DEFERRED: dict[str, Any] = {"deferrable": True, "retries": 2}
IN_WORKER: dict[str, Any] = {"deferrable": False, "retries": 2}
SHORT = timedelta(seconds=20)


class SlowToRead(ProcessingOperator):
    """Takes its time over the first attempt's result, so that it can be killed while it reads."""

    def harvest(self, description: dict[str, Any], context: Context) -> dict[str, Any]:
        if context["ti"].try_number == 1:
            self.log.info("reading the result")
            time.sleep(120)
        return super().harvest(description, context)


WAYS: dict[str, tuple[type[ProcessingOperator], dict[str, Any]]] = {
    "deferred": (ProcessingOperator, DEFERRED),
    "in_worker": (ProcessingOperator, IN_WORKER),
    "deferred_once": (ProcessingOperator, {"deferrable": True, "retries": 0, "timeout": SHORT}),
    "deferred_twice": (ProcessingOperator, {"deferrable": True, "retries": 1, "timeout": SHORT}),
    "in_worker_once": (ProcessingOperator, {"deferrable": False, "retries": 0, "timeout": SHORT}),
    "adopting": (ProcessingOperator, {**DEFERRED, "on_clear": "adopt"}),
    "slow_result_deferred": (SlowToRead, DEFERRED),
    "slow_result_in_worker": (SlowToRead, IN_WORKER),
    "slow_before_create": (ProcessingOperator, IN_WORKER),
    "slow_after_create": (ProcessingOperator, IN_WORKER),
    "lost_answer": (ProcessingOperator, DEFERRED),
}

for way, (operator, arguments) in WAYS.items():
    with DAG(way, schedule=None, catchup=False, params={"code": Param(type="string")}):
        operator(task_id=way, **COMMON, **arguments)

with DAG("mapped", schedule=None, catchup=False, params={"code": Param(type="string")}):
    ProcessingOperator.partial(task_id="mapped", **COMMON, **IN_WORKER).expand(
        environment=[{"SHARD": str(shard)} for shard in range(3)]
    )
