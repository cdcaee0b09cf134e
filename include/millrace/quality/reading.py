"""The rows of a batch as they are read: record batches that say which file they come from, and where in it they begin.

`millrace.profiling.dataset` reads; it does not say which file a record batch came from, and passes over the
`<name>.csv.out` files of batch transform. So each file is read here as a folder of its own, with a link of the right name
in it, and this is the one place to change when the reader says both. It repairs nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from millrace.profiling.dataset import read_batches
from millrace.profiling.errors import DatasetError
from millrace.quality.errors import BatchError

SUFFIXES = {".csv": ".csv", ".parquet": ".parquet", ".csv.out": ".csv"}
"""How the files of a batch end, and what they are."""


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """Some rows that follow each other in one file."""

    path: Path
    first_row: int
    """The number of its first row in the file, counted from 1, without the header line."""
    rows: pa.RecordBatch


def read_source(folder: Path, columns: Sequence[str] | None = None) -> Iterator[SourceBatch]:
    """All rows of the .csv, .csv.out and .parquet files under `folder`, in the order of the file names.

    Args:
        folder: searched recursively; hidden files and files of other kinds are passed over.
        columns: names for the columns of CSV files without a header line.

    Raises:
        BatchError: no file is there, one cannot be read, two differ in columns, or there are no rows.
    """
    first: tuple[Path, list[str]] | None = None
    rows = 0
    paths = source_files(folder)
    for path in paths:
        row = 1
        for batch in _read(path, columns):
            names = list(batch.schema.names)
            first = first or (path, names)
            if sorted(names) != sorted(first[1]):
                odd = ", ".join(sorted(set(names) ^ set(first[1])))
                raise BatchError(
                    f"{path} and {first[0]} differ in columns ({odd}); give every file the same columns, or CSV files "
                    "without a header line their names with --columns"
                )
            yield SourceBatch(path, row, batch.select(first[1]))
            row += batch.num_rows
            rows += batch.num_rows
    if not rows:
        raise BatchError(
            f"the batch is empty: the {len(paths)} files under {folder} hold no rows; check the step before"
        )


def source_files(folder: Path) -> list[Path]:
    """The files of a batch, sorted; BatchError if there is none."""
    if not folder.is_dir():
        raise BatchError(f"the data folder {folder} does not exist; mount the dataset as a processing input there")
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith((".", "_")))
    data = [path for path in files if path.name.endswith(tuple(SUFFIXES))]
    if not data:
        seen = ", ".join(p.name for p in files[:5]) or "nothing"
        raise BatchError(f"the data folder {folder} holds no .csv or .parquet file (it holds {seen})")
    return data


def _read(path: Path, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    (suffix,) = (kind for ending, kind in SUFFIXES.items() if path.name.endswith(ending))
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"rows{suffix}"
        link.symlink_to(path.resolve())
        try:
            yield from read_batches(Path(folder), columns=columns)
        except DatasetError as error:
            raise BatchError(str(error).replace(str(link), str(path))) from error
