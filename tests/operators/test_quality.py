"""A gate between two steps: what does not pass stops, is skipped past, or goes another way; bad rows are put aside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from airflow.sdk import DAG, TaskGroup
from airflow.sdk.bases.operator import BaseOperator, TriggerFailureReason
from airflow.sdk.exceptions import AirflowFailException, DownstreamTasksSkipped

from operators.processing import split_uri
from operators.quality import QualityGateOperator
from operators.quality_shards import QualityShardsOperator
from tests.operators.attempts import Attempts
from tests.operators.steps import Steps

ADULTS = b"age\n31\n40\n"
A_CHILD = b"age\n31\n4\n50\n"
TOLD: Mapping[str, Any] = {
    "task_id": "gate", "suite": "tests.contracts.job_code.suites:ages", "gate": "ages", "settings": {"lowest": 18},
    "packages": ("tests.contracts.job_code",), "instance_type": "ml.m5.large", "poll_seconds": 0.5,
}  # fmt: skip


def gate(steps: Steps, rows: bytes, **options: Any) -> QualityGateOperator:
    """A gate on these rows, before the tasks `train`, `repair.first` and `tell`, of which `tell` also follows `repair`."""
    data = steps.jobs.put(f"{steps.deployment}/ages/a.csv", rows).rpartition("/")[0]
    with DAG("pipeline"):
        operator = QualityGateOperator(**{**TOLD, "data": data, **options})
        with TaskGroup("repair"):
            repair = BaseOperator(task_id="first")
        tell = BaseOperator(task_id="tell")
        operator >> [BaseOperator(task_id="train"), repair, tell]
        repair >> tell
    return operator


def skipped(steps: Steps, rows: bytes, **options: Any) -> tuple[set[str], dict[str, Any]]:
    """What is skipped, and the result that other tasks can still pull."""
    operator, attempts = gate(steps, rows, **options), Attempts(task_id="gate")
    attempts.ti.task = operator
    with pytest.raises(DownstreamTasksSkipped) as raised:
        attempts.execute(operator)
    return {task for task, _ in raised.value.tasks}, attempts.ti.xcom["return_value"]


def test_data_that_does_not_pass_fails_the_task_with_the_findings_and_the_report(steps: Steps) -> None:
    attempts = Attempts(task_id="gate")
    with pytest.raises(
        AirflowFailException, match=r"'ages' did not pass(.|\n)*1 of 3 unexpected .* for example 4\n"
    ) as raised:
        attempts.execute(gate(steps, A_CHILD))
    docs = attempts.ti.xcom["data_docs"]
    assert docs in str(raised.value)
    bucket, key = split_uri(docs)
    assert b"ages: failed" in steps.jobs.s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def test_skip_downstream_succeeds_and_skips_what_follows_directly(steps: Steps) -> None:
    tasks, result = skipped(steps, A_CHILD, on_fail="skip_downstream")
    assert tasks == {"train", "repair.first", "tell"}
    assert (result["passed"], result["metrics"]["failed_expectations"]) == (False, 1)
    assert len(json.dumps(result)) < 2048


def test_skip_downstream_skips_nothing_when_the_gate_passes(steps: Steps) -> None:
    operator, attempts = gate(steps, ADULTS, on_fail="skip_downstream"), Attempts(task_id="gate")
    attempts.ti.task = operator
    assert attempts.execute(operator)["passed"]


def test_branch_follows_one_way_or_the_other(steps: Steps) -> None:
    branch = {"on_fail": "branch", "on_fail_task_ids": "repair"}
    tasks, result = skipped(steps, A_CHILD, **branch)
    assert tasks == {"train"}, "tell follows repair and is not skipped"
    assert not result["passed"]
    tasks, result = skipped(steps, ADULTS, **branch)
    assert tasks == {"repair.first"}
    assert result["passed"]


def test_a_gate_that_nobody_woke_in_time_still_skips(steps: Steps) -> None:
    operator, attempts = gate(steps, A_CHILD, on_fail="skip_downstream"), Attempts(task_id="gate")
    attempts.ti.task = operator
    attempts.defer(operator)
    (job_name,) = steps.names()
    steps.jobs.end("processing", job_name)
    with pytest.raises(DownstreamTasksSkipped):
        operator.resume_execution("__fail__", {"error": TriggerFailureReason.TRIGGER_TIMEOUT}, attempts.context)


def test_quarantine_hands_on_accepted_and_quarantined_rows(steps: Steps) -> None:
    operator, attempts = gate(steps, A_CHILD, quarantine=True, max_quarantined=0.5), Attempts(task_id="gate")
    result = attempts.execute(operator)
    assert {name: result["metrics"][name] for name in ("rows_read", "rows_accepted", "rows_quarantined")} == {
        "rows_read": 3, "rows_accepted": 2, "rows_quarantined": 1,
    }  # fmt: skip
    for output in ("accepted", "quarantine"):
        assert steps.files(attempts.ti.xcom[output]) == ["algo-1-00000.parquet"]


def test_a_dataset_on_several_instances_is_judged_as_one(steps: Steps) -> None:
    """Each instance sees other files: neither alone would see that one row in four is a child's."""
    for name, rows in (("a.csv", b"age\n31\n40\n"), ("b.csv", b"age\n4\n50\n")):
        data = steps.jobs.put(f"{steps.deployment}/ages/{name}", rows).rpartition("/")[0]
    told = {name: value for name, value in TOLD.items() if name not in ("task_id", "gate")}
    shards = QualityShardsOperator(**told, task_id="shards", data=data, instance_count=2, quarantine=True)
    attempts = Attempts(task_id="shards")
    attempts.execute(shards)
    seen = attempts.ti.xcom
    assert steps.files(seen["parts"]) == ["algo-1.part.json", "algo-2.part.json"]
    assert steps.files(seen["quarantine"]) == ["algo-2-00000.parquet"]

    gate = QualityGateOperator(**told, task_id="gate", gate="ages", parts=seen["parts"], max_quarantined=0.3)
    attempts = Attempts(task_id="gate")
    result = attempts.execute(gate)
    assert result["passed"]
    assert {name: result["metrics"][name] for name in ("rows_read", "rows_accepted", "rows_quarantined")} == {
        "rows_read": 4, "rows_accepted": 3, "rows_quarantined": 1,
    }  # fmt: skip
    strict = QualityGateOperator(**told, task_id="gate", gate="ages", parts=seen["parts"], max_quarantined=0.2)
    with pytest.raises(AirflowFailException, match="'ages' did not pass"):
        Attempts(task_id="gate").execute(strict)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_fail": "ignore"}, "on_fail is 'ignore'; it must be one of fail, skip_downstream, branch"),
        ({"on_fail": "branch"}, "a branch, and only a branch, has some"),
        ({"on_fail_task_ids": "repair"}, "a branch, and only a branch, has some"),
        ({"quarantine": True, "max_quarantined": 5}, "max_quarantined is 5; it must be a share from 0 to 1"),
        ({"parts": "s3://bucket/parts"}, "give either data, or the parts of it"),
        ({"data": None}, "give either data, or the parts of it"),
        ({"data": None, "parts": "s3://bucket/parts", "quarantine": True}, "belong to the QualityShardsOperator"),
    ],
)
def test_what_cannot_be_right_is_said_when_the_dag_is_parsed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QualityGateOperator(**{**TOLD, "data": "s3://bucket/a", **options})
