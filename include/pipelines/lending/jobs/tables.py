"""Read the tables that a job was given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from millrace.job_exit import InputError

READERS: Mapping[str, Callable[[Path], pd.DataFrame]] = {".parquet": pd.read_parquet, ".csv": pd.read_csv}


def read_folder(folder: Path, columns: Sequence[str]) -> pd.DataFrame:
    """These columns of the Parquet and CSV files below a folder, as one table.

    Raises:
        InputError: there is no such file, a column is missing, or there is no row.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix in READERS)
    if not files:
        raise InputError(f"{folder} holds no .parquet or .csv file")
    frame: pd.DataFrame = pd.concat([READERS[path.suffix](path) for path in files], ignore_index=True)
    missing = sorted(set(columns) - set(frame.columns))
    if missing:
        raise InputError(f"{folder} lacks the columns {', '.join(missing)}")
    if frame.empty:
        raise InputError(f"{folder} holds no row")
    return frame[list(columns)]
