"""A quality gate: one pass over the rows, what cannot be streamed in memory afterwards, and the results of both.

It decides nothing: what a verdict makes of the results is `findings`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from millrace.quality import in_memory
from millrace.quality.expectation import Suite
from millrace.quality.quarantine import Quarantine
from millrace.quality.reading import SourceBatch
from millrace.quality.results import IN_MEMORY, Evaluated
from millrace.quality.streaming.answers import Answer
from millrace.quality.streaming.batch_view import BatchView
from millrace.quality.streaming.suite_pass import InMemory, SuitePass

Read = Callable[[], Iterator[SourceBatch]]
"""Reads the rows from the beginning, each time it is called."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The rows that were judged, and every expectation's answer in the suite's order."""

    rows: int
    columns: int
    results: list[Evaluated]


def stream(suite: Suite, read: Read, quarantine: Quarantine | None = None) -> SuitePass:
    """The suite's pass over the rows; with a quarantine over those that it accepts.

    Raises:
        SuiteError: an expectation cannot be right (before the first row is read).
        BatchError: the rows cannot be read.
    """
    found = SuitePass(suite.expectations)
    in_memory.check(
        [one for one, slot in zip(suite.expectations, found.slots, strict=True) if isinstance(slot, InMemory)]
    )
    for source in read():
        rows = source.rows if quarantine is None else quarantine.split(source)
        if rows.num_rows:
            found.add(BatchView(rows, found.rows))
    if quarantine is not None:
        quarantine.close()
    return found


def judge(suite: Suite, found: SuitePass, read: Read) -> Judged:
    """The answers of a pass that has seen all rows, and Great Expectations' for what was not streamed.

    Args:
        read: reads the judged rows again, for what is evaluated in memory.
    """
    answers = found.answers()
    left = [n for n, answer in enumerate(answers) if isinstance(answer, InMemory)]
    late: list[Answer] = []
    if left and found.rows:
        late = in_memory.evaluate(_batches(read), [suite.expectations[n] for n in left])
    elif left:
        late = [Answer(success=False, exception="no row is left to evaluate it on")] * len(left)
    by_position = dict(zip(left, late, strict=True))
    results = [
        Evaluated(expectation=expectation, answer=by_position[n], how=IN_MEMORY, why=answer.reason)
        if isinstance(answer, InMemory)
        else Evaluated(expectation=expectation, answer=answer)
        for n, (expectation, answer) in enumerate(zip(suite.expectations, answers, strict=True))
    ]
    return Judged(found.rows, len(found.names), results)


def _batches(read: Read) -> Iterator[pa.RecordBatch]:
    for source in read():
        yield source.rows
