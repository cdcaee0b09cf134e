"""Expectations about the table itself: how many rows and columns, which columns, of which type."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import Any, Self

import numpy as np

from millrace.quality.errors import SuiteError
from millrace.quality.streaming.aggregates import number_between
from millrace.quality.streaming.answers import Answer, NotStreamed
from millrace.quality.streaming.arguments import Arguments
from millrace.quality.streaming.batch_view import BatchView
from millrace.quality.streaming.bounds import Within


class RowsSeen:
    """How many rows there are."""

    def __init__(self, judge: Callable[[int], Answer]) -> None:
        self.judge = judge
        self.rows = 0

    def add(self, view: BatchView) -> None:
        self.rows += view.rows

    def answer(self) -> Answer:
        return self.judge(self.rows)

    def merge(self, other: Self) -> None:
        self.rows += other.rows

    def state(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def restore(self, state: dict[str, Any]) -> None:
        self.rows = state["rows"]


class ColumnsSeen:
    """Which columns there are, in the order of the first file."""

    def __init__(self, judge: Callable[[list[str]], Answer]) -> None:
        self.judge = judge
        self.names: list[str] = []

    def add(self, view: BatchView) -> None:
        self.names = self.names or view.names

    def answer(self) -> Answer:
        return self.judge(self.names)

    def merge(self, other: Self) -> None:
        self.names = self.names or other.names

    def state(self) -> dict[str, Any]:
        return {"names": self.names}

    def restore(self, state: dict[str, Any]) -> None:
        self.names = state["names"]


class TypeSeen:
    """The type that a column would have in pandas: integers with missing values are floats there."""

    def __init__(self, name: str, judge: Callable[[str], Answer]) -> None:
        self.name = name
        self.judge = judge
        self.types: set[str] = set()
        self.missing = 0

    def add(self, view: BatchView) -> None:
        column = view.column(self.name)
        self.types.add("text" if column.kind == "text" else str(column.values.type))
        self.missing += column.missing

    def answer(self) -> Answer:
        return self.judge(self._pandas_type())

    def merge(self, other: Self) -> None:
        self.types |= other.types
        self.missing += other.missing

    def state(self) -> dict[str, Any]:
        return {"types": sorted(self.types), "missing": self.missing}

    def restore(self, state: dict[str, Any]) -> None:
        self.types, self.missing = set(state["types"]), state["missing"]

    def _pandas_type(self) -> str:
        """The name of the dtype.

        Raises:
            NotStreamed: there are several types, or pandas' one is `object` or no numpy type.
        """
        if self.types == {"text"}:
            return "str"
        if self.types == {"double"}:
            return "float64"
        if self.types == {"int64"}:
            return "float64" if self.missing else "int64"
        if self.types == {"bool"} and not self.missing:
            return "bool"
        raise NotStreamed(f"the column {self.name!r} holds {', '.join(sorted(self.types))}")


def row_count_between(arguments: Arguments) -> RowsSeen:
    within = Within.of(arguments, both_open=True, whole=True)
    return RowsSeen(lambda rows: number_between(rows, within))


def row_count_equal(arguments: Arguments) -> RowsSeen:
    value = arguments.whole("value")
    return RowsSeen(lambda rows: Answer(success=rows == value, result={"observed_value": rows}))


def column_count_between(arguments: Arguments) -> ColumnsSeen:
    within = Within.of(arguments, both_open=True)
    return ColumnsSeen(lambda names: number_between(len(names), within))


def column_count_equal(arguments: Arguments) -> ColumnsSeen:
    value = arguments.whole("value")
    return ColumnsSeen(lambda names: Answer(success=len(names) == value, result={"observed_value": len(names)}))


def columns_match_set(arguments: Arguments) -> ColumnsSeen:
    expected, exact = set(arguments.texts("column_set")), arguments.flag("exact_match", default=True)

    def judge(names: list[str]) -> Answer:
        odd = {"unexpected": sorted(set(names) - expected), "missing": sorted(expected - set(names))}
        mismatched = {words: columns for words, columns in odd.items() if columns}
        result: dict[str, Any] = {"observed_value": sorted(set(names))}
        if mismatched:
            result["details"] = {"mismatched": mismatched}
        return Answer(success=not (mismatched if exact else odd["missing"]), result=result)

    return ColumnsSeen(judge)


def columns_match_ordered_list(arguments: Arguments) -> ColumnsSeen:
    expected = arguments.texts("column_list")

    def judge(names: list[str]) -> Answer:
        result: dict[str, Any] = {"observed_value": names}
        mismatched = [
            {"Expected Column Position": position, "Expected": wanted, "Found": found}
            for position, (wanted, found) in enumerate(zip_longest(expected, names))
            if wanted != found
        ]
        if mismatched:
            result["details"] = {"mismatched": mismatched}
        return Answer(success=not mismatched, result=result)

    return ColumnsSeen(judge)


def column_exists(arguments: Arguments) -> ColumnsSeen:
    name, position = arguments.text("column"), arguments.whole_bound("column_index")
    if position is not None and position < 0:
        raise SuiteError(f"{arguments.type}: column_index is {position}; it must be 0 or more")

    def judge(names: list[str]) -> Answer:
        if position:  # as in Great Expectations, position 0 asks for no position
            return Answer(success=names[int(position) : int(position) + 1] == [name])
        return Answer(success=name in names)

    return ColumnsSeen(judge)


def of_type(arguments: Arguments) -> TypeSeen:
    wanted = arguments.text("type_")
    return TypeSeen(arguments.text("column"), lambda seen: _judged(seen, [wanted]))


def in_type_list(arguments: Arguments) -> TypeSeen:
    wanted = arguments.texts("type_list")

    def judge(seen: str) -> Answer:
        if seen == "str":  # Great Expectations compares text in lists by classes of pandas
            raise NotStreamed("the column holds text")
        return _judged(seen, wanted)

    return TypeSeen(arguments.text("column"), judge)


def type_is(arguments: Arguments) -> TypeSeen:
    wanted = arguments.text("type_")
    if wanted not in KNOWN_TYPES:
        raise NotStreamed(f"type_ is {wanted}")
    return TypeSeen(
        arguments.text("column"), lambda seen: Answer(success=seen == wanted, result={"observed_value": seen})
    )


KNOWN_TYPES = frozenset({"int64", "float64", "bool", "str"})
MEANT: dict[str, frozenset[str]] = {
    "int64": frozenset({"int64", "int", "int_", "longlong", "long"}),
    "float64": frozenset({"float64", "float", "double"}),
    "bool": frozenset({"bool", "bool_"}),
    "str": frozenset({"str", "string_types"}),
}
"""The names that Great Expectations takes for a type of pandas."""


def _judged(seen: str, wanted: list[str]) -> Answer:
    if not all(_is_numpy(name) or name in MEANT["str"] | {"long"} for name in wanted):
        raise NotStreamed(f"a type of {wanted} is not one of numpy's")
    return Answer(success=any(name in MEANT[seen] for name in wanted), result={"observed_value": seen})


def _is_numpy(name: str) -> bool:
    try:
        np.dtype(name)
    except TypeError:
        return False
    return True
