"""A DAG of every operator, each with the least to do: what an Airflow worker with the core installation must run."""

from typing import Any

from airflow.sdk import Asset, chain, dag

from operators.attribution import AttributionDriftOperator
from operators.challenge import ChallengeOperator
from operators.delete import DeleteEndpointOperator
from operators.deploy import DeployEndpointOperator
from operators.drift import DriftBaselineOperator, DriftMonitorOperator
from operators.gates import BaselineGateOperator, FairnessGateOperator
from operators.invoke import InvokeEndpointOperator
from operators.model_quality import ModelQualityOperator
from operators.processing import ProcessingOperator
from operators.quality import QualityGateOperator
from operators.quality_shards import QualityShardsOperator
from operators.reconcile import ReconcileOperator
from operators.registry import (
    MetricGateOperator,
    ModelApprovalOperator,
    PromoteModelOperator,
    RegisterModelOperator,
)
from operators.training import TrainingOperator
from operators.transform import BatchTransformOperator

JOBS = "tests.e2e.core_jobs"
SMALL: dict[str, Any] = {"instance_type": "ml.m5.large", "poll_seconds": 1}
MODEL = "ages"


@dag(schedule=None, catchup=False)  # type: ignore[untyped-decorator]
def every_operator() -> None:
    code: dict[str, Any] = {"packages": (JOBS,), **SMALL}
    table = ProcessingOperator(
        task_id="table",
        module=f"{JOBS}.table",
        outputs=("table", "rows", "predictions", "labels"),
        cache=True,
        max_cost=5,
        **code,
    )
    gate = QualityGateOperator(
        task_id="gate", gate="ages", suite=f"{JOBS}.suites:ages", data=table.output["table"], **code
    )
    shards = QualityShardsOperator(
        task_id="shards", suite=f"{JOBS}.suites:ages", data=table.output["table"], instance_count=2, **code
    )
    merged = QualityGateOperator(
        task_id="merged", gate="ages", suite=f"{JOBS}.suites:ages", parts=shards.output["parts"], **code
    )
    train = TrainingOperator(
        task_id="train", program="tests/e2e/core_jobs/train.py", channels={"train": table.output["rows"]}, **code
    )
    evaluate = ProcessingOperator(
        task_id="evaluate", module=f"{JOBS}.evaluate", inputs={"model": train.output["model"]}, outputs=("evaluation",),
        verdict="evaluation", experiment=MODEL, **code,
    )  # fmt: skip
    metric_gate = MetricGateOperator(
        task_id="metric_gate", model=MODEL, metrics=evaluate.output, least={"accuracy": 0.9}, compared="accuracy",
        tolerance=0.01,
    )  # fmt: skip
    register = RegisterModelOperator(
        task_id="register", model=MODEL, artifact=train.output["model"], metrics=evaluate.output,
        run_id=evaluate.output["mlflow_run_id"],
    )  # fmt: skip
    approve = ModelApprovalOperator(task_id="approve", subject="Deploy?", required=False)
    deploy = DeployEndpointOperator(
        task_id="deploy", model=MODEL, version=register.output["version"], endpoint=MODEL, instance_type="ml.c5.large",
        smoke_body="1,2\n", poll_seconds=1,
    )  # fmt: skip
    invoke = InvokeEndpointOperator(task_id="invoke", endpoint=MODEL, body="1,2\n", expected="^200$")
    baseline = DriftBaselineOperator(
        task_id="baseline", data=table.output["table"], model=MODEL, version=register.output["version"], **SMALL
    )
    score = BatchTransformOperator(task_id="score", model=MODEL, data=table.output["rows"], **SMALL)
    monitor = DriftMonitorOperator(
        task_id="monitor", data=table.output["table"], model=MODEL, asset=Asset("ages_drift"), alias="ages_drift_found",
        **SMALL,
    )  # fmt: skip
    schema = BaselineGateOperator(task_id="schema", check="schema", data=table.output["table"], model=MODEL, **SMALL)
    fairness = FairnessGateOperator(
        task_id="fairness", data=table.output["table"], facet=("age", ("20", "21")), label=("height", ("150", "151")),
        ranges={"CI": (-1, 1)}, **SMALL,
    )  # fmt: skip
    quality = ModelQualityOperator(
        task_id="quality", model=MODEL, version=register.output["version"], predictions=table.output["predictions"],
        ground_truth=table.output["labels"], id_column="id", label_column="label", probability_column="probability",
        positive_label="1", **SMALL,
    )  # fmt: skip
    attribution = AttributionDriftOperator(
        task_id="attribution", data=table.output["table"], baseline=table.output["table"], **SMALL
    )
    challenge = ChallengeOperator(
        task_id="challenge", module="tests.contracts.job_code.challenge", packages=("tests.contracts.job_code",),
        model=MODEL, artifact=train.output["model"], data=table.output["table"], **SMALL,
    )  # fmt: skip
    promote = PromoteModelOperator(
        task_id="promote", model=MODEL, version=register.output["version"], challenge=challenge.output
    )
    reconcile = ReconcileOperator(task_id="reconcile", stop=True)
    delete = DeleteEndpointOperator(task_id="delete", endpoint=MODEL, poll_seconds=1)
    chain(table, gate, shards, merged, train, evaluate, metric_gate, register, approve, deploy, invoke, baseline, score,
          monitor, schema, fairness, quality, attribution, challenge, promote, reconcile, delete)  # fmt: skip


every = every_operator()
