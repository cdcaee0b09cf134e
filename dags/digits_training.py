"""Train, prove and deploy the digits model.

1. prepare: the shipped digits, or your own source, as raw, train and test tables
2. data_gate: expectations on the raw data
3. train: a convolutional net, on two instances
4. evaluate: accuracy and a confusion matrix on held-back digits, logged to MLflow
5. metrics_gate: good enough, and not worse than the champion
6. register: a version of the model, alias `candidate`
7. approve: a person says yes, in the web UI or through the API
8. deploy: live, asked, and only then alias `champion`
9. baseline: what monitoring compares later batches with

Runs weekly, when drift was found, and by hand.
"""

from datetime import timedelta

from airflow.sdk import Asset, AssetOrTimeSchedule, CronTriggerTimetable, Param, chain, dag

from operators.deploy import DeployEndpointOperator
from operators.drift import DriftBaselineOperator
from operators.limit import LIMIT, MAX_COST
from operators.processing import ProcessingOperator
from operators.quality import QualityGateOperator
from operators.registry import MetricGateOperator, ModelApprovalOperator, RegisterModelOperator
from operators.training import TrainingOperator
from pipelines.digits.settings import LABEL, settings

WEEKLY = CronTriggerTimetable("0 3 * * 1", timezone="UTC", run_immediately=False)


@dag(
    schedule=AssetOrTimeSchedule(timetable=WEEKLY, assets=[Asset("digits_drift")]),
    catchup=False,
    # A retry adopts the job that still runs.
    default_args={"retries": 1, "retry_delay": timedelta(seconds=20), "max_cost": LIMIT},
    max_active_runs=1,  # two runs must not deploy to one endpoint
    tags=["digits"],
    doc_md=__doc__,
    params={
        "source_uri": Param(
            "", type="string", pattern=r"^$|^s3://.+", title="Source",
            description="S3 URI of your own Parquet or CSV (pixel_0 … pixel_63, label); empty for the shipped digits",
        ),
        "approval_required": Param(True, type="boolean", title="Ask a person before deploying"),
        "max_cost": MAX_COST,
    },
)  # fmt: skip
def digits_training():
    # Of equal content, an earlier run's tables, gate and evaluation are taken over.
    processing = {"packages": settings.packages, "instance_type": settings.processing_instance, "cache": True}
    prepare = ProcessingOperator(
        task_id="prepare",
        module="pipelines.digits.jobs.ingest",
        inputs={"source": "{{ params.source_uri }}"},
        outputs=("raw", "train", "test"),
        **processing,
    )
    data_gate = QualityGateOperator(
        task_id="data_gate",
        gate="raw data",
        suite="pipelines.digits.expectations:raw_digits",
        data=prepare.output["raw"],
        **processing,
    )
    train = TrainingOperator(
        task_id="train",
        program="pipelines/digits/jobs/train.py",
        packages=settings.packages,
        channels={"train": prepare.output["train"]},
        hyperparameters=settings.hyperparameters,
        instance_type=settings.training_instance,
        instance_count=settings.training_instances,
        distributed=True,
    )
    evaluate = ProcessingOperator(
        task_id="evaluate",
        module="pipelines.digits.jobs.evaluate",
        inputs={"model": train.output["model"], "test": prepare.output["test"]},
        outputs=("evaluation",),
        verdict="evaluation",
        experiment=settings.model,
        **processing,
    )
    metrics_gate = MetricGateOperator(
        task_id="metrics_gate",
        model=settings.model,
        metrics=evaluate.output,
        least={"accuracy": settings.least_accuracy},
        compared="accuracy",
        tolerance=settings.champion_tolerance,
    )
    register = RegisterModelOperator(
        task_id="register",
        model=settings.model,
        artifact=train.output["model"],
        metrics=evaluate.output,
        run_id=evaluate.output["mlflow_run_id"],
    )
    approve = ModelApprovalOperator(
        task_id="approve",
        subject="Deploy version {{ ti.xcom_pull('register')['version'] }} of the digits model?",
        body="{{ ti.xcom_pull('metrics_gate')['summary'] }}",
        required="{{ params.approval_required }}",
    )
    deploy = DeployEndpointOperator(
        task_id="deploy",
        model=settings.model,
        version=register.output["version"],
        endpoint=settings.model,
        instance_type=settings.serving_instance,
        smoke_body=settings.smoke_body,
    )
    baseline = DriftBaselineOperator(
        task_id="baseline",
        data=prepare.output["train"],
        exclude=(LABEL,),
        model=settings.model,
        version=register.output["version"],
        instance_type=settings.processing_instance,
    )
    chain(prepare, data_gate, train, evaluate, metrics_gate, register, approve, deploy, baseline)


digits_training()
