"""A model for attributions: the sum of its features, the first counting as often as there are model archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def score(rows: Floats) -> Floats:
    weights = np.ones(rows.shape[1])
    weights[0] = len(list(Path("input/model").rglob("*.tar.gz")))
    scores: Floats = rows @ weights
    return scores
