"""Score a day's loan applications, and notice when the world has changed.

1. deliver: the day's applications, from a generated stream, and the labels that have become known
2. quality: last night's predictions against the labels that have become known since
3. gate: expectations on them; rows that break one go into quarantine, the others go on
4. features: the applications as batch transform takes them
5. score: batch transform with the champion
6. monitor: the applications against what the champion was trained on; drift that lasts starts lending_training

Runs nightly, and by hand for any day. What was found and decided is on one page: the task monitor's link "Model history".
"""

from datetime import timedelta

from airflow.sdk import Asset, CronTriggerTimetable, Param, chain, dag

from millrace.retraining.policy import RetrainingPolicy
from operators.drift import DriftMonitorOperator
from operators.limit import LIMIT, MAX_COST
from operators.model_quality import ModelQualityOperator
from operators.processing import ProcessingOperator
from operators.quality import QualityGateOperator
from operators.transform import BatchTransformOperator
from pipelines.lending.settings import ID, LABEL, SCORED, settings

SCORES = Asset("lending_scores")
LAST_NIGHT = "{{{{ (inlet_events[0] | list | last).extra.{} if inlet_events[0] else '' }}}}"
YESTERDAY = "{{ macros.ds_add(params.day or (dag_run.logical_date or dag_run.run_after) | ds, -1) }}"
DAY = "{{ params.day or (dag_run.logical_date or dag_run.run_after) | ds }}"


@dag(
    schedule=CronTriggerTimetable("0 1 * * *", timezone="UTC", run_immediately=False),
    catchup=False,
    # A retry adopts the job that still runs.
    default_args={"retries": 1, "retry_delay": timedelta(seconds=20), "max_cost": LIMIT},
    max_active_runs=1,  # a night is judged after the one before it
    tags=["lending"],
    doc_md=__doc__,
    params={
        "day": Param(
            "", type="string", pattern=r"^$|^\d{4}-\d{2}-\d{2}$", title="Day",
            description="A day of the generated world, like 2026-01-12; empty for the run's date",
        ),
        "max_cost": MAX_COST,
    },
)  # fmt: skip
def lending_nightly():
    processing = {"packages": settings.packages, "instance_type": settings.processing_instance}
    deliver = ProcessingOperator(
        task_id="deliver",
        module="pipelines.lending.jobs.deliver",
        arguments=["--day", DAY],
        outputs=("applications", "labels"),
        **processing,
    )
    quality = ModelQualityOperator(
        task_id="quality",
        model=settings.model,
        version=LAST_NIGHT.format("version"),
        predictions=LAST_NIGHT.format("predictions"),
        ground_truth=deliver.output["labels"],
        id_column=ID,
        label_column=LABEL,
        probability_column=SCORED[-1],
        columns=SCORED,
        window=YESTERDAY,
        inlets=[SCORES],
        instance_type=settings.processing_instance,
    )
    gate = QualityGateOperator(
        task_id="gate",
        gate="applications",
        suite="pipelines.lending.expectations:applications",
        data=deliver.output["applications"],
        quarantine=True,
        max_quarantined=settings.most_quarantined,
        model=settings.model,
        window=DAY,
        **processing,
    )
    features = ProcessingOperator(
        task_id="features",
        module="pipelines.lending.jobs.features",
        inputs={"applications": gate.output["accepted"]},
        outputs=("features",),
        **processing,
    )
    score = BatchTransformOperator(
        task_id="score",
        model=settings.model,
        data=features.output["features"],
        instance_type=settings.transform_instance,
        outlets=[SCORES],
        trigger_rule="none_failed",  # on the first night there is no quality to measure
    )
    monitor = DriftMonitorOperator(
        task_id="monitor",
        data=gate.output["accepted"],
        exclude=(ID,),
        model=settings.model,
        window=DAY,
        policy=RetrainingPolicy(
            drifted=settings.drifted_windows,
            windows=settings.judged_windows,
            cool_down=timedelta(days=settings.cool_down_days),
        ),
        asset=Asset("lending_drift"),
        alias="lending_drift_lasted",
        instance_type=settings.processing_instance,
    )
    chain(deliver, gate, features, score)
    chain(quality, score)  # whose event would take the place of last night's
    chain(gate, monitor)


lending_nightly()
