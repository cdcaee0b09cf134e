"""Whether drift asks for a retraining: only when it lasts, and not while an earlier one is still fresh.

A single window may be odd by chance, by a broken delivery or by a holiday. And a retraining that was asked for yesterday has
not reached the monitor yet, so that today's window still looks drifted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from millrace.retraining.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingPolicy:
    """What has to be seen before a retraining is asked for.

    Args:
        drifted, windows: at least `drifted` of the last `windows` judged windows, the newest among them.
        cool_down: the least time between two retrainings, by the windows' own time.

    Raises:
        ValueError: `drifted` is not from 1 to `windows`, or the cool-down is negative.
    """

    drifted: int = 1
    windows: int = 1
    cool_down: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if not 1 <= self.drifted <= self.windows:
            raise ValueError(
                f"drifted is {self.drifted} of {self.windows} windows; it must be from 1 to {self.windows}"
            )
        if self.cool_down < timedelta(0):
            raise ValueError(f"cool_down is {self.cool_down}; it must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    action: str
    """`none`, `hold` or `retrain`."""
    why: str
    evidence: tuple[Record, ...] = ()
    """The drifted windows that ask for it, the oldest first."""


def decide(
    outcome: str, at: datetime, champion: str | None, earlier: Sequence[Record], policy: RetrainingPolicy
) -> Decision:
    """What follows from a window.

    Args:
        outcome: of the window: `stable`, `drifted` or `not judged`.
        at: the window's end.
        champion: the version that it was compared with; windows compared with another one say nothing about this one.
        earlier: the model's history; of two records of one window the later one in the sequence counts.
    """
    of_time = {one.at: one for one in earlier if one.kind == "window"}
    windows = [of_time[when] for when in sorted(of_time)]
    if outcome != "drifted":
        return Decision(action="none", why="there is no drift" if outcome == "stable" else "the window was not judged")
    if windows and windows[-1].at > at:
        return Decision(action="none", why=f"it is late: {windows[-1].subject} was judged before it")
    judged = [one for one in windows if one.outcome != "not judged" and one.champion == champion and one.at < at]
    recent = judged[len(judged) - (policy.windows - 1) :] if policy.windows > 1 else []
    evidence = tuple(one for one in recent if one.outcome == "drifted")
    seen = len(evidence) + 1
    words = f"drift in {seen} of the last {len(recent) + 1} windows"
    if seen < policy.drifted:
        return Decision(action="hold", why=f"{words}; {policy.drifted} of {policy.windows} are needed")
    asked = sorted(one.at for one in earlier if one.action == "retrain")
    if asked and at - asked[-1] < policy.cool_down:
        until = asked[-1] + policy.cool_down
        return Decision(
            action="hold",
            why=f"{words}, but a retraining was asked for on {asked[-1]:%Y-%m-%d}: none before {until:%Y-%m-%d %H:%M}",
        )
    return Decision(action="retrain", why=words, evidence=evidence)
