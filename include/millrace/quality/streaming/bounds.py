"""Bounds that a number must lie within: min_value, max_value, strict_min and strict_max of an expectation."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.quality.errors import SuiteError
from millrace.quality.streaming.arguments import Arguments


class Within:
    """A lower bound, an upper bound, both or none."""

    def __init__(self, low: float | None, high: float | None, *, strict_low: bool, strict_high: bool) -> None:
        self.bounds: list[tuple[float, Callable[[Any, Any], bool], Callable[[Any, Any], pa.Array]]] = []
        if low is not None:
            self.bounds.append((low, operator.gt, pc.greater) if strict_low else (low, operator.ge, pc.greater_equal))
        if high is not None:
            self.bounds.append((high, operator.lt, pc.less) if strict_high else (high, operator.le, pc.less_equal))

    @classmethod
    def of(cls, arguments: Arguments, *, both_open: bool = False, whole: bool = False) -> Within:
        """The bounds of an expectation.

        Args:
            both_open: neither bound need be given.
            whole: they must be whole numbers.

        Raises:
            SuiteError: a bound is no number, or both are missing, or no value could lie within them.
        """
        read = arguments.whole_bound if whole else arguments.bound
        low, high = read("min_value"), read("max_value")
        if low is None and high is None and not both_open:
            raise SuiteError(f"{arguments.type}: min_value and max_value are both missing; give one")
        if low is not None and high is not None and low > high:
            raise SuiteError(f"{arguments.type}: min_value {low} is greater than max_value {high}; no value can hold")
        strict_low, strict_high = arguments.flag("strict_min"), arguments.flag("strict_max")
        return cls(low, high, strict_low=strict_low, strict_high=strict_high)

    def holds(self, value: Any) -> bool:
        return all(compare(value, bound) for bound, compare, _ in self.bounds)

    def mask(self, values: pa.Array) -> pa.Array:
        """True where a value lies within; null where there is none. At least one bound is given."""
        return reduce(pc.and_, (compare(values, bound) for bound, _, compare in self.bounds))
