"""One pure decision: submit, adopt, take as done, or run again.

Called before anything is submitted, by the waiting and the deferrable path alike. It looks at nothing itself: what the
attempt is and what was observed are handed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The job found under a name: what its status means, whether its tags are ours, whether it was asked for alike."""

    outcome: Outcome
    owned: bool
    same_request: bool


@dataclass(frozen=True, slots=True)
class Decision:
    action: Action
    reason: str


def decide(observed: Observed | None, *, cleared: bool, on_clear: OnClear) -> Decision:
    """What to do about the job of the current generation.

    `cleared` says that the user has cleared the task since this generation was begun.
    """
    if observed is None:
        return Decision(Action.SUBMIT, "no job of this name exists")
    if not observed.owned:
        return Decision(Action.REFUSE, "a job of this name exists and its tags are not this task's")
    if cleared and on_clear == "rerun":
        return Decision(Action.RESUBMIT, "the task was cleared")
    if observed.outcome is Outcome.ACTIVE:
        changed = "" if observed.same_request else ", though the request has changed since"
        return Decision(Action.ADOPT, f"an earlier attempt's job is running{changed}")
    if observed.outcome is Outcome.SUCCEEDED:
        if observed.same_request:
            return Decision(Action.DONE, "an earlier attempt's job has completed")
        return Decision(Action.RESUBMIT, "an earlier attempt's job has completed, but the request has changed since")
    return Decision(Action.RESUBMIT, f"an earlier attempt's job has {observed.outcome.value}")
