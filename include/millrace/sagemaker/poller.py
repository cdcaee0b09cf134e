"""One look for many waiters: a listing by the deployment's prefix wakes, a Describe by name decides.

A poller watches one kind of thing over one connection, from a thread of its own. Its cost grows with what changes, not
with what waits: each look is one listing of what was modified since the last one, and only what that shows as ended is
described. A few waiters are described directly, which is as cheap and never behind. Now and then everything active is
listed, for what a listing may have missed.

What it does not do: it judges no outcome, and an error while looking ends no wait; it is said to those who wait, and
the look is repeated.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from . import failures, observe
from .kinds import Kind, Outcome

log = logging.getLogger(__name__)

FIRST_SECONDS = 0.5
LEAST_SECONDS = 0.2
AGE_SHARE = 0.15
"""The pause between two looks, as a share of how long the youngest waiter has waited."""
JITTER = 0.2
CHANCE = random.Random()  # noqa: S311 - jitter; of its own, for nobody else's seed is to be disturbed
FEW = 3
"""So many waiters are described one by one; beyond that a listing is cheaper."""
NEWCOMERS = 10
"""So many new waiters at once are described; beyond that everything active is listed."""
OVERLAP = timedelta(seconds=30)
"""How far each listing reaches back behind the last: listings are eventually consistent."""
SWEEP_SECONDS = 300.0
MAX_BACKOFF_SECONDS = 60.0
PAGE = 100
IDLE_SECONDS = 5.0
EXPIRED_CODES = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}
)
EVERYBODYS_TROUBLE = EXPIRED_CODES | failures.THROTTLING_CODES | {""}
"""With these the next name would meet the same; no code at all is a network's failure."""


@dataclass(eq=False, slots=True)
class Watch:
    """One name that somebody waits for. `ended` gets its last Describe answer, or None when it is gone."""

    name: str
    most_seconds: float
    """The longest pause between two looks."""
    trouble: Callable[[str], None]
    """Told when looking fails; called from the poller's thread."""
    ended: Future[dict[str, Any] | None] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)
    seen: bool = False


class Poller:
    """Watches things of one kind whose names begin with `prefix`.

    Args:
        kind: what is watched.
        prefix: the deployment's prefix of names, such as `prod-`.
        connect: makes a boto3 SageMaker client; called again when its credentials have expired.
    """

    def __init__(self, kind: Kind, prefix: str, connect: Callable[[], Any]) -> None:
        self._kind = kind
        self._prefix = prefix
        self._connect = connect
        self._client: Any = None
        self._watches: set[Watch] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._listed_until: datetime | None = None
        self._swept = 0.0
        self._newcomers = False
        self._failures = 0
        self._doubtful: set[str] = set()
        """Names that a listing has shown as ended, and that were not described yet: it shows them only once."""

    def watch(self, name: str, *, most_seconds: float, trouble: Callable[[str], None]) -> Watch:
        """Begin to wait for `name`; the first look comes at once."""
        watch = Watch(name, most_seconds, trouble)
        with self._changed:
            self._watches.add(watch)
            self._newcomers = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"poll-{self._kind.name}", daemon=True)
                self._thread.start()
            self._changed.notify()
        return watch

    def forget(self, watch: Watch) -> None:
        """Wait no longer."""
        with self._changed:
            self._watches.discard(watch)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._watches, IDLE_SECONDS):
                    self._thread = None
                    return
                watches = list(self._watches)
                self._newcomers = False
            try:
                self._look(watches)
                self._failures = 0
            except Exception as error:
                self._failures += 1
                self._report(watches, error)
            time.sleep(LEAST_SECONDS)  # those who come together are looked at together
            with self._changed:
                self._changed.wait_for(lambda: self._newcomers and not self._failures, self._pause() - LEAST_SECONDS)

    def _look(self, watches: list[Watch]) -> None:
        if self._client is None:
            self._client = self._connect()
        names = {watch.name for watch in watches}
        new = {watch.name for watch in watches if not watch.seen}
        self._doubtful = (self._doubtful & names) | self._suspects(names, new)
        refused: Exception | None = None
        for name in sorted(self._doubtful):
            try:
                found = observe.describe(self._client, self._kind, name)
            except Exception as error:
                if failures.code_of(error) in EVERYBODYS_TROUBLE:
                    raise
                refused = error  # this name's own trouble: the others must not wait for it
                continue
            self._doubtful.discard(name)
            if found is None or self._kind.outcome(found) is not Outcome.ACTIVE:
                self._settle(name, found)
        for watch in watches:
            watch.seen = watch.seen or watch.name not in self._doubtful
        if refused is not None:
            raise refused

    def _suspects(self, names: set[str], new: set[str]) -> set[str]:
        """The names that may have ended, and must be described."""
        if len(names) <= FEW:
            self._listed_until = None  # what happens meanwhile is in no listing of ours
            return names
        since = self._listed_until
        if since is None or len(new) > NEWCOMERS or time.monotonic() - self._swept > SWEEP_SECONDS:
            listings = [self._list(StatusEquals=status) for status in sorted(self._kind.active)]
            self._listed_until = listings[0][1]
            self._swept = time.monotonic()
            return names.difference(*(statuses for statuses, _ in listings))
        changed, self._listed_until = self._list(LastModifiedTimeAfter=since)
        return new | {name for name, status in changed.items() if name in names and status not in self._kind.active}

    def _list(self, **query: Any) -> tuple[dict[str, str], datetime]:
        """Name to status of everything that a listing finds, and the time from which the next one must look."""
        call = getattr(self._client, self._kind.list)
        statuses: dict[str, str] = {}
        reached: datetime | None = None
        token: dict[str, str] = {}
        while True:
            answer = call(NameContains=self._prefix, MaxResults=PAGE, **query, **token)
            # The server's clock, not ours.
            reached = reached or parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]) - OVERLAP
            for summary in answer[self._kind.summaries_field]:
                statuses[summary[self._kind.name_field]] = summary[self._kind.status_field]
            if not answer.get("NextToken"):
                return statuses, reached
            token = {"NextToken": answer["NextToken"]}

    def _settle(self, name: str, found: dict[str, Any] | None) -> None:
        with self._changed:
            settled = [watch for watch in self._watches if watch.name == name]
            self._watches.difference_update(settled)
        for watch in settled:
            try:
                watch.ended.set_result(found)
            except InvalidStateError:  # whoever waited has given up
                log.debug("nobody waits for %s any more", name)

    def _pause(self) -> float:
        """Half a second at first, growing with the youngest waiter's age; longer after failures."""
        now = time.monotonic()
        most = min((watch.most_seconds for watch in self._watches), default=FIRST_SECONDS)
        youngest = min((now - watch.since for watch in self._watches), default=0.0)
        pause = min(most, max(FIRST_SECONDS, AGE_SHARE * youngest))
        if self._failures:
            pause = min(MAX_BACKOFF_SECONDS, max(pause, FIRST_SECONDS * 2.0 ** min(self._failures, 10)))
        return pause * CHANCE.uniform(1 - JITTER, 1 + JITTER)

    def _report(self, watches: Iterable[Watch], error: Exception) -> None:
        if failures.code_of(error) in EXPIRED_CODES:
            self._client = None
        log.warning("looking at %s* failed (%d in a row): %s", self._prefix, self._failures, error)
        # Each waiter hears of the first failure in a row, and of every tenth: its log is read by somebody who wonders.
        if self._failures % 10 == 1:
            for watch in watches:
                with contextlib.suppress(Exception):  # whoever waited may be gone, its event loop closed
                    watch.trouble(f"looking at the {self._kind.name} failed and is tried again: {error}")
