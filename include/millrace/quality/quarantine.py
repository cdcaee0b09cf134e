"""Put the rows that break a critical row-level expectation aside, with the reasons, and let the others go on.

Both are written as Parquet, a file at a time, in the order in which they are read, and accepted plus quarantined is what
was read. `mostly` does not matter here: it says how many bad rows a suite bears, not which rows are good. Expectations
about the whole (row counts, means, uniqueness) put no row aside: they are held against the accepted rows afterwards.

A cell that is no number, in a column that the suite bounds by numbers, is a bad cell of its row: the row is put aside as it
was delivered, and the others go on with numbers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from millrace.quality.errors import BatchError
from millrace.quality.expectation import Expectation
from millrace.quality.number_cells import as_numbers, column_of
from millrace.quality.reading import SourceBatch
from millrace.quality.streaming.answers import CannotEvaluate, NotStreamed
from millrace.quality.streaming.batch_view import BatchView, MissingColumn
from millrace.quality.streaming.counting import RowCondition
from millrace.quality.streaming.table import row_condition_of

REASONS, FILE, ROW = "_reasons", "_source_file", "_source_row"
MAX_TEXT = 2000


@dataclass(slots=True)
class Reason:
    """One critical row-level expectation, and how many rows it has put aside."""

    expectation: Expectation
    condition: RowCondition
    rows: int = 0

    @property
    def text(self) -> str:
        arguments = {name: v for name, v in self.expectation.kwargs.items() if name not in ("mostly", "batch_id")}
        return f"{self.expectation.type}({', '.join(f'{name}={v!r}' for name, v in arguments.items())})"[:MAX_TEXT]


@dataclass(slots=True)
class Quarantine:
    """Splits record batches into rows that go on and rows that are put aside.

    Args:
        folder: where the data lies; files are named relative to it.
        accepted, quarantined: the folders to write to.
        expectations: the suite's.
        instance: the name of this instance, which its files have: several may write to one place in S3.
    """

    folder: Path
    accepted: Path
    quarantined: Path
    expectations: Sequence[Expectation]
    instance: str = "algo-1"
    reasons: list[Reason] = field(init=False)
    rows_accepted: int = 0
    rows_quarantined: int = 0
    rows_unparsable: int = 0
    """Of the quarantined ones."""
    _bounded: dict[int, str] = field(default_factory=dict)
    """The column that a reason bounds by numbers, by the reason's position."""
    _writers: dict[Path, _Parts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        critical = [expectation for expectation in self.expectations if expectation.blocks]
        found = [(expectation, row_condition_of(expectation)) for expectation in critical]
        self.reasons = [Reason(expectation, condition) for expectation, condition in found if condition is not None]
        columns = {position: column_of(reason.expectation) for position, reason in enumerate(self.reasons)}
        self._bounded = {position: name for position, name in columns.items() if name is not None}
        self._writers = {folder: _Parts(folder, self.instance) for folder in (self.accepted, self.quarantined)}

    @property
    def rows_read(self) -> int:
        return self.rows_accepted + self.rows_quarantined

    @property
    def share(self) -> float:
        """The share of the rows read that was put aside, from 0 to 1."""
        return self.rows_quarantined / self.rows_read if self.rows_read else 0.0

    def split(self, source: SourceBatch) -> pa.RecordBatch:
        """The rows that go on, written; the others are written with their reasons.

        Raises:
            BatchError: the data has a column of a name that the quarantine needs.
        """
        taken = {REASONS, FILE, ROW}.intersection(source.rows.schema.names)
        if taken:
            raise BatchError(f"{source.path} has a column {taken.pop()!r}, which the quarantine writes; rename it")
        good, strange = as_numbers(source.rows, list(self._bounded.values()))
        view = BatchView(good, 0)
        broken = [
            (reason, mask)
            for position, reason in enumerate(self.reasons)
            if (mask := _either(strange.get(self._bounded.get(position, "")), _unexpected(reason, view))) is not None
        ]
        if broken:
            bad = pc.fill_null(broken[0][1], False)
            for _, mask in broken[1:]:
                bad = pc.or_(bad, pc.fill_null(mask, False))
            self._put_aside(source, bad, broken)
            good = good.filter(pc.invert(bad))
        self._writers[self.accepted].write(source.path, good)
        self.rows_accepted += good.num_rows
        return good

    def on_invalid(self, path: Path, text: str) -> None:
        """Put a line aside that could not be read as a row at all."""
        self.quarantined.mkdir(parents=True, exist_ok=True)
        line = {FILE: self._name(path), "text": text[:MAX_TEXT], REASONS: ["it is not a row of the table"]}
        with (self.quarantined / f"{self.instance}-unparsable.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.rows_quarantined += 1
        self.rows_unparsable += 1

    def close(self) -> None:
        """End the files; RuntimeError if what is in them is not what was counted."""
        for writer in self._writers.values():
            writer.close()
        written = [writer.rows for writer in self._writers.values()]
        counted = [self.rows_accepted, self.rows_quarantined - self.rows_unparsable]
        if written != counted:
            raise RuntimeError(f"{written} rows were written as accepted and quarantined, and {counted} were counted")

    def metrics(self) -> dict[str, float]:
        """Rows read, accepted and quarantined, and the share of the last."""
        return {
            "rows_read": self.rows_read,
            "rows_accepted": self.rows_accepted,
            "rows_quarantined": self.rows_quarantined,
            "quarantined_share": self.share,
        }

    def _put_aside(self, source: SourceBatch, bad: pa.Array, broken: list[tuple[Reason, pa.Array]]) -> None:
        rows = source.rows.filter(bad)
        reasons: list[list[str]] = [[] for _ in range(rows.num_rows)]
        for reason, mask in broken:
            for of_row, hit in zip(reasons, mask.filter(bad).to_pylist(), strict=True):
                if hit:
                    of_row.append(reason.text)
                    reason.rows += 1
        numbers = pc.add(pc.indices_nonzero(bad).cast(pa.int64()), source.first_row)
        columns: dict[str, Any] = {
            **dict(zip(rows.schema.names, rows.columns, strict=True)),
            REASONS: pa.array(reasons, pa.list_(pa.string())),
            FILE: pa.array([self._name(source.path)] * rows.num_rows, pa.string()),
            ROW: numbers,
        }
        self._writers[self.quarantined].write(source.path, pa.RecordBatch.from_pydict(columns))
        self.rows_quarantined += rows.num_rows

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.name


class _Parts:
    """A folder of Parquet files, one for each source file (and one more where a column changes its type)."""

    def __init__(self, folder: Path, instance: str) -> None:
        self.folder, self.instance = folder, instance
        self.rows = 0
        self.files = 0
        self.source: Path | None = None
        self.writer: pq.ParquetWriter | None = None

    def write(self, source: Path, rows: pa.RecordBatch) -> None:
        if not rows.num_rows:
            return
        if self.writer is None or source != self.source or not rows.schema.equals(self.writer.schema):
            self.close()
            self.folder.mkdir(parents=True, exist_ok=True)
            self.writer = pq.ParquetWriter(self.folder / f"{self.instance}-{self.files:05d}.parquet", rows.schema)
            self.source = source
            self.files += 1
        self.writer.write_batch(rows)
        self.rows += rows.num_rows

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.writer = None


def _either(strange: pa.Array | None, unexpected: pa.Array | None) -> pa.Array | None:
    """True where either is; None where neither ever is."""
    if strange is None or not pc.any(strange).as_py():
        return unexpected
    return strange if unexpected is None else pc.or_(strange, pc.fill_null(unexpected, False))


def _unexpected(reason: Reason, view: BatchView) -> pa.Array | None:
    """True where a row is to be put aside. An expectation that cannot be evaluated fails the gate, and puts none aside."""
    try:
        return reason.condition.unexpected(view)
    except (MissingColumn, NotStreamed, CannotEvaluate, pa.ArrowException):
        return None
