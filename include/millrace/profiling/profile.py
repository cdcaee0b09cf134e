"""Profile a dataset in one pass: counts, moments, extrema, a quantile sketch, categories.

Profiles merge: the profile of two halves is the profile of the whole (exactly for counts and extrema, to rounding for
moments, within the sketch's error for quantiles), so that hosts can profile shards and one can add them up.

Memory is bounded per column: a KLL sketch with k=2048 (about 5,000 values at a million rows, rank error 0.14 % at 99 %
confidence) or at most 2,000 categories of 256 characters. What it does not do: dates, lists and binary columns are only
counted; categories past the 2,000th are counted together.

References: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
1979. Karnin, Lang and Liberty, "Optimal quantile approximation in streams", 2016 (KLL).
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasketches import hll_sketch, hll_union, kll_doubles_sketch

from millrace.profiling.errors import DatasetError
from millrace.profiling.summary import (
    ColumnSummary,
    DatasetSummary,
    NumericSummary,
    TextSummary,
    UnknownSummary,
)

SKETCH_K = 2048
MAX_CATEGORIES = 2000
MAX_CATEGORY_CHARACTERS = 256
HLL_LOG2_BUCKETS = 12


class NumericProfile:
    """Numbers: moments by Chan's merge, extrema, and a KLL sketch. NaN counts as missing.

    Raises:
        DatasetError: a value is infinite, or the squares of the values do not fit a double.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.present = self.missing = self.integral = 0
        self.declared_integral = True
        self.mean = self.squares = 0.0
        self.minimum, self.maximum = math.inf, -math.inf
        self.sketch = kll_doubles_sketch(SKETCH_K)

    def add(self, column: pa.Array) -> None:
        values = column.drop_null().cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        values = values[~np.isnan(values)]
        self.missing += len(column) - len(values)
        self.declared_integral &= pa.types.is_integer(column.type)
        if not len(values):
            return
        low, high = float(values.min()), float(values.max())
        if math.isinf(low) or math.isinf(high):
            seen = low if math.isinf(low) else high
            raise DatasetError(f"column {self.name!r} holds {seen}; write infinite values as empty cells instead")
        with np.errstate(over="ignore"):
            mean = float(values.mean())
            squares = float(np.square(values - mean).sum())
        self.integral += int(np.count_nonzero(values == np.floor(values)))
        self.sketch.update(values)
        self._combine(len(values), mean, squares, low, high)

    def merge(self, other: Self) -> None:
        self.missing += other.missing
        self.integral += other.integral
        self.declared_integral &= other.declared_integral
        if other.present:
            self.sketch.merge(other.sketch)
            self._combine(other.present, other.mean, other.squares, other.minimum, other.maximum)

    def _combine(self, present: int, mean: float, squares: float, minimum: float, maximum: float) -> None:
        total = self.present + present
        delta = mean - self.mean
        self.squares += squares + delta * delta * (self.present * present / total)
        self.mean += delta * (present / total)
        self.present = total
        self.minimum, self.maximum = min(self.minimum, minimum), max(self.maximum, maximum)
        if not math.isfinite(self.squares):
            raise DatasetError(
                f"column {self.name!r} reaches from {self.minimum} to {self.maximum}; its variance does not fit a "
                "double: rescale the column"
            )

    def summary(self) -> ColumnSummary:
        if not self.present:
            return UnknownSummary(name=self.name, present=0, missing=self.missing)
        kept = _retained(self.sketch, self.minimum)
        return NumericSummary(
            name=self.name,
            present=self.present,
            missing=self.missing,
            integral=self.integral,
            declared_integral=self.declared_integral,
            mean=self.mean,
            std_dev=math.sqrt(self.squares / self.present),
            minimum=self.minimum,
            maximum=self.maximum,
            values=np.array([value for value, _ in kept], dtype=np.float64),
            weights=np.array([weight for _, weight in kept], dtype=np.float64),
        )


