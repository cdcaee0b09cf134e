"""Count the rows that break an expectation which each row holds or breaks by itself, and keep the first of them.

The result has the members of Great Expectations' result format SUMMARY: element_count, unexpected_count, the percentages,
and the first twenty unexpected values with their row numbers.

Source: https://docs.greatexpectations.io/docs/core/trigger_actions_based_on_results/choose_a_result_format/
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from millrace.quality.streaming.answers import Answer, NotStreamed
from millrace.quality.streaming.batch_view import BatchView

SHOWN = 20
"""How many unexpected values are kept: the first ones, as Great Expectations does."""
Broken = Callable[[BatchView], pa.Array | None]
"""For a batch, true where a row breaks the expectation; a null is a no, and None says that no row does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCondition:
    """What each row holds or breaks by itself."""

    columns: tuple[str, ...]
    broken: Broken
    ignored: str = "any"
    """Rows that are left out: with `any` or `all` of the columns missing, or `none`."""
    reports_missing: bool = True
    """Whether the result counts the rows left out; expectations about missing values themselves do not."""
    shape: str = "value"
    """How an unexpected row is shown: its one `value`, the `pair`, or a `record` by column name."""

    def unexpected(self, view: BatchView) -> pa.Array | None:
        """True where a row that counts breaks it; None when no row does."""
        mask = self.broken(view)
        if mask is None:
            return None
        left_out = self.left_out(view)
        if left_out is not None:
            mask = pc.and_not(mask, left_out)
        return mask if pc.any(mask).as_py() else None

    def left_out(self, view: BatchView) -> pa.Array | None:
        """True where a row does not count; None when all do."""
        columns = [view.column(name) for name in self.columns]
        if self.ignored == "none":
            return None
        join = pc.or_ if self.ignored == "any" else pc.and_
        if self.ignored == "any":
            columns = [column for column in columns if column.missing]
        if not columns or any(self.ignored == "all" and not column.missing for column in columns):
            return None
        mask = columns[0].values.is_null()
        for column in columns[1:]:
            mask = join(mask, column.values.is_null())
        return mask


class RowCount:
    """Rows looked at, rows left out, rows that break the condition, and the first of these."""

    def __init__(self, condition: RowCondition, mostly: float = 1.0) -> None:
        self.condition = condition
        self.mostly = mostly
        self.rows = self.counted = self.unexpected = 0
        self.first: list[tuple[int, Any]] = []

    def add(self, view: BatchView) -> None:
        left_out = self.condition.left_out(view)
        mask = self.condition.unexpected(view)
        self.rows += view.rows
        self.counted += view.rows - (0 if left_out is None else pc.sum(left_out).as_py())
        if mask is not None:
            self.unexpected += pc.sum(mask).as_py()
            self._keep(view, mask)

    def answer(self) -> Answer:
        counts = counts_of(self.rows, self.counted if self.condition.reports_missing else None, self.unexpected)
        return Answer(success=holds(self.counted, self.unexpected, self.mostly), result=counts | listed(self.first))

    def merge(self, other: Self) -> None:
        moved = [(row + self.rows, value) for row, value in other.first]
        self.first = [*self.first, *moved][:SHOWN]
        self.rows += other.rows
        self.counted += other.counted
        self.unexpected += other.unexpected

    def state(self) -> dict[str, Any]:
        if not all(_is_json(value) for _, value in self.first):
            raise NotStreamed("its values are neither numbers nor text and cannot be written down")
        return {"rows": self.rows, "counted": self.counted, "unexpected": self.unexpected, "first": self.first}

    def restore(self, state: dict[str, Any]) -> None:
        self.rows, self.counted, self.unexpected = state["rows"], state["counted"], state["unexpected"]
        self.first = [(row, value) for row, value in state["first"]]

    def _keep(self, view: BatchView, mask: pa.Array) -> None:
        if len(self.first) == SHOWN:
            return
        rows = pc.indices_nonzero(mask)[: SHOWN - len(self.first)]
        columns = [view.column(name).values.take(rows).to_pylist() for name in self.condition.columns]
        for row, values in zip(rows.to_pylist(), zip(*columns, strict=True), strict=True):
            self.first.append((view.first_row + row, shown(self.condition.shape, self.condition.columns, values)))


def shown(shape: str, columns: Sequence[str], values: Sequence[Any]) -> Any:
    """An unexpected row as Great Expectations lists it."""
    if shape == "value":
        return values[0]
    return list(values) if shape == "pair" else dict(zip(columns, values, strict=True))


def holds(counted: int, unexpected: int, mostly: float) -> bool:
    """Whether at least the share `mostly` of the rows that count is as expected; true when none counts."""
    return counted == 0 or (counted - unexpected) / counted >= mostly


def counts_of(rows: int, counted: int | None, unexpected: int) -> dict[str, Any]:
    """Great Expectations' counts and percentages; `counted` is None for expectations about missing values."""
    total = unexpected / rows * 100 if rows else None
    if counted is None:
        return {"element_count": rows, "unexpected_count": unexpected, "unexpected_percent": total}
    of_counted = unexpected / counted * 100 if counted else None
    return {
        "element_count": rows,
        "unexpected_count": unexpected,
        "unexpected_percent": of_counted,
        "missing_count": rows - counted,
        "missing_percent": (rows - counted) / rows * 100 if rows else None,
        "unexpected_percent_total": total,
        "unexpected_percent_nonmissing": of_counted,
    }


def listed(first: Sequence[tuple[int, Any]]) -> dict[str, Any]:
    """The first unexpected values, how often each is among them, and their row numbers."""
    values = [value for _, value in first]
    result: dict[str, Any] = {"partial_unexpected_list": values}
    keys = [_key(value) for value in values]
    try:
        by_count = sorted(Counter(keys).items(), key=lambda item: (-item[1], _comparable(item[0])))
        result["partial_unexpected_counts"] = [{"value": key, "count": count} for key, count in by_count]
    except TypeError:  # values that cannot be hashed or ordered: Great Expectations leaves the list out, too
        pass
    return result | {"partial_unexpected_index_list": [row for row, _ in first]}


def _key(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(value.values())
    return tuple(value) if isinstance(value, list) else value


def _comparable(key: Any) -> Any:
    """None is ordered as the NaN that it is in pandas."""
    if isinstance(key, tuple):
        return tuple(_comparable(item) for item in key)
    return math.nan if key is None else key


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_json(item) for item in value.values())
    if isinstance(value, list):
        return all(_is_json(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))
