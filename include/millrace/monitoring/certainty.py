"""How sure it is that a measured value is where it should not be.

One rule for every monitor that judges values with intervals: a limit is violated when the whole interval is beyond it.
When the value alone is, that is worth a watch: the next window's rows will tell.
"""

from __future__ import annotations

from enum import StrEnum

from millrace.monitoring.interval import Measure


class State(StrEnum):
    """What is known of a limit, the worst first."""

    VIOLATED = "violated"
    WATCH = "watch"
    MET = "met"
    NOT_MEASURED = "not measured"


def state_of(found: Measure | None, low: float, high: float) -> State:
    """Where a measured value stands to the range from `low` to `high`."""
    if found is None:
        return State.NOT_MEASURED
    if found.lower > high or found.upper < low:
        return State.VIOLATED
    return State.MET if low <= found.value <= high else State.WATCH
