"""Score the latest batch of digits with the champion.

1. batch: the latest images, or your own
2. batch_gate: expectations on them
3. score: batch transform, predictions joined to their input
4. predictions_gate: one prediction for each image, each a digit

Runs nightly, and by hand.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Param, chain, dag

from operators.limit import LIMIT, MAX_COST
from operators.processing import ProcessingOperator
from operators.quality import QualityGateOperator
from operators.transform import BatchTransformOperator
from pipelines.digits.settings import PREDICTION_COLUMNS, settings


@dag(
    schedule=CronTriggerTimetable("0 2 * * *", timezone="UTC", run_immediately=False),
    catchup=False,
    # A retry adopts the job that still runs.
    default_args={"retries": 1, "retry_delay": timedelta(seconds=20), "max_cost": LIMIT},
    max_active_runs=1,
    tags=["digits"],
    doc_md=__doc__,
    params={
        "source_uri": Param(
            "", type="string", pattern=r"^$|^s3://.+", title="Batch",
            description="S3 URI of your own Parquet or CSV (pixel_0 … pixel_63); empty for held-back digits",
        ),
        "max_cost": MAX_COST,
    },
)  # fmt: skip
def digits_scoring():
    processing = {"packages": settings.packages, "instance_type": settings.processing_instance}
    batch = ProcessingOperator(
        task_id="batch",
        module="pipelines.digits.jobs.batch",
        inputs={"source": "{{ params.source_uri }}"},
        outputs=("batch", "features", "verdict"),
        verdict="verdict",
        **processing,
    )
    batch_gate = QualityGateOperator(
        task_id="batch_gate",
        gate="incoming batch",
        suite="pipelines.digits.expectations:incoming_digits",
        data=batch.output["batch"],
        **processing,
    )
    score = BatchTransformOperator(
        task_id="score",
        model=settings.model,
        data=batch.output["features"],
        instance_type=settings.transform_instance,
    )
    predictions_gate = QualityGateOperator(
        task_id="predictions_gate",
        gate="predictions",
        suite="pipelines.digits.expectations:scored_digits",
        settings={"rows": "{{ ti.xcom_pull('batch')['metrics']['rows'] | int }}"},
        data=score.output["predictions"],
        columns=PREDICTION_COLUMNS,
        **processing,
    )
    chain(batch, batch_gate, score, predictions_gate)


digits_scoring()
