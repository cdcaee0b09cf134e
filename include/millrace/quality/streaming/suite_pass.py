"""A suite over the batches of a dataset, once: every expectation that can be streamed, and the names of those that cannot.

What it does not do: it reads no files and evaluates nothing in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from millrace.quality.expectation import Expectation
from millrace.quality.streaming.answers import Answer, CannotEvaluate, Evaluation, NotStreamed
from millrace.quality.streaming.batch_view import BatchView, MissingColumn
from millrace.quality.streaming.table import evaluation_of


@dataclass(frozen=True, slots=True)
class InMemory:
    """An expectation that was not streamed."""

    reason: str


class SuitePass:
    """The evaluations of a suite's expectations; feed it batches, then ask for the answers.

    Raises:
        SuiteError: an expectation's arguments cannot be right (before the first row is read).
    """

    def __init__(self, expectations: Sequence[Expectation]) -> None:
        self.rows = 0
        self.names: list[str] = []
        self.slots: list[Evaluation | InMemory | Answer] = [_begun(expectation) for expectation in expectations]
        """For each expectation what evaluates it, or why it is not streamed, or the answer when it cannot be had."""

    def add(self, view: BatchView) -> None:
        self.rows += view.rows
        self.names = self.names or view.names
        for position, slot in enumerate(self.slots):
            if not isinstance(slot, (InMemory, Answer)):
                self.slots[position] = _kept(slot, lambda slot=slot: slot.add(view))  # type: ignore[misc]

    def answers(self) -> list[Answer | InMemory]:
        """For each expectation its answer, or why it must be evaluated in memory."""
        return [slot if isinstance(slot, (InMemory, Answer)) else _answered(slot) for slot in self.slots]


def _begun(expectation: Expectation) -> Evaluation | InMemory:
    try:
        return evaluation_of(expectation)
    except NotStreamed as reason:
        return InMemory(str(reason))


def _kept(evaluation: Evaluation, work: Callable[[], Any]) -> Evaluation | InMemory | Answer:
    """The evaluation after some work on it, or what becomes of it."""
    try:
        work()
    except NotStreamed as reason:
        return InMemory(str(reason))
    except (MissingColumn, CannotEvaluate) as reason:
        return Answer(success=False, exception=str(reason))
    except pa.ArrowException as reason:  # a number that does not fit the other side of a comparison, for one
        return InMemory(f"Arrow does not evaluate it: {reason}")
    return evaluation


def _answered(evaluation: Evaluation) -> Answer | InMemory:
    try:
        return evaluation.answer()
    except NotStreamed as reason:
        return InMemory(str(reason))
    except pa.ArrowException as reason:
        return InMemory(f"Arrow does not evaluate it: {reason}")
