"""Count, mean, spread and extrema of numbers, which merge exactly but for rounding.

Reference: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from millrace.profiling.summary import Floats


@dataclass(slots=True)
class Moments:
    """Of the numbers added so far; of none, the mean is 0 and the extrema are infinite."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """The sum of squared distances from the mean; infinite when it does not fit a double."""
    minimum: float = math.inf
    maximum: float = -math.inf

    @classmethod
    def of(cls, values: Floats, counts: Floats | None = None) -> Moments:
        """Of finite values, shape (n,), n above 0, each counted once or as often as `counts` says, same shape."""
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(np.average(values, weights=counts))
            away = values - mean
            squares = float(away @ (away if counts is None else away * counts))
        rows = len(values) if counts is None else int(counts.sum())
        return cls(rows, mean, squares, float(values.min()), float(values.max()))

    def merge(self, other: Moments) -> None:
        if not other.count:
            return
        total = self.count + other.count
        delta = other.mean - self.mean
        self.squares += other.squares + delta * delta * (self.count * other.count / total)
        self.mean += delta * (other.count / total)
        self.count = total
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)

    @property
    def std_dev(self) -> float:
        """The population standard deviation; 0 of no numbers."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0
