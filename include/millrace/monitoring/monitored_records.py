"""What a monitored model was asked and what it answered, record by record: captured, or as batch transform wrote it.

Each record has the key that its ground truth is found by: a captured one its inference id, else its event id, and a written
one the value of its column of ids. Where one captured request holds several records, the k-th of n has the key
`<id>[<k>/<n>]`, and so has its label (`ground_truth_file`).

What it does not do: it knows neither labels nor what the cells mean.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from millrace.monitoring.container_contract import Contract
from millrace.monitoring.contract_dataset import open_batches
from millrace.monitoring.record_cells import column_of, find
from millrace.profiling.capture import INPUT, OUTPUT, Capture
from millrace.profiling.errors import DatasetError
from millrace.profiling.payload import Cell, Cells
from millrace.profiling.unreadable import Unreadable


@dataclass(frozen=True, slots=True)
class MonitoredRecord:
    """One record."""

    key: str | None
    """What its ground truth is found by."""
    asked: Cells
    answered: Cells
    """Of files, where both stand in one row, the same as `asked`."""


class MonitoredRecords:
    """The records of a contract's dataset; each reading counts anew.

    Args:
        parts: what is needed of captured lines.
        names: of columns of files that have none, by position.
        as_text: attributes that in files hold text even where it looks like numbers.

    Raises:
        DatasetError: the endpoint does not capture a part that is needed.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        parts: Collection[str] = (OUTPUT,),
        names: Sequence[str] = (),
        as_text: Collection[str] = (),
    ) -> None:
        lacking = sorted(set(parts) - set(contract.format.parts)) if contract.format.kind == "capture" else []
        if lacking:
            raise DatasetError(
                f"the endpoint captures no {lacking[0]}, which this analysis needs; add it to the CaptureOptions of its "
                "DataCaptureConfig"
            )
        self._contract = contract
        self._parts = parts
        self._names = names
        self._as_text = {column_of(attribute) for attribute in (contract.attributes.inference_id, *as_text)}
        self.unreadable = Unreadable()
        self.rows = 0

    def __iter__(self) -> Iterator[MonitoredRecord]:
        self.rows = 0
        for record in self._captured() if self._contract.format.kind == "capture" else self._written():
            self.rows += 1
            yield record
        if self.unreadable and not self.rows:
            lines = self.unreadable
            raise DatasetError(f"none of {lines.count} lines can be read; {'; '.join(lines.examples)}")

    def _captured(self) -> Iterator[MonitoredRecord]:
        contract = self._contract
        capture = Capture(contract.source, parts=tuple(self._parts), since=contract.since, until=contract.until)
        for event in capture.events():
            key, count = event.inference_id or event.event_id, len(event.rows)
            for index in range(count):
                asked, answered = (event.parts[part][index] if part in event.parts else [] for part in (INPUT, OUTPUT))
                yield MonitoredRecord(key_of(key, index, count), asked, answered)
        self.unreadable = capture.unreadable

    def _written(self) -> Iterator[MonitoredRecord]:
        with open_batches(self._contract, self._names, self._as_text) as (batches, unreadable):
            for batch in batches:
                for row in batch.to_pylist():
                    cells: Cells = [(name, _cell(value)) for name, value in row.items()]
                    key = find(cells, self._contract.attributes.inference_id)
                    yield MonitoredRecord(None if key is None else str(key), cells, cells)
            self.unreadable = unreadable


def key_of(event_id: str, index: int, count: int) -> str:
    """The key of one of the records of an event.

    >>> key_of("a", 0, 1), key_of("a", 0, 2)
    ('a', 'a[1/2]')
    """
    return event_id if count == 1 else f"{event_id}[{index + 1}/{count}]"


def _cell(value: Any) -> Cell:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, str):
        return value.strip() or None  # as in captured payloads
    return value if value is None or isinstance(value, int | float) else str(value)
