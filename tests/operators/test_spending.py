"""What a step may cost and has cost: refused before any job exists, settled however it ends, given back when refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from millrace.runtime.faults import FailJob
from millrace.sagemaker.deployment import Deployment
from operators.failures import RETRY_POLICY, MayBeAffordableLater, Refused, StepFailed, TooExpensive
from operators.processing import ProcessingOperator
from operators.spending import limit_of
from tests.operators.attempts import Attempts
from tests.operators.steps import HELD, Finished, Steps

HOUR = 0.115
"""What the step's hour of ml.m5.large may cost."""


def test_step_that_could_pass_the_limit_is_refused_before_there_is_a_job(steps: Steps) -> None:
    attempts = Attempts()
    with pytest.raises(TooExpensive, match="max_cost") as raised:
        attempts.execute(steps.operator(max_cost=0.01))
    assert (steps.names(), steps.account(attempts)) == ([], [])
    assert RETRY_POLICY.evaluate(raised.value, 1, 3).action.value == "fail"


def test_step_under_the_limit_is_reserved_at_its_ceiling_and_begun(steps: Steps) -> None:
    attempts = Attempts()
    steps.deal(HELD)
    attempts.defer(steps.operator(max_cost="1.50"))
    (entry,) = steps.account(attempts)
    assert (entry.state, entry.estimate.usd) == ("reserved", Decimal(str(HOUR)))


def test_what_a_running_step_has_reserved_may_be_given_back_so_the_next_is_tried_later(steps: Steps) -> None:
    running = Attempts()
    steps.deal(HELD)
    running.defer(steps.operator(max_cost=1.5 * HOUR))
    other = Attempts(run=running.run, task_id="other")
    with pytest.raises(MayBeAffordableLater) as raised:
        other.execute(steps.operator(task_id="other", max_cost=1.5 * HOUR))
    decision = RETRY_POLICY.evaluate(raised.value, 1, 3)
    assert (decision.action.value, bool(decision.retry_delay)) == ("retry", True)
    assert len(steps.names()) == 1


@pytest.mark.parametrize("rendered", ["", "None", "  ", None])
def test_template_that_renders_to_nothing_is_no_limit(rendered: Any) -> None:
    assert limit_of(rendered) is None


def test_step_without_a_limit_is_begun_and_entered_all_the_same(steps: Steps) -> None:
    attempts = Attempts()
    steps.deal(HELD)
    operator = steps.operator(max_cost="{{ params.max_cost or '' }}")
    operator.max_cost = ""  # as rendered
    attempts.defer(operator)
    assert [entry.state for entry in steps.account(attempts)] == ["reserved"]


@pytest.mark.parametrize("rendered", ["a lot", "-1", "0", "nan"])
def test_limit_that_is_no_amount_is_refused_before_there_is_a_job(rendered: str, steps: Steps) -> None:
    operator = steps.operator()
    operator.max_cost = rendered
    with pytest.raises(TooExpensive, match="max_cost is"):
        Attempts().execute(operator)
    assert steps.names() == []


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf")])
def test_wrong_limit_is_refused_when_the_dag_is_parsed(wrong: float, steps: Steps) -> None:
    with pytest.raises(ValueError, match="max_cost is"):
        steps.operator(max_cost=wrong)


def test_step_that_failed_was_paid_and_its_retry_is_an_entry_of_its_own(steps: Steps) -> None:
    attempts = Attempts()
    steps.deal(FailJob(reason="InternalServerError: a host was lost"))
    with pytest.raises(StepFailed):
        attempts.execute(steps.operator(max_cost=1))
    assert [entry.state for entry in steps.account(attempts)] == ["final"]
    steps.deal(HELD)
    attempts.defer(steps.operator(max_cost=1))
    assert [(entry.whose.generation, entry.state) for entry in steps.account(attempts)] == [
        (0, "final"),
        (1, "reserved"),
    ]


def test_step_that_succeeded_is_settled_at_what_its_result_says(finished: Finished) -> None:
    (entry,) = finished.steps.account(finished.attempts)
    assert entry.state == "final"
    assert entry.estimate.instance_seconds == finished.result["billable_seconds"] > 0
    assert float(entry.estimate.usd or 0) == finished.result["estimated_usd"] > 0


class PipedOperator(ProcessingOperator):
    """Asks for what AWS takes, and the runtime refuses by name."""

    def build(self, deployment: Deployment, job_name: str, prefix: str) -> dict[str, Any]:
        request = super().build(deployment, job_name, prefix)
        for item in request["ProcessingInputs"]:
            item["S3Input"]["S3InputMode"] = "Pipe"
        return request


def test_what_was_reserved_for_a_refused_job_is_given_back(steps: Steps) -> None:
    attempts = Attempts()
    operator = PipedOperator(
        task_id="step", module="timeit", packages=("pipelines.digits",), instance_type="ml.m5.large"
    )
    with pytest.raises(Refused, match="S3InputMode='Pipe' is not offered"):
        attempts.execute(operator)
    assert attempts.store["millrace_job"]["job_name"]  # it was on its way: the reservation had been written
    assert (steps.names(), steps.account(attempts)) == ([], [])
