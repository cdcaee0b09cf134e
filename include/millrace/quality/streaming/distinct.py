"""Expectations about distinct values: which there are, how many, how often, and whether any comes twice.

Exact in bounded memory: values with their counts are grouped on disk when they are many (`keyed_rows`).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.quality.streaming.aggregates import number_between
from millrace.quality.streaming.answers import Answer, NotStreamed
from millrace.quality.streaming.arguments import Arguments
from millrace.quality.streaming.batch_view import BatchView, ColumnView
from millrace.quality.streaming.bounds import Within
from millrace.quality.streaming.counting import SHOWN, counts_of, holds, listed, shown
from millrace.quality.streaming.keyed_rows import KeyedRows
from millrace.quality.streaming.row_level import RECORDS_IGNORE

MAX_MERGED = 100_000
"""Distinct values that an instance writes down for another to merge; a column with more is not merged."""
KINDS = frozenset({"number", "text", "boolean"})


class ValueCounts:
    """Every distinct value of a column with its number of rows."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = self.missing = 0
        self.kind: str | None = None
        self.counts = KeyedRows(["value"])

    def add(self, view: BatchView) -> None:
        column = view.column(self.name)
        self.rows += view.rows
        self.missing += column.missing
        if column.missing == view.rows:
            return
        self.kind = _one_kind(self.kind, column)
        self._count(column.present)

    def parts(self) -> Iterator[tuple[pa.Array, pa.Array]]:
        """Distinct values and their counts, in parts that share no value."""
        for table in self.counts.parts():
            grouped = table.group_by("value").aggregate([("count", "sum")])
            yield grouped.column("value").combine_chunks(), grouped.column("count_sum").combine_chunks()

    def merge(self, other: Self) -> None:
        self.rows += other.rows
        self.missing += other.missing
        if self.kind and other.kind and self.kind != other.kind:
            raise NotStreamed(f"the column {self.name!r} holds {self.kind} on one instance and {other.kind} on another")
        self.kind = self.kind or other.kind
        for rows in other.counts.waiting:
            self.counts.add(rows)

    def state(self) -> dict[str, Any]:
        parts = list(self.parts())
        if sum(len(values) for values, _ in parts) > MAX_MERGED:
            raise NotStreamed(f"the column {self.name!r} has more than {MAX_MERGED} distinct values on one instance")
        values = [value for part, _ in parts for value in part.to_pylist()]
        counts = [count for _, part in parts for count in part.to_pylist()]
        return {"rows": self.rows, "missing": self.missing, "kind": self.kind, "values": values, "counts": counts}

    def restore(self, state: dict[str, Any]) -> None:
        self.rows, self.missing, self.kind = state["rows"], state["missing"], state["kind"]
        if state["values"]:
            values = pa.array(state["values"])
            if self.kind == "number" and not pa.types.is_integer(values.type):
                values = values.cast(pa.float64())
            self.counts.add(pa.record_batch([values, pa.array(state["counts"], pa.int64())], ["value", "count"]))

    def _count(self, values: pa.Array) -> None:
        found = values.value_counts()
        columns = [found.field("values"), found.field("counts").cast(pa.int64())]
        self.counts.add(pa.record_batch(columns, ["value", "count"]))


class ValuesJudged:
    """An expectation that is decided by a column's value counts."""

    def __init__(self, arguments: Arguments, judge: Callable[[ValueCounts], Answer]) -> None:
        self.counts = ValueCounts(arguments.text("column"))
        self.judge = judge

    def add(self, view: BatchView) -> None:
        self.counts.add(view)

    def answer(self) -> Answer:
        return self.judge(self.counts)

    def merge(self, other: Self) -> None:
        self.counts.merge(other.counts)

    def state(self) -> dict[str, Any]:
        return self.counts.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.counts.restore(state)


def distinct_in_set(arguments: Arguments) -> ValuesJudged:
    members: set[Any] = set(arguments.scalars("value_set"))

    def judge(counts: ValueCounts) -> Answer:
        odd, _ = _against(counts, members)
        return Answer(success=not odd.count, result={"observed_value": None, **odd.result("unexpected")})

    return ValuesJudged(arguments, judge)


def distinct_contain_set(arguments: Arguments) -> ValuesJudged:
    members = arguments.scalars("value_set")

    def judge(counts: ValueCounts) -> Answer:
        _, lacking = _against(counts, set(members))
        return Answer(success=not lacking.count, result={"observed_value": None, **lacking.result("missing")})

    return ValuesJudged(arguments, judge)


def distinct_equal_set(arguments: Arguments) -> ValuesJudged:
    members: set[Any] = set(arguments.scalars("value_set"))

    def judge(counts: ValueCounts) -> Answer:
        odd, lacking = _against(counts, members)
        result = {"observed_value": None, **odd.result("unexpected"), **lacking.result("missing")}
        return Answer(success=not odd.count and not lacking.count, result=result)

    return ValuesJudged(arguments, judge)


def most_common_in_set(arguments: Arguments) -> ValuesJudged:
    members: set[Any] = set(arguments.scalars("value_set"))
    ties_okay = arguments.flag("ties_okay")

    def judge(counts: ValueCounts) -> Answer:
        most, modes = 0, list[Any]()
        for values, numbers in counts.parts():
            top = pc.max(numbers).as_py()
            if top >= most:
                found = values.filter(pc.equal(numbers, top)).to_pylist()
                most, modes = top, found if top > most else modes + found
        common = len(members.intersection(modes))
        success = common > 0 if ties_okay else len(modes) == 1 and common == 1
        return Answer(success=success, result={"observed_value": sorted(modes)})

    return ValuesJudged(arguments, judge)


