"""The rows of a batch as they are read: record batches that say which file they come from, and where in it they begin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from millrace.profiling.dataset import AS_IT_IS, Reading, data_files, read_files
from millrace.profiling.errors import DatasetError
from millrace.quality.errors import BatchError


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """Some rows that follow each other in one file."""

    path: Path
    first_row: int
    """The number of its first row in the file, counted from 1, without the header line."""
    rows: pa.RecordBatch


def read_source(folder: Path, reading: Reading = AS_IT_IS, *, may_be_empty: bool = False) -> Iterator[SourceBatch]:
    """All rows of the data files under `folder`, in the order of the file names.

    Args:
        may_be_empty: no file, or no row, is no error: this is one instance's shard.

    Raises:
        DatasetError: no file is there, one cannot be read, or two differ in columns.
        BatchError: there are no rows.
    """
    if may_be_empty and not _has_files(folder):
        return
    reached: Path | None = None
    row = 1
    for path, batch in read_files(folder, reading):
        row = 1 if path != reached else row
        reached = path
        yield SourceBatch(path, row, batch)
        row += batch.num_rows
    if reached is None and not may_be_empty:
        raise BatchError(
            f"the batch is empty: the {len(data_files(folder))} files under {folder} hold no rows; check the step before"
        )


def _has_files(folder: Path) -> bool:
    try:
        return bool(data_files(folder))
    except DatasetError:
        return False
