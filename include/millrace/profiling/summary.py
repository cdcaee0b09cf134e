"""What is known about a dataset once it has been read: one frozen record per column.

A summary is what a profile ends in and what `statistics.json` holds, so that a drift check needs no rows of the
baseline. It does not compute anything from rows (`profile`) and does not know the file format (`statistics_file`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericSummary:
    """A column of numbers, of which at least one is present."""

    name: str
    present: int
    missing: int
    integral: int
    """How many of the present values are whole numbers."""
    declared_integral: bool
    """The file declared integers (for CSV: no value has a decimal point)."""
    mean: float
    std_dev: float
    """Population standard deviation, in the column's own unit."""
    minimum: float
    maximum: float
    distinct: int | None
    """Exact up to 1,024 values, then an estimate (about 3 %); None where a file does not say."""
    values: Floats
    """The values kept by the KLL sketch, sorted, shape (m,)."""
    weights: Floats
    """How many rows each kept value stands for, shape (m,); the sum is `present`."""

    @property
    def inferred_type(self) -> str:
        return "Integral" if self.declared_integral else "Fractional"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLengths:
    """Of the present values, in characters."""

    mean: float
    std_dev: float
    minimum: int
    maximum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSummary:
    """A column of categories, of which at least one is present."""

    name: str
    present: int
    missing: int
    distinct: int
    """Exact up to 2,000 values, then a HyperLogLog estimate (about 2 %)."""
    categories: dict[str, int]
    """Category to number of rows, most frequent first. Of more than 2,000, the frequent ones and their least count."""
    lengths: TextLengths | None
    """None where a file does not say."""

    inferred_type = "String"

    @property
    def other(self) -> int:
        """Rows whose category is not listed; above zero only for identifiers and free text."""
        return self.present - sum(self.categories.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownSummary:
    """A column without a present value, or of a type that is not profiled (dates, lists, binary)."""

    name: str
    present: int
    missing: int

    inferred_type = "Unknown"


ColumnSummary = NumericSummary | TextSummary | UnknownSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    """All columns of a dataset by name, in the dataset's order."""

    rows: int
    columns: dict[str, ColumnSummary]


def completeness(column: ColumnSummary) -> float:
    """The share of rows with a value, from 0 to 1; 1 for a column without rows."""
    rows = column.present + column.missing
    return column.present / rows if rows else 1.0
