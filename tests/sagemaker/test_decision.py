"""The decision that keeps a retry from paying twice, over every state, attempt, request, owner and age of a job.

The second half plays whole histories of a task against a model of SageMaker and holds what was paid against what was
intended.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.sagemaker.decision import Action, Attempt, Observed, OnClear, attempt_of, decide
from millrace.sagemaker.kinds import Outcome
from millrace.sagemaker.names import TaskIdentity

ON_CLEAR: tuple[OnClear, ...] = ("rerun", "adopt")
EVERYTHING = [
    (
        Observed(outcome=outcome, owned=owned, same_request=same, predates_run=older, stopping=stopping),
        attempt,
        on_clear,
    )
    for outcome, owned, same, older, stopping, attempt, on_clear in itertools.product(
        Outcome, (True, False), (True, False), (True, False), (True, False), Attempt, ON_CLEAR
    )
    if outcome is Outcome.ACTIVE or not stopping
]
ENDED_BADLY = (Outcome.FAILED, Outcome.STOPPED)
every_case = pytest.mark.parametrize(("observed", "attempt", "on_clear"), EVERYTHING)


def wants_anew(observed: Observed, attempt: Attempt, on_clear: OnClear) -> bool:
    """Whether a user asked for a new result: by clearing, or by deleting the run and making it again."""
    recreated = attempt is Attempt.FIRST and observed.predates_run
    return on_clear == "rerun" and (attempt is Attempt.CLEARED or recreated)


@pytest.mark.parametrize(("attempt", "on_clear"), list(itertools.product(Attempt, ON_CLEAR)))
def test_no_job_of_the_name_is_submitted_whatever_the_user_did(attempt: Attempt, on_clear: OnClear) -> None:
    assert decide(None, attempt, on_clear).action is Action.SUBMIT


@every_case
def test_an_existing_job_is_never_submitted_over(observed: Observed, attempt: Attempt, on_clear: OnClear) -> None:
    assert decide(observed, attempt, on_clear).action is not Action.SUBMIT


@every_case
def test_a_job_is_refused_exactly_when_it_is_somebody_elses(
    observed: Observed, attempt: Attempt, on_clear: OnClear
) -> None:
    assert (decide(observed, attempt, on_clear).action is Action.REFUSE) is not observed.owned


@every_case
def test_our_running_job_is_adopted_unless_the_user_asked_for_a_new_one(
    observed: Observed, attempt: Attempt, on_clear: OnClear
) -> None:
    adopted = decide(observed, attempt, on_clear).action is Action.ADOPT
    running = observed.owned and observed.outcome is Outcome.ACTIVE and not observed.stopping
    assert adopted is (running and not wants_anew(observed, attempt, on_clear))


@every_case
def test_a_job_is_done_only_when_it_is_ours_and_succeeded_for_an_equal_request(
    observed: Observed, attempt: Attempt, on_clear: OnClear
) -> None:
    done = decide(observed, attempt, on_clear).action is Action.DONE
    reusable = observed.owned and observed.outcome is Outcome.SUCCEEDED and observed.same_request
    assert done is (reusable and not wants_anew(observed, attempt, on_clear))


@every_case
def test_a_job_that_ended_badly_is_run_again_and_never_taken_as_done(
    observed: Observed, attempt: Attempt, on_clear: OnClear
) -> None:
    if observed.owned and observed.outcome in ENDED_BADLY:
        decision = decide(observed, attempt, on_clear)
        assert decision.action is Action.RESUBMIT
        assert decision.reason


def test_adopting_a_job_whose_request_has_changed_says_so() -> None:
    def reason(same_request: bool) -> str:
        running = Observed(
            outcome=Outcome.ACTIVE, owned=True, same_request=same_request, stopping=False, predates_run=False
        )
        return decide(running, Attempt.RETRY, "rerun").reason

    assert "changed" in reason(False)
    assert "changed" not in reason(True)


RECORDED = {"max_tries": 2, "run_started": "2026-01-01T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("recorded", "max_tries", "run_started", "attempt"),
    [
        (None, 2, RECORDED["run_started"], Attempt.FIRST),
        ({}, 2, RECORDED["run_started"], Attempt.FIRST),
        (RECORDED, 2, RECORDED["run_started"], Attempt.RETRY),
        (RECORDED, 3, RECORDED["run_started"], Attempt.CLEARED),
        (RECORDED, 2, "2026-02-01T00:00:00+00:00", Attempt.CLEARED),  # cleared, with as many retries fewer
    ],
)
def test_attempt_is_told_by_what_clearing_moves_and_a_retry_leaves(
    recorded: dict[str, Any] | None, max_tries: int, run_started: str, attempt: Attempt
) -> None:
    assert attempt_of(recorded, max_tries, run_started) is attempt


@dataclass
class Job:
    """A job of the model: how it stands, what it was asked for, when it was made."""

    outcome: Outcome
    request: str
    made: int
    stopping: bool = False


IDENTITY = TaskIdentity(deployment="one", dag_id="d", run_id="r", task_id="t")


@dataclass
class World:
    """SageMaker, the task state store and the clock, as far as the decision meets them."""

    on_clear: OnClear
    jobs: dict[str, Job] = field(default_factory=dict)
    recorded: dict[str, Any] | None = None
    max_tries: int = 0
    run_started: int = 0
    clock: int = 1
    request: str = "a"

    def attempt(self, dies: str) -> None:
        """One attempt, along the lines of JobOperator: it may die before, while, or after asking SageMaker."""
        self.clock += 1
        generation = (self.recorded or {}).get("generation", 0)
        attempt = attempt_of(self.recorded, self.max_tries, str(self.run_started))
        while True:
            name = IDENTITY.job_name(generation)
            job = self.jobs.get(name)
            observed = (
                None
                if job is None
                else Observed(
                    outcome=job.outcome,
                    owned=True,
                    same_request=job.request == self.request,
                    stopping=job.stopping,
                    predates_run=job.made < self.run_started,
                )
            )
            decision = decide(observed, attempt, self.on_clear)
            if decision.action is not Action.RESUBMIT:
                break
            assert job is not None
            if job.outcome is Outcome.ACTIVE:  # stopped, and seen terminal
                job.outcome, job.stopping = Outcome.STOPPED, False
            if dies == "between generations":
                return
            generation, attempt = generation + 1, Attempt.FIRST if attempt is Attempt.FIRST else Attempt.RETRY
        if dies == "before the intent":
            return
        self.recorded = {
            "generation": generation, "max_tries": self.max_tries, "run_started": str(self.run_started),
        }  # fmt: skip
        if dies == "before the submit":
            return
        if decision.action is Action.SUBMIT:
            assert name not in self.jobs
            self.jobs[name] = Job(Outcome.ACTIVE, self.request, self.clock)

    def active(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.outcome is Outcome.ACTIVE]

    def end(self, outcome: Outcome) -> None:
        for job in self.active():
            job.outcome, job.stopping = Outcome.STOPPED if job.stopping else outcome, False

    def stop(self) -> None:
        """Somebody, or a kill, asks for the stop; it takes its time."""
        for job in self.active():
            job.stopping = True

    def clear(self) -> None:
        self.max_tries += 1

    def recreate(self) -> None:
        """The run is deleted, which drops what was recorded, and made again under the same id."""
        self.clock += 1
        self.recorded, self.max_tries, self.run_started = None, 0, self.clock


DEATHS = ("never", "before the intent", "before the submit", "after the submit", "between generations")
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("attempt"), st.sampled_from(DEATHS)),
        st.tuples(st.just("end"), st.sampled_from((Outcome.SUCCEEDED, *ENDED_BADLY))),
        st.tuples(st.sampled_from(("clear", "recreate", "change", "stop")), st.none()),
    ),
    max_size=25,
)


@given(EVENTS, st.sampled_from(ON_CLEAR))
def test_no_history_pays_for_two_jobs_at_once_or_for_one_nobody_asked_for(
    events: list[tuple[str, Any]], on_clear: OnClear
) -> None:
    world = World(on_clear)
    reasons = 1  # what can ask for a job: the run itself, a clear, a recreated run, a bad end, a changed request
    for name, value in events:
        if name == "attempt":
            world.attempt(value)
        elif name == "end":
            reasons += sum(value in ENDED_BADLY and not job.stopping for job in world.active())
            world.end(value)
        elif name == "stop":
            reasons += sum(not job.stopping for job in world.active())
            world.stop()
        elif name == "change":
            world.request += "'"
            reasons += 1
        else:
            getattr(world, name)()
            reasons += on_clear == "rerun"
        assert len(world.active()) <= 1
        assert len(world.jobs) <= reasons
    world.attempt("never")  # whatever happened: an attempt that lives ends with one job, running or well ended
    last = world.jobs[IDENTITY.job_name((world.recorded or {})["generation"])]
    assert last.outcome in (Outcome.ACTIVE, Outcome.SUCCEEDED)
    assert not last.stopping
    paid = len(world.jobs)
    world.attempt("never")  # and a retry of it pays nothing
    assert len(world.jobs) == paid


@given(st.text(min_size=1), st.text(min_size=1), st.integers(-1, 5), st.integers(0, 5))
def test_two_deployments_never_share_a_name(run: str, task: str, map_index: int, generation: int) -> None:
    one, two = (
        TaskIdentity(deployment=deployment, dag_id="d", run_id=run, task_id=task, map_index=map_index)
        for deployment in ("one", "two")
    )
    assert one.job_name(generation) != two.job_name(generation)
    tags = {tag["Key"]: tag["Value"] for tag in one.tags(generation, "", "")}
    assert one.owns(tags)
    assert not two.owns(tags)
