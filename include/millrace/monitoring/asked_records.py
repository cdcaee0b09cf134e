"""Records whose answers are asked of a model, because the dataset has none: what Clarify's own job does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from millrace.monitoring.model_answers import MAX_ROWS, ModelAnswers
from millrace.monitoring.monitored_records import MonitoredRecord, MonitoredRecords
from millrace.profiling.payload import Cell
from millrace.profiling.unreadable import Unreadable


class AskedRecords:
    """Records with a model's answers; each reading asks anew.

    Args:
        given: what of a record is given to the model.
    """

    def __init__(
        self,
        records: MonitoredRecords,
        answers: ModelAnswers,
        given: Callable[[MonitoredRecord], Sequence[Cell]],
    ) -> None:
        self._records = records
        self._answers = answers
        self._given = given

    @property
    def rows(self) -> int:
        return self._records.rows

    @property
    def unreadable(self) -> Unreadable:
        return self._records.unreadable

    def __iter__(self) -> Iterator[MonitoredRecord]:
        records = iter(self._records)
        while batch := list(islice(records, MAX_ROWS)):
            answers = self._answers.of(map(self._given, batch))
            for record, answered in zip(batch, answers, strict=True):
                yield MonitoredRecord(record.key, record.asked, answered)
