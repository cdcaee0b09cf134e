"""What evaluating one expectation gives, and the two ways in which it cannot be given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from millrace.quality.streaming.batch_view import BatchView


class NotStreamed(Exception):
    """This expectation cannot be answered exactly from a stream of such values; the message says why."""


class CannotEvaluate(Exception):
    """This expectation cannot be answered at all: a column is missing, or holds what cannot be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whether the expectation holds, and the members of Great Expectations' result."""

    success: bool
    result: dict[str, Any] = field(default_factory=dict)
    exception: str | None = None
    """Why it could not be evaluated; such an expectation has failed."""


class Evaluation(Protocol):
    """The state of one expectation while the rows go by. `add` and `answer` may raise NotStreamed or CannotEvaluate."""

    def add(self, view: BatchView) -> None:
        """Look at some more rows."""

    def answer(self) -> Answer:
        """What is known after the last row; asked once."""

    def merge(self, other: Self) -> None:
        """Add what another instance has seen of the same dataset; its rows come after this one's."""

    def state(self) -> dict[str, Any]:
        """What `restore` needs in another process, as JSON values; NotStreamed if it cannot be written."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take the place of the evaluation that wrote this state."""
