"""The runtime's own time: the machine's, plus what a rehearsal has advanced it by.

Everything that waits for a time to pass on behalf of SageMaker (a job's longest wait for spot capacity, a fault that
holds a job, retention) goes by it, so that hours pass in a command: `millrace clock advance 2h`. It only goes forward.
What it does not do: it does not reach jobs, whose own limits and log lines go by the machine's clock, nor S3, where
signatures and dates must agree with the clients'.
"""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path

log = logging.getLogger(__name__)
ADVANCED = "clock.json"


class Clock:
    """Thread-safe; heeds an advance from the next question on."""

    def __init__(self, data_dir: Path) -> None:
        self._path = str(data_dir / ADVANCED)
        self._known: tuple[int, float] = (0, 0.0)

    def now(self) -> float:
        """Seconds since the epoch."""
        try:
            stamp = os.stat(self._path).st_mtime_ns  # noqa: PTH116 - asked for at every step of every job
        except FileNotFoundError:
            return time.time()
        if stamp != self._known[0]:
            try:
                self._known = (stamp, advanced(Path(self._path).parent))
            except (ValueError, TypeError, KeyError, OSError) as error:
                log.error("the clock goes on as it was: %s", error)
                self._known = (stamp, self._known[1])
        return time.time() + self._known[1]


def advanced(data_dir: Path) -> float:
    """By how many seconds the clock of a data folder is ahead of the machine's.

    Raises:
        ValueError: the file says nothing that could be used.
    """
    path = data_dir / ADVANCED
    if not path.exists():
        return 0.0
    seconds = json.loads(path.read_text())["advanced_seconds"]
    if not isinstance(seconds, (int, float)) or seconds < 0:
        raise ValueError(f"{path} says advanced_seconds={seconds!r}; it must be a number of 0 or more")
    return float(seconds)


def advance(data_dir: Path, seconds: float) -> float:
    """Let so many seconds pass, and return how far ahead the clock is then.

    Raises:
        ValueError: time does not go back.
    """
    if seconds <= 0:
        raise ValueError(f"the clock cannot be advanced by {seconds} s; it goes forward only, so give more than 0")
    total = advanced(data_dir) + seconds
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = data_dir / f"{ADVANCED}.new"
    temporary.write_text(json.dumps({"advanced_seconds": total}) + "\n")
    temporary.rename(data_dir / ADVANCED)
    return total