def unique_count_between(arguments: Arguments) -> ValuesJudged:
    within = Within.of(arguments, both_open=True, whole=True)
    return ValuesJudged(arguments, lambda counts: number_between(_distinct(counts), within))


def unique_share_between(arguments: Arguments) -> ValuesJudged:
    within = Within.of(arguments, both_open=True)

    def judge(counts: ValueCounts) -> Answer:
        present = counts.rows - counts.missing
        return number_between(_distinct(counts) / present if present else 0, within)

    return ValuesJudged(arguments, judge)


class NoDuplicates:
    """No two rows have the same values in the columns: of one column, or of several together."""

    def __init__(self, columns: tuple[str, ...], mostly: float, ignored: str, shape: str) -> None:
        self.columns, self.mostly, self.ignored, self.shape = columns, mostly, ignored, shape
        self.rows = self.counted = 0
        self.kinds: dict[str, str] = {}
        self.keys = [f"key{position}" for position in range(len(columns))]
        self.kept = KeyedRows(self.keys)

    def add(self, view: BatchView) -> None:
        columns = [view.column(name) for name in self.columns]
        for column in columns:
            if column.missing < view.rows:
                self.kinds[column.name] = _one_kind(self.kinds.get(column.name), column)
        index = pa.array(np.arange(self.rows, self.rows + view.rows))
        arrays = [column.values for column in columns]
        rows = pa.record_batch([*arrays, index], [*self.keys, "row"])
        left_out = self._left_out(columns)
        if left_out is not None:
            rows = rows.filter(pc.invert(left_out))
        self.rows += view.rows
        self.counted += rows.num_rows
        self.kept.add(rows)

    def answer(self) -> Answer:
        unexpected, first = 0, list[tuple[int, Any]]()
        for table in self.kept.parts():
            rows = _rows_of_doubles(table, self.keys)
            if not rows.num_rows:
                continue
            unexpected += rows.num_rows
            rows = rows.take(pc.select_k_unstable(rows, k=SHOWN, sort_keys=[("row", "ascending")]))
            values = zip(*(rows.column(key).to_pylist() for key in self.keys), strict=True)
            found = zip(rows.column("row").to_pylist(), values, strict=True)
            first = heapq.nsmallest(SHOWN, [*first, *found], key=lambda item: item[0])
        listing = [(row, shown(self.shape, self.columns, values)) for row, values in first]
        return Answer(
            success=holds(self.counted, unexpected, self.mostly),
            result=counts_of(self.rows, self.counted, unexpected) | listed(listing),
        )

    def merge(self, other: Self) -> None:
        raise NotStreamed("whether a value comes twice is not known from the parts")

    def state(self) -> dict[str, Any]:
        raise NotStreamed("whether a value comes twice is not known from the parts")

    def restore(self, state: dict[str, Any]) -> None:
        raise NotStreamed("whether a value comes twice is not known from the parts")

    def _left_out(self, columns: list[ColumnView]) -> pa.Array | None:
        if self.ignored == "none" or not any(column.missing for column in columns):
            return None
        join = pc.or_ if self.ignored == "any" else pc.and_
        mask = columns[0].values.is_null()
        for column in columns[1:]:
            mask = join(mask, column.values.is_null())
        return mask


def unique(arguments: Arguments) -> NoDuplicates:
    return NoDuplicates((arguments.text("column"),), arguments.share("mostly", 1.0), "any", "value")


def compound_unique(arguments: Arguments) -> NoDuplicates:
    words = arguments.text("ignore_row_if", one_of=tuple(RECORDS_IGNORE), default="all_values_are_missing")
    names = tuple(arguments.texts("column_list", least=2))
    return NoDuplicates(names, arguments.share("mostly", 1.0), RECORDS_IGNORE[words], "record")


class _Listing:
    """Some values: how many, and the least twenty."""

    def __init__(self) -> None:
        self.count = 0
        self.values: list[Any] = []

    def add(self, values: set[Any]) -> None:
        self.count += len(values)
        try:
            self.values = heapq.nsmallest(SHOWN, [*self.values, *values])
        except TypeError:  # text beside numbers has no order
            self.values = [*self.values, *values][:SHOWN]

    def result(self, word: str) -> dict[str, Any]:
        return {f"{word}_count": self.count, f"partial_{word}_list": self.values}


def _against(counts: ValueCounts, members: set[Any]) -> tuple[_Listing, _Listing]:
    """The values that are no members, and the members that are no values."""
    odd, lacking, seen = _Listing(), _Listing(), set[Any]()
    for values, _ in counts.parts():
        distinct = set(values.to_pylist())
        odd.add(distinct - members)
        seen |= distinct & members
    lacking.add(members - seen)
    return odd, lacking


def _distinct(counts: ValueCounts) -> int:
    return sum(len(values) for values, _ in counts.parts())


def _rows_of_doubles(table: pa.Table, keys: list[str]) -> pa.Table:
    """The rows whose key comes more than once, in order; a missing value is equal to a missing value."""
    grouped = table.group_by(keys)
    if pc.max(grouped.aggregate([("row", "count")]).column("row_count")).as_py() in (None, 1):
        return table.slice(0, 0)
    groups = grouped.aggregate([("row", "list")])
    rows = groups.column("row_list").filter(pc.greater(pc.list_value_length(groups.column("row_list")), 1))
    return table.filter(pc.is_in(table.column("row"), pc.list_flatten(rows)))


def _one_kind(known: str | None, column: ColumnView) -> str:
    if column.kind not in KINDS or (known is not None and known != column.kind):
        raise NotStreamed(f"the column {column.name!r} holds {column.values.type}")
    return column.kind
