"""Expectations about one number over all rows: least, greatest, mean, sum, standard deviation, shares of missing values.

Sums of integers are exact; of floats they agree with pandas to rounding. The standard deviation is the sample's
(n - 1), merged over batches.

Reference: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.quality.streaming.answers import Answer, NotStreamed
from millrace.quality.streaming.arguments import Arguments
from millrace.quality.streaming.batch_view import BatchView
from millrace.quality.streaming.bounds import Within


class Moments:
    """Count, sum, mean and squares of a column's numbers, with the extrema."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = self.present = 0
        self.total: float = 0
        self.mean = self.squares = 0.0
        self.least: float | None = None
        self.greatest: float | None = None

    def add(self, view: BatchView, *, squares: bool = True) -> None:
        column = view.column(self.name)
        self.rows += view.rows
        present = view.rows - column.missing
        if not present:
            return
        if column.kind != "number":
            raise NotStreamed(f"the column {self.name!r} holds {column.values.type}")
        self._combine(present, *_moments(column.present, squares), *column.limits)

    def merge(self, other: Self) -> None:
        self.rows += other.rows
        if other.present:
            self._combine(other.present, other.total, other.mean, other.squares, other.least, other.greatest)

    def _combine(
        self, present: int, total: float, mean: float, squares: float, least: float | None, greatest: float | None
    ) -> None:
        both = self.present + present
        with np.errstate(all="ignore"):
            delta = mean - self.mean
            self.squares += squares + delta * delta * (self.present * present / both)
            self.mean += delta * (present / both)
        self.total += total
        self.present = both
        self.least = least if self.least is None or least is None else min(self.least, least)
        self.greatest = greatest if self.greatest is None or greatest is None else max(self.greatest, greatest)


def _moments(values: pa.Array, squares: bool) -> tuple[float, float, float]:
    """Sum, mean, and the sum of squares about the mean when it is asked for."""
    if pa.types.is_integer(values.type):
        least, greatest = (int(x.as_py()) for x in pc.min_max(values).values())
        fits = max(abs(least), abs(greatest)) * len(values) < 2**63
        total: float = pc.sum(values).as_py() if fits else sum(values.to_pylist())
    else:
        total = pc.sum(values.cast(pa.float64())).as_py()
    mean = total / len(values)
    if not squares:
        return total, mean, 0.0
    floats = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    with np.errstate(all="ignore"):
        return total, mean, float(np.square(floats - mean).sum())


MOMENTS = ("rows", "present", "total", "mean", "squares", "least", "greatest")
"""What another instance must know."""
Statistic = Callable[[Moments], Any]
STATISTICS: dict[str, Statistic] = {
    "least": lambda m: m.least,
    "greatest": lambda m: m.greatest,
    "sum": lambda m: m.total,
    "mean": lambda m: m.total / m.present if m.present else None,
    "standard deviation": lambda m: math.sqrt(m.squares / (m.present - 1)) if m.present > 1 else None,
    "share of values": lambda m: m.present / m.rows if m.rows else 0,
}


class StatisticBetween:
    """One statistic of a column against bounds."""

    def __init__(self, arguments: Arguments, statistic: str) -> None:
        self.statistic = statistic
        self.within = Within.of(arguments, both_open=True)
        self.moments = Moments(arguments.text("column"))

    def add(self, view: BatchView) -> None:
        self.moments.add(view, squares=self.statistic == "standard deviation")

    def answer(self) -> Answer:
        return number_between(STATISTICS[self.statistic](self.moments), self.within)

    def merge(self, other: Self) -> None:
        self.moments.merge(other.moments)

    def state(self) -> dict[str, Any]:
        return {name: getattr(self.moments, name) for name in MOMENTS}

    def restore(self, state: dict[str, Any]) -> None:
        for name in MOMENTS:
            setattr(self.moments, name, state[name])


class ShareOfValues(StatisticBetween):
    """The share of rows with a value, of any kind."""

    def __init__(self, arguments: Arguments) -> None:
        super().__init__(arguments, "share of values")

    def add(self, view: BatchView) -> None:
        self.moments.rows += view.rows
        self.moments.present += view.rows - view.column(self.moments.name).missing

    def merge(self, other: Self) -> None:
        self.moments.rows += other.moments.rows
        self.moments.present += other.moments.present


def number_between(value: Any, within: Within) -> Answer:
    """Great Expectations' answer on a number that may be unknown."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Answer(success=False, result={"observed_value": None})
    return Answer(success=within.holds(value), result={"observed_value": value})