class TextProfile:
    """Categories: rows of each of the first 2,000 distinct values, and how many distinct values there are."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.present = self.missing = 0
        self.categories: Counter[str] = Counter()
        self.distinct = hll_sketch(HLL_LOG2_BUCKETS)
        self.overflowed = False

    def add(self, column: pa.Array) -> None:
        if pa.types.is_boolean(column.type):
            column = pc.if_else(column, "True", "False")
        cut = pc.utf8_slice_codeunits(column.cast(pa.string()), 0, MAX_CATEGORY_CHARACTERS)
        self.missing += cut.null_count
        counts = cut.drop_null().value_counts()
        self._count(dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)))
        self.present += len(cut) - cut.null_count

    def merge(self, other: Self) -> None:
        self.present += other.present
        self.missing += other.missing
        self.overflowed |= other.overflowed
        self._count(other.categories)
        union = hll_union(HLL_LOG2_BUCKETS)
        union.update(self.distinct)
        union.update(other.distinct)
        self.distinct = union.get_result()

    def _count(self, counts: dict[str, int]) -> None:
        for value, count in counts.items():
            self.distinct.update(value)
            if value in self.categories or len(self.categories) < MAX_CATEGORIES:
                self.categories[value] += count
            else:
                self.overflowed = True

    def summary(self) -> ColumnSummary:
        if not self.present:
            return UnknownSummary(name=self.name, present=0, missing=self.missing)
        by_count = sorted(self.categories.items(), key=lambda item: (-item[1], item[0]))
        return TextSummary(
            name=self.name,
            present=self.present,
            missing=self.missing,
            distinct=round(self.distinct.get_estimate()) if self.overflowed else len(self.categories),
            categories=dict(by_count),
        )


class UnknownProfile:
    """A column that is only counted: no value yet, or a type that is not profiled."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.present = self.missing = 0

    def add(self, column: pa.Array) -> None:
        self.missing += column.null_count
        self.present += len(column) - column.null_count

    def merge(self, other: Self) -> None:
        self.present += other.present
        self.missing += other.missing

    def summary(self) -> ColumnSummary:
        return UnknownSummary(name=self.name, present=self.present, missing=self.missing)


ColumnProfile = NumericProfile | TextProfile | UnknownProfile
WORDS = {NumericProfile: "numbers", TextProfile: "text", UnknownProfile: "values that are neither numbers nor text"}


class DatasetProfile:
    """The profiles of all columns; feed it batches, merge it with others, ask for its summary.

    Raises:
        DatasetError: a column changes between numbers and text, or merged datasets differ in columns.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.columns: dict[str, ColumnProfile] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
            known, fresh = self.columns.get(name), _profile_for(name, plain.type)
            if type(known) is type(fresh):
                known.add(plain)
            else:
                fresh.add(plain)
                self._merge_column(fresh)

    def merge(self, other: DatasetProfile) -> None:
        if self.rows and other.rows and self.columns.keys() != other.columns.keys():
            odd = ", ".join(sorted(self.columns.keys() ^ other.columns.keys()))
            raise DatasetError(f"the profiles differ in columns ({odd}); merge profiles of shards of one dataset")
        self.rows += other.rows
        for column in other.columns.values():
            self._merge_column(column)

    def _merge_column(self, fresh: ColumnProfile) -> None:
        known = self.columns.setdefault(fresh.name, fresh)
        if known is fresh:
            return
        if type(known) is type(fresh):
            known.merge(fresh)  # type: ignore[arg-type]  # the two are of one kind
        elif isinstance(fresh, UnknownProfile) and not fresh.present:
            known.missing += fresh.missing
        elif isinstance(known, UnknownProfile) and not known.present:
            fresh.missing += known.missing
            self.columns[fresh.name] = fresh
        else:
            raise DatasetError(
                f"column {fresh.name!r} holds {WORDS[type(known)]} in one part of the dataset and "
                f"{WORDS[type(fresh)]} in another; write it with one type"
            )

    def summary(self) -> DatasetSummary:
        if not self.rows:
            raise DatasetError("the dataset has no rows; nothing can be profiled")
        return DatasetSummary(rows=self.rows, columns={n: c.summary() for n, c in self.columns.items()})


def _retained(sketch: kll_doubles_sketch, minimum: float) -> list[tuple[float, int]]:
    """The kept values and their weights, sorted.

    datasketches 5.2 reports weight 1 for every value when the lowest level of the sketch is empty, as it often is after
    a merge. One more value puts something there, in a copy, and is taken out of the result again.
    """
    copy = kll_doubles_sketch.deserialize(sketch.serialize())
    copy.update(minimum)
    kept = sorted(copy)
    kept.remove((minimum, 1))
    return kept


def _profile_for(name: str, kind: pa.DataType) -> ColumnProfile:
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return NumericProfile(name)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind):
        return TextProfile(name)
    return UnknownProfile(name)
