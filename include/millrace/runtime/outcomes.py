"""What becomes of a job whose instances have ended: it is started again, or it has an outcome for good.

Decisions only, from how the instances ended and what was asked of the job. What this file does not do: it neither stops,
starts nor records anything (`supervisor.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from .database import Resource
from .instance import Ended

RESTARTS = {"Interrupted": "The spot instances were reclaimed", "Restarting": "A host was lost; the job is retried"}
"""Why a job is started again, by its secondary status."""
Outcome = tuple[str, str | None]
"""The terminal status and FailureReason."""


def restart_status(job: Resource, ended: Sequence[Ended], retries: int, wait_is_over: bool) -> str:
    """`Interrupted` or `Restarting` when the job is to be started again, else nothing.

    Args:
        retries: how often the job may be started again after a lost host.
        wait_is_over: whether MaxWaitTimeInSeconds has passed.
    """
    if job.status == "Stopping" or wait_is_over or any(end.ended_by == "limit" for end in ended):
        return ""
    if job.document.get("interrupting") and not _is_done(ended):
        return "Interrupted"
    lost = any(end.ended_by == "lost" for end in ended)
    return "Restarting" if lost and job.document.get("retried", 0) < retries else ""


def outcome(
    job: Resource,
    ended: Sequence[Ended],
    planned: Outcome | None,
    wait_is_over: bool,
    failure_reason: Callable[[list[Ended]], str],
) -> Outcome:
    """How a job ends whose instances have.

    Args:
        planned: what the fault plan has settled.
        failure_reason: says why, of instances in the order of hosts; those with exit code 0 are not to blame.
    """
    if any(end.ended_by == "limit" for end in ended):
        return "Stopped", None
    if planned:
        return ("Stopped", None) if job.status == "Stopping" else planned
    if _is_done(ended):
        return "Completed", None  # also when a stop came too late to matter
    if job.status == "Stopping" or (wait_is_over and all(map(_was_stopped, ended))):
        return "Stopped", None
    # Peers that were stopped because another failed are not the cause.
    first = min(ended, key=lambda end: (end.ended_by == "stop", end.ended))
    return "Failed", failure_reason([end if end is first else replace(end, exit_code=0) for end in ended])


def longest(ended: Sequence[Ended]) -> float:
    """How long the instances have run, in seconds: from the first one's start to the last one's end."""
    return max(end.ended for end in ended) - min(end.started for end in ended) if ended else 0.0


def _is_done(ended: Sequence[Ended]) -> bool:
    return all(end.exit_code == 0 and end.ended_by == "exit" for end in ended)


def _was_stopped(end: Ended) -> bool:
    return end.ended_by == "stop" or (end.ended_by == "exit" and end.exit_code == 0)
