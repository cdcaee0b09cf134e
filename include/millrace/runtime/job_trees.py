"""What a job's instances work on, removed once it is over. Their logs, metrics and exit statuses stay.

Not here: the removal of a deleted job's whole folder, which is `trees.remove`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from . import trees

TREES = ("ml", "inputs", "feed", "source", "tmp", "spec.json", "spec.tmp")
"""The last two hold its keys, where a start was cut off."""


def every_start(job: Path) -> list[Path]:
    """The folders of a job's instances, of its first start and of each later one."""
    return [*job.glob("algo-*"), *job.glob("restart-*/algo-*")]


def remove(instances: Iterable[Path]) -> None:
    """Remove what instances worked on.

    Args:
        instances: their folders, and no others: the job's next start may be staged beside them meanwhile.
    """
    trees.remove(instance / name for instance in instances for name in TREES)
