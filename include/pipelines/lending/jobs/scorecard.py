"""The model: a linear scorecard over standardised numbers and one column for each category. Numpy only: it is served."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.lending.settings import CATEGORIES, EMPLOYMENTS, NUMBERS, REGIONS

Floats = npt.NDArray[np.float64]
FILE = "scorecard.json"
KNOWN = {"employment": EMPLOYMENTS, "region": REGIONS}
LOGARITHMS = ("income", "amount", "history_months")


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Weights, and the scales of the numbers they were fitted to."""

    means: Floats
    deviations: Floats
    weights: Floats
    intercept: float

    def probabilities(self, rows: npt.NDArray[Any]) -> Floats:
        """Of default, shape (n,), for rows of features in their order, shape (n, features)."""
        odds = matrix(rows, self.means, self.deviations) @ self.weights + self.intercept
        return 1 / (1 + np.exp(-odds))

    def write(self, folder: Path) -> None:
        document = {
            "means": self.means.tolist(), "deviations": self.deviations.tolist(), "weights": self.weights.tolist(),
            "intercept": self.intercept,
        }  # fmt: skip
        (folder / FILE).write_text(json.dumps(document, indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Scorecard:
        document = json.loads((folder / FILE).read_text(encoding="utf-8"))
        means, deviations, weights = (
            np.array(document[name], dtype=np.float64) for name in ("means", "deviations", "weights")
        )
        return cls(means, deviations, weights, float(document["intercept"]))


def scales(rows: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Means and standard deviations of the numbers, shapes (numbers,)."""
    numbers = _numbers(rows)
    return numbers.mean(axis=0), np.maximum(numbers.std(axis=0), 1e-9)


def matrix(rows: npt.NDArray[Any], means: Floats, deviations: Floats) -> Floats:
    """The model's columns; an unknown category is in none of them."""
    categories = [
        (rows[:, len(NUMBERS) + place] == known).astype(np.float64)
        for place, name in enumerate(CATEGORIES)
        for known in KNOWN[name]
    ]
    return np.column_stack([(_numbers(rows) - means) / deviations, *categories])


def _numbers(rows: npt.NDArray[Any]) -> Floats:
    numbers = rows[:, : len(NUMBERS)].astype(np.float64)
    for place, name in enumerate(NUMBERS):
        if name in LOGARITHMS:
            numbers[:, place] = np.log1p(numbers[:, place])
    return numbers
