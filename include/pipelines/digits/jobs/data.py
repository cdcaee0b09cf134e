"""The digits as tables: the shipped ones, and a split that is the same every time.

Rows are images: 64 pixel columns with values 0..16 (8 by 8, row by row), and a label column of 0..9 where there is one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.digits.settings import LABEL, PIXELS

SPLIT_SEED = 7


def shipped() -> pd.DataFrame:
    """The 1,797 labelled images that scikit-learn ships."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    frame = pd.DataFrame(digits.data.astype(np.float32), columns=list(PIXELS))
    frame[LABEL] = digits.target.astype(np.int64)
    return frame


def split(frame: pd.DataFrame, *shares: float) -> list[pd.DataFrame]:
    """Disjoint parts of the rows in the given shares; the same rows always fall into the same part."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(frame))
    bounds = (np.cumsum(shares) / sum(shares) * len(frame)).round().astype(int)
    return [frame.iloc[np.sort(part)].reset_index(drop=True) for part in np.split(order, bounds[:-1])]


def write(frame: pd.DataFrame, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / f"{name}.parquet", index=False)
    print(f"wrote {len(frame)} rows to {folder.name}/{name}.parquet", flush=True)
