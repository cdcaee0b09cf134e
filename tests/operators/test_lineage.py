"""OpenLineage: what Airflow's own provider makes of a step, when it succeeded, when it failed, and when it never began."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.providers.openlineage.extractors.manager import ExtractorManager
from airflow.utils.state import TaskInstanceState
from openlineage.client.serde import Serde

from millrace.runtime.faults import FailJob
from operators.failures import StepFailed
from operators.processing import ProcessingOperator
from tests.operators.attempts import Attempts
from tests.operators.steps import Finished, Steps


class Run:
    """As much of a DAG run as the provider looks at."""

    run_id = "scheduled__2026-01-01"


def extracted(operator: ProcessingOperator, attempts: Attempts, state: TaskInstanceState) -> Any:
    """What the provider's listener gets in a worker."""
    return ExtractorManager().extract_metadata(
        dagrun=Run(), task=operator, task_instance_state=state, task_instance=attempts.ti
    )


def datasets(found: Any) -> set[tuple[str, str]]:
    return {(dataset.namespace, dataset.name) for dataset in found}


def test_step_that_succeeded_tells_what_it_read_wrote_and_cost(finished: Finished) -> None:
    found = extracted(finished.operator, finished.attempts, TaskInstanceState.SUCCESS)
    written = finished.result["outputs"]["out"].removeprefix("s3://bucket/")
    assert datasets(found.outputs) == {("s3://bucket", written)}
    read = datasets(found.inputs)
    assert ("s3://bucket", f"{finished.steps.deployment}/numbers") in read
    assert any(name.startswith("code/") for _, name in read)
    facet = json.loads(Serde.to_json(found.run_facets["sagemaker"]))
    assert {key: facet[key] for key in finished.result} == finished.result
    assert facet["_producer"].startswith("millrace/")


def test_step_that_failed_tells_what_it_read(steps: Steps) -> None:
    attempts, operator = Attempts(), steps.operator(inputs={"data": "s3://bucket/numbers"})
    steps.deal(FailJob(reason="AlgorithmError: no"))
    with pytest.raises(StepFailed):
        attempts.execute(operator)
    found = extracted(operator, attempts, TaskInstanceState.FAILED)
    assert ("s3://bucket", "numbers") in datasets(found.inputs)
    assert (found.outputs, found.run_facets) == ([], {})


def test_step_that_never_began_tells_nothing_and_breaks_nothing(steps: Steps) -> None:
    found = extracted(steps.operator(), Attempts(), TaskInstanceState.FAILED)
    assert (found.inputs, found.outputs, found.run_facets) == ([], [], {})
