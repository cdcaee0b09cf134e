"""Hold the latest batch of digits against what the champion was trained on.

1. batch: the latest images, clean or really drifted, or your own
2. monitor: statistics, violations and a report; on drift, and only then, an event that starts digits_training

Runs daily, and by hand.
"""

from datetime import timedelta

from airflow.sdk import Asset, CronTriggerTimetable, Param, chain, dag

from operators.drift import DriftMonitorOperator
from operators.limit import LIMIT, MAX_COST
from operators.processing import ProcessingOperator
from pipelines.digits.settings import settings


@dag(
    schedule=CronTriggerTimetable("0 4 * * *", timezone="UTC", run_immediately=False),
    catchup=False,
    # A retry adopts the job that still runs.
    default_args={"retries": 1, "retry_delay": timedelta(seconds=20), "max_cost": LIMIT},
    max_active_runs=2,
    tags=["digits"],
    doc_md=__doc__,
    params={
        "batch": Param("clean", enum=["clean", "drifted"], title="Which of the held-back digits to look at"),
        "source_uri": Param(
            "", type="string", pattern=r"^$|^s3://.+", title="Batch",
            description="S3 URI of your own Parquet or CSV (pixel_0 … pixel_63); empty for held-back digits",
        ),
        "max_cost": MAX_COST,
    },
)  # fmt: skip
def digits_monitoring():
    batch = ProcessingOperator(
        task_id="batch",
        module="pipelines.digits.jobs.batch",
        arguments=["--kind", "{{ params.batch }}"],
        inputs={"source": "{{ params.source_uri }}"},
        outputs=("batch", "features", "verdict"),
        verdict="verdict",
        packages=settings.packages,
        instance_type=settings.processing_instance,
    )
    monitor = DriftMonitorOperator(
        task_id="monitor",
        data=batch.output["batch"],
        model=settings.model,
        asset=Asset("digits_drift"),
        alias="digits_drift_found",
        instance_type=settings.processing_instance,
    )
    chain(batch, monitor)


digits_monitoring()
