"""Whether a worker was told to end, and on whose behalf: Airflow is asked, and not knowing counts as a deploy."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from operators import termination
from operators.endpoint import EndpointOperator
from operators.invoke import InvokeEndpointOperator
from tests.operators.attempts import Attempts, TaskInstance
from tests.operators.steps import Steps


@pytest.fixture(autouse=True)
def nothing_requested() -> Any:
    termination.listen()
    yield
    termination.listen()


@pytest.mark.parametrize(
    "state", ["running", "queued", "scheduled", "deferred", "up_for_retry", "restarting", "failed"]
)
def test_own_state_is_what_airflow_says(state: str) -> None:
    attempts = Attempts()
    attempts.ti.state = state
    assert termination.own_state(attempts.context) == state


def test_task_without_a_state_was_reset_by_a_scheduler_and_not_ended_by_a_user() -> None:
    attempts = Attempts()
    attempts.ti.state = None
    assert termination.own_state(attempts.context) == "none"
    assert "none" in termination.GOES_ON


def test_task_that_a_user_cleared_is_restarting() -> None:
    assert not {"restarting", "failed", "success", "skipped", "removed"} & termination.GOES_ON


class Silent(TaskInstance):
    """One whose Airflow cannot be asked."""

    def get_task_states(self, *_: Any, **__: Any) -> dict[str, dict[str, str | None]]:
        raise ConnectionError("the API server is away")


class Forgotten(TaskInstance):
    """One whose run was deleted."""

    def get_task_states(self, *_: Any, **__: Any) -> dict[str, dict[str, str | None]]:
        return {}


@pytest.mark.parametrize("kind", [Silent, Forgotten])
def test_airflow_that_does_not_know_is_not_taken_for_a_user(kind: type[TaskInstance]) -> None:
    assert termination.own_state(Attempts(ti=kind()).context) == "unknown"
    assert "unknown" in termination.GOES_ON


def test_a_signal_may_come_while_the_flag_is_looked_at() -> None:
    def look(_frame: Any, _event: str, _argument: Any) -> Any:
        termination.requested.set()  # between any two lines of `wait`, as a signal handler would
        return look

    sys.settrace(look)
    try:
        assert termination.requested.wait(0.01)
    finally:
        sys.settrace(None)
    assert termination.requested.wait(3600), "what is set is not waited for"


def test_sigterm_is_heard_by_jobs_and_endpoints_alike_and_forgotten_by_the_next_task(steps: Steps) -> None:
    endpoint: EndpointOperator = InvokeEndpointOperator(task_id="ask", endpoint="e", body="x")
    for operator in (steps.operator(), endpoint):
        operator.on_kill()
        assert termination.requested.is_set()
        termination.listen()
        assert not termination.requested.is_set()
