"""Find what still runs in this deployment though no task waits for it, and end it when told to.

A job is an orphan when its run is gone, its task has ended, or a later generation of it runs; an endpoint, when the
deployment that was changing it was abandoned. Whatever is not certain is reported as unknown and left alone.

Runs hourly and reports. To end what it finds, trigger it with `stop`; to have it do so every hour, set
`MILLRACE_RECONCILER_STOPS=true` where Airflow parses its DAGs.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Param, dag

from operators.reconcile import ReconcileOperator, stops_by_default


@dag(
    schedule=CronTriggerTimetable("17 * * * *", timezone="UTC", run_immediately=False),
    catchup=False,
    default_args={"retries": 1, "retry_delay": timedelta(minutes=1)},
    max_active_runs=1,
    tags=["millrace"],
    doc_md=__doc__,
    params={
        "stop": Param(
            stops_by_default(), type="boolean", title="End the orphans",
            description="Stop the jobs, put back or delete the endpoints; otherwise they are only reported",
        ),
    },
)  # fmt: skip
def millrace_reconciler():
    ReconcileOperator(task_id="reconcile", stop="{{ params.stop }}")


millrace_reconciler()
