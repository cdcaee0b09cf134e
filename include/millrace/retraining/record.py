"""One entry of a model's history: what was found about one window or version, what was decided, and why."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

MAX_BYTES = 64 * 1024
OUTCOMES: Mapping[str, Sequence[str]] = {
    "gate": ("passed", "failed"),
    "quality": ("measured", "estimated", "not judged"),
    "window": ("stable", "drifted", "not judged"),
    "challenge": ("won", "lost"),
}
"""What each kind of record may have found; the kinds are in the order in which one leads to another."""
ACTIONS = ("none", "hold", "retrain", "promote", "refuse")
"""What may be decided: `hold` is drift that does not ask for a retraining yet."""


class RecordError(ValueError):
    """A record is not one; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An entry, written once.

    Raises:
        RecordError: a field is outside of what it may be.
    """

    kind: str
    """A key of OUTCOMES."""
    at: datetime
    """The time that it is about, such as a window's end; not when it was written."""
    subject: str
    """The window or version."""
    outcome: str
    summary: str
    action: str = "none"
    why: str = ""
    """The reason for the action, in one sentence."""
    champion: str | None = None
    """The champion's version at that time."""
    facts: Mapping[str, float] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    """Name to S3 URI."""
    by: Mapping[str, str] = field(default_factory=dict)
    """The DAG, run and task that wrote it, and the job that found it."""

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES.get(self.kind, ()):
            known = "; ".join(f"{kind}: {', '.join(outcomes)}" for kind, outcomes in OUTCOMES.items())
            raise RecordError(f"there is no outcome {self.outcome!r} of kind {self.kind!r}; there are {known}")
        if self.action not in ACTIONS:
            raise RecordError(f"the action is {self.action!r}; it must be one of {', '.join(ACTIONS)}")
        if self.at.tzinfo is None:
            raise RecordError(f"the time {self.at} has no zone; give one, such as UTC")
        for name, value in self.facts.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise RecordError(f"the fact {name!r} is {value!r}; it must be a finite number")

    def to_json(self) -> bytes:
        return json.dumps(asdict(self) | {"at": self.at.astimezone(UTC).isoformat()}, indent=1, sort_keys=True).encode()


def parse(raw: bytes) -> Record:
    """A record that was read from S3.

    Raises:
        RecordError: it is not one.
    """
    if len(raw) > MAX_BYTES:
        raise RecordError(f"it has {len(raw)} bytes; at most {MAX_BYTES} are read")
    try:
        document: Any = json.loads(raw)
        texts = {name: str(document[name]) for name in ("kind", "subject", "outcome", "summary", "action", "why")}
        champion = document["champion"]
        return Record(
            **texts,
            at=datetime.fromisoformat(document["at"]),
            champion=None if champion is None else str(champion),
            facts={str(name): value for name, value in document["facts"].items()},
            links={str(name): str(uri) for name, uri in document["links"].items()},
            by={str(name): str(who) for name, who in document["by"].items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RecordError(f"it is no record: {error!r}") from error
