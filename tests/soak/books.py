"""The books of a soak: what was asked for and acknowledged. `balance.py` holds them against what is there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.soak.work import Work


@dataclass
class Books:
    """Written by the deeds; what was asked for and not acknowledged is in `unsure`, or is not expected to be anything."""

    jobs: dict[str, Work] = field(default_factory=dict)
    """Every job by its name; a job whose creation was never answered is in `unsure` as well."""
    unsure: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)
    objects: dict[str, str | None] = field(default_factory=dict)
    """The SHA-256 of each object by key, None for a deleted one; absent when the last write was not acknowledged."""
    kept_alive: dict[str, int] = field(default_factory=dict)
    """For how long the pool of a job is to be kept, by the last UpdateTrainingJob; absent when it was not acknowledged."""
    ended_pools: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    """The number that the checkpoint of each job in S3 has reached, as far as it was looked at."""
    done: Counter[str] = field(default_factory=Counter)
    """How often each deed was done, and each thing seen that the balance vouches for."""

    def recent(self, count: int, *, what: str = "") -> list[str]:
        """The names of the jobs that were created last, of one kind if it is named."""
        return [name for name, work in self.jobs.items() if what in ("", work.what)][-count:]
