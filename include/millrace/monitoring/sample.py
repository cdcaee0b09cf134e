"""A uniform sample of at most N rows of a stream, that merges with the samples of other shards and days.

Every row draws a priority, and the N rows with the smallest are kept: so any batch order gives a uniform sample, and
the N smallest of two samples are a uniform sample of both streams together (bottom-k sampling). Memory is 2 N rows and
one batch.

It is stored as Parquet with the priorities in a column of its own and the count of rows seen in the file's metadata.
What it is for: questions about several columns at once, which a profile cannot answer. What it does not do: it hides
nothing; a sample holds real rows, and lies where the data may lie.

Reference: Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from millrace.profiling.errors import DatasetError, FormatError

FILE_NAME = "sample.parquet"
MAX_ROWS = 10_000
MAX_BYTES = 1024**3
PRIORITY = "_priority"
SEEN = b"millrace.rows_seen"


class Reservoir:
    """Feed it batches, merge it with others, ask for its rows.

    Args:
        capacity: the most rows that are kept.
        seed: shards of one dataset take different seeds, or their rows would draw the same priorities.

    Raises:
        DatasetError: batches differ in columns, or in types that no common type holds.
    """

    def __init__(self, capacity: int = MAX_ROWS, seed: int | Sequence[int] = 0) -> None:
        self.capacity = capacity
        self.rows_seen = 0
        self._dice = np.random.default_rng(seed)
        self._kept: list[pa.Table] = []
        self._limit = 1.0

    def add(self, batch: pa.RecordBatch) -> None:
        if PRIORITY in batch.schema.names:
            raise DatasetError(f"the dataset has a column {PRIORITY!r}, which a sample needs for itself; rename it")
        self.rows_seen += batch.num_rows
        drawn = self._dice.random(batch.num_rows)
        chosen = np.flatnonzero(drawn < self._limit)
        rows = _without_dictionaries(pa.table(batch).take(pa.array(chosen)))
        self._take(rows.append_column(PRIORITY, pa.array(drawn[chosen])))

    def merge(self, other: Reservoir) -> None:
        """Take over what the other has seen; both may then go on."""
        self.rows_seen += other.rows_seen
        for part in other._kept:
            self._take(part)

    def rows(self) -> pa.Table:
        """The sample, in no meaningful order.

        Raises:
            DatasetError: nothing has been seen yet.
        """
        return self._compacted().drop_columns([PRIORITY])

    def write(self, folder: Path) -> Path:
        """Write `sample.parquet` into `folder` and return its path."""
        table = self._compacted()
        path = folder / FILE_NAME
        pq.write_table(table.replace_schema_metadata({SEEN: str(self.rows_seen).encode()}), path)
        return path

    def _take(self, part: pa.Table) -> None:
        if part.num_rows:
            self._kept.append(part)
        elif not self._kept:
            self._kept = [part]
        if sum(kept.num_rows for kept in self._kept) > 2 * self.capacity:
            self._compacted()

    def _compacted(self) -> pa.Table:
        if not self._kept:
            raise DatasetError("no row has been seen; nothing can be sampled")
        names = set(self._kept[0].column_names)
        for kept in self._kept:
            if set(kept.column_names) != names:
                odd = ", ".join(sorted(set(kept.column_names) ^ names))
                raise DatasetError(f"parts of the sample differ in columns ({odd}); sample shards of one dataset")
        try:
            table = pa.concat_tables(self._kept, promote_options="permissive")
        except pa.ArrowException as error:
            raise DatasetError(
                f"parts of the sample differ in types ({error}); write the column with one type"
            ) from error
        if table.num_rows > self.capacity:
            table = table.take(pc.select_k_unstable(table, self.capacity, [(PRIORITY, "ascending")]))
            self._limit = pc.max(table[PRIORITY]).as_py()
        self._kept = [table]
        return table


def _without_dictionaries(rows: pa.Table) -> pa.Table:
    """The same rows with the values themselves: what is a dictionary in one file may be none in the next."""
    for index, column in enumerate(rows.schema):
        if pa.types.is_dictionary(column.type):
            rows = rows.set_column(index, column.name, rows.column(index).cast(column.type.value_type))
    return rows


def read_sample(folder: Path, capacity: int = MAX_ROWS) -> Reservoir:
    """The reservoir in `folder/sample.parquet`; it can be merged on, but its own stream has ended.

    Raises:
        FormatError: the file is missing, over 1 GiB, or not written by a reservoir.
    """
    path = folder / FILE_NAME
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FormatError(f"{path} is {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise FormatError(f"{path} cannot be read ({error}); write the baseline with its sample again") from error
    seen = (table.schema.metadata or {}).get(SEEN, b"")
    if PRIORITY not in table.column_names or not pa.types.is_float64(table[PRIORITY].type) or not seen.isdigit():
        raise FormatError(f"{path} is Parquet and not a sample: it lacks the priorities or the count of rows seen")
    reservoir = Reservoir(capacity)
    reservoir._take(table)
    reservoir.rows_seen = int(seen)
    return reservoir
