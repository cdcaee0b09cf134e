"""Profile a dataset in one pass: counts, moments, extrema, a quantile sketch, categories.

Profiles merge: the profile of two halves is the profile of the whole (exactly for counts and extrema, to rounding for
moments, within the sketch's error for quantiles), so that hosts can profile shards and one can add them up.

Memory is bounded per column: two KLL sketches (`quantiles`) and 1,024 hashes (`distinct`), or at most 2,000 categories of
256 characters, then a frequent-items sketch. What it does not do: dates, lists and binary columns are only counted.

References: Misra and Gries, "Finding repeated elements", 1982, in the form of Anderson et al., "A high-performance algorithm
for identifying frequent items in data streams", 2017; Flajolet et al., "HyperLogLog", 2007.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from datasketches import frequent_items_error_type, frequent_strings_sketch, hll_sketch, hll_union

from millrace.profiling.distinct import DistinctNumbers
from millrace.profiling.errors import DatasetError
from millrace.profiling.moments import Moments
from millrace.profiling.quantiles import QuantileSketch
from millrace.profiling.summary import (
    ColumnSummary,
    DatasetSummary,
    NumericSummary,
    TextLengths,
    TextSummary,
    UnknownSummary,
)

MAX_CATEGORIES = 2000
MAX_CATEGORY_CHARACTERS = 256
HLL_LOG2_BUCKETS = 12
FREQUENT_LOG2_ITEMS = 12


class NumericProfile:
    """Numbers: moments, extrema, distinct count and a quantile sketch. NaN counts as missing.

    Raises:
        DatasetError: a value is infinite, or the squares of the values do not fit a double.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.missing = self.integral = 0
        self.declared_integral = True
        self.moments = Moments()
        self.quantiles = QuantileSketch()
        self.distinct = DistinctNumbers()

    @property
    def present(self) -> int:
        return self.moments.count

    def add(self, column: pa.Array) -> None:
        values = np.sort(column.drop_null().cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        values = values[: np.searchsorted(values, np.inf, side="right")]  # NaN is sorted to the end
        self.missing += len(column) - len(values)
        self.declared_integral &= pa.types.is_integer(column.type)
        if not len(values):
            return
        if math.isinf(values[0]) or math.isinf(values[-1]):
            seen = values[0] if math.isinf(values[0]) else values[-1]
            raise DatasetError(f"column {self.name!r} holds {seen}; write infinite values as empty cells instead")
        self.integral += len(values) if self.declared_integral else int(np.count_nonzero(values == np.floor(values)))
        self.quantiles.add(values)
        self.distinct.add(values)
        self._combine(Moments.of(values))

    def merge(self, other: Self) -> None:
        self.missing += other.missing
        self.integral += other.integral
        self.declared_integral &= other.declared_integral
        self.quantiles.merge(other.quantiles)
        self.distinct.merge(other.distinct)
        self._combine(other.moments)

    def _combine(self, moments: Moments) -> None:
        self.moments.merge(moments)
        if not math.isfinite(self.moments.squares):
            raise DatasetError(
                f"column {self.name!r} reaches from {self.moments.minimum} to {self.moments.maximum}; its variance does "
                "not fit a double: rescale the column"
            )

    def summary(self) -> ColumnSummary:
        if not self.present:
            return UnknownSummary(name=self.name, present=0, missing=self.missing)
        values, weights = self.quantiles.kept()
        return NumericSummary(
            name=self.name,
            present=self.present,
            missing=self.missing,
            integral=self.integral,
            declared_integral=self.declared_integral,
            mean=self.moments.mean,
            std_dev=self.moments.std_dev,
            minimum=self.moments.minimum,
            maximum=self.moments.maximum,
            distinct=self.distinct.estimate,
            values=values,
            weights=weights,
        )


class TextProfile:
    """Categories: rows of each distinct value while these are at most 2,000, then of the most frequent ones.

    Past 2,000 the counts are those of a frequent-items sketch: what is not in it is rarer than one row in 900, and a count
    is low by no more than that.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.present = self.missing = 0
        self.categories: Counter[str] = Counter()
        self.frequent: frequent_strings_sketch | None = None
        """Takes over from `categories`."""
        self.distinct = hll_sketch(HLL_LOG2_BUCKETS)
        self.lengths = Moments()

    def add(self, column: pa.Array) -> None:
        self.missing += column.null_count
        self.present += len(column) - column.null_count
        values, rows = _counted(column)
        if not len(values):
            return
        self.lengths.merge(Moments.of(pc.utf8_length(values).to_numpy().astype(np.float64), rows.astype(np.float64)))
        cut = pc.utf8_slice_codeunits(values, 0, MAX_CATEGORY_CHARACTERS).to_pylist()
        for value in cut:
            self.distinct.update(value)
        self._count(zip(cut, rows.tolist(), strict=True))

    def merge(self, other: Self) -> None:
        self.present += other.present
        self.missing += other.missing
        self.lengths.merge(other.lengths)
        if other.frequent is None:
            self._count(other.categories.items())
        else:
            self._overflow().merge(other.frequent)
        union = hll_union(HLL_LOG2_BUCKETS)
        union.update(self.distinct)
        union.update(other.distinct)
        self.distinct = union.get_result()

    def _count(self, counts: Iterable[tuple[str, int]]) -> None:
        for value, count in counts:
            if self.frequent is not None:
                self.frequent.update(value, count)
                continue
            self.categories[value] += count
            if len(self.categories) > MAX_CATEGORIES:
                self._overflow()

    def _overflow(self) -> frequent_strings_sketch:
        """The sketch, made of the exact counts when it is needed first."""
        if self.frequent is None:
            self.frequent = frequent_strings_sketch(FREQUENT_LOG2_ITEMS)
            for value, count in self.categories.items():
                self.frequent.update(value, count)
            self.categories.clear()
        return self.frequent

    def summary(self) -> ColumnSummary:
        if not self.present:
            return UnknownSummary(name=self.name, present=0, missing=self.missing)
        counts = self.categories if self.frequent is None else _frequent(self.frequent)
        by_count = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_CATEGORIES]
        return TextSummary(
            name=self.name,
            present=self.present,
            missing=self.missing,
            distinct=len(counts) if self.frequent is None else round(self.distinct.get_estimate()),
            categories=dict(by_count),
            lengths=TextLengths(
                mean=self.lengths.mean,
                std_dev=self.lengths.std_dev,
                minimum=int(self.lengths.minimum),
                maximum=int(self.lengths.maximum),
            ),
        )


def _counted(column: pa.Array) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """The texts of a column, and how many rows have each, shape (n,)."""
    if pa.types.is_dictionary(column.type):  # several times faster than to look for equal values
        rows = np.bincount(column.indices.drop_null().cast(pa.int64()), minlength=len(column.dictionary))
        seen = np.flatnonzero(rows)
        return column.dictionary.take(pa.array(seen)).cast(pa.string()), rows[seen]
    counts = column.drop_null().value_counts()
    values = counts.field("values")
    if pa.types.is_boolean(values.type):
        values = pc.if_else(values, "True", "False")
    return values.cast(pa.string()), counts.field("counts").to_numpy()


def _frequent(sketch: frequent_strings_sketch) -> dict[str, int]:
    """The values that are surely in the stream more often than the sketch's error, with the least count of each."""
    found = sketch.get_frequent_items(frequent_items_error_type.NO_FALSE_POSITIVES)
    return {value: lower for value, _, lower, _ in found if lower}


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
            if pa.types.is_dictionary(column.type) and not _is_plain_dictionary(column):
                column = column.dictionary_decode()
            known, fresh = self.columns.get(name), _profile_for(name, column.type)
            if type(known) is type(fresh):
                known.add(column)
            else:
                fresh.add(column)
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


def _is_plain_dictionary(column: pa.DictionaryArray) -> bool:
    """Whether it is one of texts, of which none is missing: only an index can be."""
    return _is_text(column.dictionary.type) and not column.dictionary.null_count


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _profile_for(name: str, kind: pa.DataType) -> ColumnProfile:
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return NumericProfile(name)
    if pa.types.is_dictionary(kind) or pa.types.is_boolean(kind) or _is_text(kind):
        return TextProfile(name)
    return UnknownProfile(name)
