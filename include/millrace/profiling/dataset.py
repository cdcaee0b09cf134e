"""Read a folder of .csv or .parquet files as a stream of bounded record batches.

Memory stays bounded by one CSV block (32 MiB) or one Parquet batch (64 Ki rows), whatever the folder's size.

What it does not do: it does not follow links out of the folder, decompress archives, or repair a file. A CSV
column's type is inferred from the file's first block; a later value that contradicts it is an error, not a guess.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq

from millrace.profiling.errors import DatasetError

CSV_BLOCK_BYTES = 32 * 1024 * 1024
PARQUET_BATCH_ROWS = 64 * 1024
MISSING_WORDS = ["", "NaN", "nan", "null"]
"""CSV cells that mean a missing value; `NA` is not among them, because it is also a country."""


def read_batches(
    folder: Path, *, exclude: Collection[str] = (), as_text: Collection[str] = (), columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of every .csv and .parquet file under `folder`, in the order of the file names.

    Args:
        folder: searched recursively; hidden files and files of other kinds are passed over.
        exclude: columns left out.
        as_text: columns read as text even where they look like numbers (codes such as `0042`).
        columns: names for the columns of CSV files without a header line.

    Raises:
        DatasetError: the folder or its files are missing, a file cannot be read, or two files differ in columns.
    """
    first: tuple[Path, list[str]] | None = None
    for path in data_files(folder):
        try:
            for batch in _open(path, as_text, columns):
                names = [name for name in batch.schema.names if name not in exclude]
                if first is None:
                    _check_names(path, names)
                    first = (path, names)
                if sorted(names) != sorted(first[1]):
                    odd = ", ".join(sorted(set(names) ^ set(first[1])))
                    raise DatasetError(
                        f"{path} and {first[0]} differ in columns ({odd}); give every file the same columns, or CSV "
                        "files without a header line their names with --columns"
                    )
                yield batch.select(names)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DatasetError(
                f"{path} cannot be read: {error}; write it again as {path.suffix}, or as Parquet if a CSV column "
                "changes its type halfway"
            ) from error


def data_files(folder: Path) -> list[Path]:
    """The .csv and .parquet files under `folder`, sorted; DatasetError if there is none."""
    if not folder.is_dir():
        raise DatasetError(f"the data folder {folder} does not exist; mount the dataset as a processing input there")
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith((".", "_")))
    data = [p for p in files if p.suffix in (".csv", ".parquet")]
    if not data:
        seen = ", ".join(p.name for p in files[:5]) or "nothing"
        raise DatasetError(f"the data folder {folder} holds no .csv or .parquet file (it holds {seen})")
    return data


def _open(path: Path, as_text: Collection[str], columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(PARQUET_BATCH_ROWS):
                yield _texts(batch, as_text)
        return
    if path.stat().st_size == 0:
        raise DatasetError(f"{path} is empty; not even a header line is there")
    reader = pc_csv.open_csv(
        path,
        read_options=pc_csv.ReadOptions(block_size=CSV_BLOCK_BYTES, column_names=list(columns) if columns else None),
        convert_options=pc_csv.ConvertOptions(
            strings_can_be_null=True,
            null_values=MISSING_WORDS,
            true_values=[],  # a column of True and False is text, in CSV as in Parquet
            false_values=[],
            column_types={name: pa.string() for name in as_text},
        ),
    )
    with reader:
        yield from reader


def _texts(batch: pa.RecordBatch, as_text: Collection[str]) -> pa.RecordBatch:
    for index, column in enumerate(batch.schema):
        kind = column.type
        if column.name in as_text and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            batch = batch.set_column(index, column.name, batch.column(index).cast(pa.string()))
    return batch


def _check_names(path: Path, names: list[str]) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled or "" in names:
        what = f"the column name {doubled[0]!r} more than once" if doubled else "a column without a name"
        raise DatasetError(f"{path} has {what}; name every column once, or pass --columns if there is no header line")
