"""The logs of many jobs, read by one thread under one budget of calls: a flood of jobs never starves the polling.

Each job's lines go to whoever follows it. A job that says something is looked at again soon, a quiet one more and more
rarely; when the budget is short, the one that has waited longest comes first. What it does not do: it decides nothing,
and a log that cannot be read is tried again later and delays nobody's result.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from .log_tail import LogTail

log = logging.getLogger(__name__)

CALLS_PER_SECOND = 1.0
"""CloudWatch Logs takes 25 GetLogEvents a second from a whole account and region; this is one process's share."""
BURST = 30.0
FIRST_SECONDS = 0.5
GROWTH = 1.5
MOST_SECONDS = 30.0
MOST_LINES = 2_000
"""So many lines are handed on at once; the rest follows with the next look."""
IDLE_SECONDS = 5.0


class Following:
    """One job's log, being followed."""

    def __init__(self, tail: LogTail, say: Callable[[list[str]], None]) -> None:
        self.tail = tail
        self.say = say
        self.pause = FIRST_SECONDS
        self.gone = False
        self.reading = threading.Lock()


class LogFollower:
    """Reads the logs of jobs over one connection.

    Args:
        connect: makes a boto3 CloudWatch Logs client.
        calls_per_second: the budget; up to `burst` calls that were saved up may come at once.
    """

    def __init__(
        self, connect: Callable[[], Any], calls_per_second: float = CALLS_PER_SECOND, burst: float = BURST
    ) -> None:
        self._connect = connect
        self._rate = calls_per_second
        self._burst = burst
        self._saved = burst
        self._counted = time.monotonic()
        self._client: Any = None
        self._due: list[tuple[float, int, Following]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def follow(self, tail: LogTail, say: Callable[[list[str]], None]) -> Following:
        """Hand each new line of a job to `say`, which is called from the follower's thread."""
        following = Following(tail, say)
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + FIRST_SECONDS, next(self._order), following))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="follow-logs", daemon=True)
                self._thread.start()
            self._changed.notify()
        return following

    def leave(self, following: Following, most_seconds: float = -1) -> dict[str, str]:
        """Follow no longer; returns where the reading stopped. Blocking: waits for a read that is under way.

        After `most_seconds` it waits no more, since a read that hangs must keep no worker from stopping its job; then some
        lines may be shown twice.
        """
        following.gone = True
        held = following.reading.acquire(timeout=most_seconds)
        try:
            return dict(following.tail.tokens)
        finally:
            if held:
                following.reading.release()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._due, IDLE_SECONDS):
                    self._thread = None
                    return
                wait = max(self._due[0][0] - time.monotonic(), self._shortfall())
                if wait > 0:
                    self._changed.wait(min(wait, 1.0))
                    continue
                _, _, following = heapq.heappop(self._due)
            if following.gone:
                continue
            self._read(following)
            if following.gone:
                continue
            with self._changed:
                due = time.monotonic() + following.pause
                heapq.heappush(self._due, (due, next(self._order), following))

    def _read(self, following: Following) -> None:
        with following.reading:
            if following.gone:
                return
            lines: list[str] = []
            before = following.tail.calls
            try:
                if self._client is None:
                    self._client = self._connect()
                lines = following.tail.read(self._client, MOST_LINES)
            except Exception as error:
                log.info("a log cannot be read and is tried again: %s", error)
                self._client = None  # its credentials may have expired
                self._saved -= 1
            if lines:
                try:
                    following.say(lines)
                except Exception as error:
                    log.info("nobody hears this log any more: %s", error)
                    following.gone = True
            following.pause = FIRST_SECONDS if lines else min(following.pause * GROWTH, MOST_SECONDS)
            self._saved -= following.tail.calls - before

    def _shortfall(self) -> float:
        """Seconds until the budget allows another call."""
        now = time.monotonic()
        self._saved = min(self._burst, self._saved + (now - self._counted) * self._rate)
        self._counted = now
        return max(0.0, (1 - self._saved) / self._rate)
