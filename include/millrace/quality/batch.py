"""Read a folder of .csv or .parquet files into one pandas dataframe, the batch that a suite judges.

It repairs nothing: types are what pandas infers, because judging the data is the suite's work. All rows are held in
memory at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from millrace.quality.errors import BatchError


def read_batch(folder: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """All rows of the .csv and .parquet files under `folder`, in the order of the file names.

    Args:
        folder: searched recursively; hidden files and files of other kinds are passed over.
        columns: names for the columns of CSV files without a header line.

    Raises:
        BatchError: no file is there, one cannot be read, two differ in columns, or there are no rows.
    """
    if not folder.is_dir():
        raise BatchError(f"the data folder {folder} does not exist; mount the dataset as a processing input there")
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith((".", "_")))
    # Batch transform names its outputs `<input>.out`.
    data = [p for p in files if p.suffix in (".csv", ".parquet") or p.name.endswith(".csv.out")]
    if not data:
        seen = ", ".join(p.name for p in files[:5]) or "nothing"
        raise BatchError(f"the data folder {folder} holds no .csv or .parquet file (it holds {seen})")
    frames = [_read(path, columns) for path in data]
    for path, frame in zip(data, frames, strict=True):
        odd = sorted(set(map(str, frame.columns)) ^ set(map(str, frames[0].columns)))
        if odd:
            raise BatchError(
                f"{path} and {data[0]} differ in columns ({', '.join(odd)}); give every file the same columns, or CSV "
                "files without a header line their names with --columns"
            )
    batch = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    if batch.empty:
        raise BatchError(
            f"the batch is empty: the {len(data)} files under {folder} hold no rows; check the step before"
        )
    return batch


def _read(path: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if columns is None:
            return pd.read_csv(path)
        return _named(path, pd.read_csv(path, header=None), columns)
    except pd.errors.EmptyDataError as error:
        raise BatchError(f"the batch is empty: {path} has not even a header line; check the step before") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        if isinstance(error, BatchError):
            raise
        raise BatchError(f"{path} cannot be read: {error}") from error


def _named(path: Path, frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    if len(frame.columns) != len(columns):
        raise BatchError(f"{path} has {len(frame.columns)} columns and --columns names {len(columns)}; name every one")
    frame.columns = pd.Index(columns)
    return frame
