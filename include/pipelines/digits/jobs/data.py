"""The digits as tables: reading what a job was given, checking its columns, and splitting it the same way every time.

Rows are images: 64 pixel columns with values 0..16 (8 by 8, row by row), and a label column of 0..9 where there is one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.digits.settings import LABEL, PIXELS

SPLIT_SEED = 7


class BadData(ValueError):
    """The data cannot be used; the message says which file or column, and what would fix it."""


def shipped() -> pd.DataFrame:
    """The 1,797 labelled images that scikit-learn ships."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    frame = pd.DataFrame(digits.data.astype(np.float32), columns=list(PIXELS))
    frame[LABEL] = digits.target.astype(np.int64)
    return frame


def read_folder(folder: Path, *, labelled: bool) -> pd.DataFrame:
    """The Parquet and CSV files below a folder as one table.

    Raises:
        BadData: there is no such file, one cannot be read, a column is missing, or there is no row.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".parquet", ".csv"))
    if not files:
        there = sorted(path.name for path in folder.rglob("*") if path.is_file())
        raise BadData(f"no .parquet or .csv file among {there}; the source must be one of these, named so")
    frames = []
    for path in files:
        try:
            frames.append(pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path))
        except Exception as error:
            # pandas and pyarrow raise many types for a file that is not what its name says
            raise BadData(f"{path.name} cannot be read as {path.suffix[1:]}: {error}") from error
    frame = pd.concat(frames, ignore_index=True)
    wanted = [*PIXELS, LABEL] if labelled else list(PIXELS)
    missing = [column for column in wanted if column not in frame.columns]
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise BadData(
            f"the source lacks the columns {shown}; it needs {wanted[0]} to {PIXELS[-1]}"
            + (f" and {LABEL}" if labelled else "")
        )
    if frame.empty:
        raise BadData("the source has no rows; give one with data")
    return frame[wanted]


def split(frame: pd.DataFrame, *shares: float) -> list[pd.DataFrame]:
    """Disjoint parts of the rows in the given shares; the same rows always fall into the same part."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(frame))
    bounds = (np.cumsum(shares) / sum(shares) * len(frame)).round().astype(int)
    return [frame.iloc[np.sort(part)].reset_index(drop=True) for part in np.split(order, bounds[:-1])]


def write(frame: pd.DataFrame, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / f"{name}.parquet", index=False)
    print(f"wrote {len(frame)} rows to {folder.name}/{name}.parquet", flush=True)
