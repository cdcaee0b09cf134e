"""A task's asset outlets: their events carry what the job made, so that whoever they start need not search."""

from __future__ import annotations

import json

import pytest
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.execution_time.context import OutletEventAccessors

from millrace.runtime.faults import FailJob
from operators.failures import StepFailed
from tests.operators.attempts import Attempts
from tests.operators.steps import ASSET, Finished, Steps


def test_event_of_an_outlet_carries_the_tasks_result(finished: Finished) -> None:
    extra = finished.attempts.outlet_events[ASSET].extra
    assert extra == finished.result
    assert json.loads(json.dumps(extra)) == extra


def test_retry_that_takes_the_result_emits_the_same_event(finished: Finished) -> None:
    retry = Attempts(run=finished.attempts.run, store=finished.attempts.store, outlet_events=OutletEventAccessors())
    retry.run_started = finished.attempts.run_started
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLRACE_DEPLOYMENT", finished.steps.deployment)
        retry.execute(finished.operator)
    assert retry.outlet_events[ASSET].extra == finished.result


def test_job_that_failed_writes_nothing_to_an_event(steps: Steps) -> None:
    attempts = Attempts(outlet_events=OutletEventAccessors())
    steps.deal(FailJob(reason="AlgorithmError: no"))
    with pytest.raises(StepFailed):
        attempts.execute(steps.operator(outlets=[ASSET, AssetAlias("later"), Asset("other")]))
    assert len(attempts.outlet_events) == 0
