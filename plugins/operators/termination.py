"""Whether this worker was told to end, and on whose behalf: a user's mark or clear, or a deploy, an eviction, a shutdown.

Airflow calls `on_kill` for all of them, from a signal handler, where nothing may block: a flag is all that is set there.
Whoever waits looks at the flag and asks Airflow what has become of the task: a user's kill has changed its state.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Context


class Flag:
    """An event that a signal handler may set. `threading.Event` takes a lock for that, which the very thread that the
    signal interrupts may hold."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Sleep, unless it is set already; whether it is set then."""
        if not self._is_set:
            time.sleep(seconds)
        return self._is_set


requested = Flag()
"""Set by `on_kill`. A worker's process runs one task, so that there is one of it."""
CLEARED = "restarting"
"""The state of a running task that a user has cleared."""
GOES_ON = frozenset(
    {"running", "queued", "scheduled", "deferred", "up_for_retry", "up_for_reschedule", "none", "unknown"}
)
"""States of a task that no user has ended. `none` is what a scheduler leaves for a moment when it resets an orphaned task.
Not knowing counts as one, since the next attempt can still stop a job."""


def listen() -> None:
    """Begin a task: nothing was requested yet."""
    requested.clear()


def own_state(context: Context) -> str:
    """The state that Airflow has for this task now; `none` when it has none, `unknown` when it cannot be asked."""
    ti = context["ti"]
    try:
        states = ti.get_task_states(
            dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
        )
    except Exception:
        return "unknown"
    of_run = states.get(ti.run_id, {})
    return str(next(iter(of_run.values()), None) or "none") if of_run else "unknown"
