"""One pure decision: submit, adopt, take as done, or run again.

Called before anything is submitted, by the waiting and the deferrable path alike. It looks at nothing itself: what the
attempt is and what was observed are handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from .kinds import Outcome

OnClear = Literal["rerun", "adopt"]


class Action(Enum):
    SUBMIT = "submit"
    """No job of this name exists: ask for it."""
    ADOPT = "adopt"
    """Ours and running: wait for it."""
    DONE = "done"
    """Ours, finished well, and for an equal request: take its result."""
    RESUBMIT = "resubmit"
    """Raise the generation and look again; stop the job of this generation first if it is active."""
    REFUSE = "refuse"
    """A job of this name belongs to somebody else."""


class Attempt(Enum):
    """Why this attempt of the task was begun."""

    FIRST = "first"
    """Nothing was begun for this task instance, as far as Airflow remembers."""
    RETRY = "retry"
    """An earlier attempt ended or died, and nobody asked for a new result."""
    CLEARED = "cleared"
    """A user has cleared the task since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The job found under a name."""

    outcome: Outcome
    owned: bool
    """Whether its tags are ours."""
    same_request: bool
    """Whether it was asked for alike."""
    stopping: bool
    """Whether it is on its way to Stopped: nothing is to be had from waiting for it."""
    predates_run: bool
    """Whether it is older than the DAG run: then it was made for a run of the same id that was deleted."""


@dataclass(frozen=True, slots=True)
class Decision:
    action: Action
    reason: str


def attempt_of(recorded: Mapping[str, Any] | None, max_tries: int, run_started: str) -> Attempt:
    """What kind of attempt this is, from what an earlier one recorded.

    Clearing a task moves its `max_tries` (to the tries so far plus its retries), and clearing a finished run moves the
    run's start as well; a retry moves neither. Clearing a task that is running in a worker moves neither: there the
    worker's own `on_kill` has stopped the job, so that the next attempt finds it stopped.
    """
    if not recorded:
        return Attempt.FIRST
    same = recorded.get("max_tries") == max_tries and recorded.get("run_started") == run_started
    return Attempt.RETRY if same else Attempt.CLEARED


def decide(observed: Observed | None, attempt: Attempt, on_clear: OnClear) -> Decision:
    """What to do about the job of the current generation."""
    if observed is None:
        return Decision(Action.SUBMIT, "no job of this name exists")
    if not observed.owned:
        return Decision(Action.REFUSE, "a job of this name exists and its tags are not this task's")
    if attempt is Attempt.CLEARED and on_clear == "rerun":
        return Decision(Action.RESUBMIT, "the task was cleared")
    if attempt is Attempt.FIRST and observed.predates_run and on_clear == "rerun":
        return Decision(Action.RESUBMIT, "the job was made for a run of the same id that was deleted")
    if observed.stopping:
        return Decision(Action.RESUBMIT, "an earlier attempt's job is being stopped")
    if observed.outcome is Outcome.ACTIVE:
        changed = "" if observed.same_request else ", though the request has changed since"
        return Decision(Action.ADOPT, f"an earlier attempt's job is running{changed}")
    if observed.outcome is Outcome.SUCCEEDED:
        if observed.same_request:
            return Decision(Action.DONE, "an earlier attempt's job has completed")
        return Decision(Action.RESUBMIT, "an earlier attempt's job has completed, but the request has changed since")
    return Decision(Action.RESUBMIT, f"an earlier attempt's job has {observed.outcome.value}")
