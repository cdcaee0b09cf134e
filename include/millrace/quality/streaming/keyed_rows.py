"""Rows that must be grouped by key, exactly, whatever their number: in memory up to a budget, beyond it on disk.

When the budget is full, the rows are written into partitions by a hash of their key: rows of one key are in one
partition, and one partition at a time fits into memory. This is the grace hash join's first half.

Reference: Kitsuregawa, Tanaka and Moto-oka, "Application of hash to data base machine and its architecture", 1983.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

BUDGET_BYTES = 32 * 1024 * 1024
PARTITIONS = 64
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""2**64 / golden ratio, for multiplicative hashing (Knuth, TAOCP vol. 3, 6.4)."""


class KeyedRows:
    """Rows with the key columns `keys`; feed it batches, then ask once for the parts."""

    def __init__(self, keys: Sequence[str], budget: int = BUDGET_BYTES) -> None:
        self.keys = list(keys)
        self.budget = budget
        self.waiting: list[pa.RecordBatch] = []
        self.bytes = 0
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        self.written = 0

    def add(self, rows: pa.RecordBatch) -> None:
        self.waiting.append(rows)
        self.bytes += rows.nbytes
        if self.bytes > self.budget:
            self._write()

    def parts(self) -> Iterator[pa.Table]:
        """Tables that together hold all rows, all rows of a key in one of them. What is on disk is removed."""
        if self.folder is None:
            if self.waiting:
                yield self._table()
            return
        self._write()
        with self.folder as folder:
            for partition in range(PARTITIONS):
                tables = [_read(path) for path in sorted(Path(folder).glob(f"{partition:02d}-*.arrow"))]
                if tables:
                    yield pa.concat_tables(tables, promote_options="permissive")
        self.folder = None

    def _table(self) -> pa.Table:
        """All that waits; integers become floats if another file has floats in their column."""
        tables = [pa.Table.from_batches([rows]) for rows in self.waiting]
        return pa.concat_tables(tables, promote_options="permissive").combine_chunks()

    def _write(self) -> None:
        if not self.waiting:
            return
        if self.folder is None:
            self.folder = tempfile.TemporaryDirectory(prefix="millrace-keys-", ignore_cleanup_errors=True)
        table = self._table()
        partition = _partitions(table, self.keys)
        order = np.argsort(partition, kind="stable")
        ends = np.searchsorted(partition[order], np.arange(PARTITIONS + 1))
        table = table.take(pa.array(order))
        for number in range(PARTITIONS):
            rows = table.slice(ends[number], ends[number + 1] - ends[number])
            if rows.num_rows:
                path = Path(self.folder.name) / f"{number:02d}-{self.written:06d}.arrow"
                with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
                    writer.write_table(rows)
        self.written += 1
        self.waiting, self.bytes = [], 0


def _read(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def _partitions(table: pa.Table, keys: Sequence[str]) -> npt.NDArray[np.int64]:
    """The partition of every row, shape (rows,)."""
    hashed = np.zeros(table.num_rows, dtype=np.uint64)
    for key in keys:
        hashed = (hashed ^ _codes(table.column(key).combine_chunks())) * MULTIPLIER
    return (hashed >> np.uint64(40)).astype(np.int64) % PARTITIONS


def _codes(values: pa.Array) -> npt.NDArray[np.uint64]:
    """A number for every value, equal for equal values; a missing value has 0."""
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        coded = values.dictionary_encode()
        hashes = pa.array([hash(text) & (2**64 - 1) for text in coded.dictionary.to_pylist()], pa.uint64())
        return np.asarray(pc.fill_null(hashes.take(coded.indices), 0), dtype=np.uint64)
    numbers = np.asarray(pc.fill_null(values.cast(pa.float64(), safe=False), 0.0), dtype=np.float64)
    return (numbers + 0.0).view(np.uint64)  # adding 0.0 makes one zero of two
