"""The expectations that each row holds or breaks by itself, as conditions on the columns of a batch.

Each function reads an expectation's arguments and returns a condition; the names are those of Great Expectations'
expectations without `expect_column_values_to_`. Only kinds of values are taken that Great Expectations on pandas and
Arrow compare alike; for all others NotStreamed is raised.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.quality.streaming.answers import CannotEvaluate, NotStreamed
from millrace.quality.streaming.arguments import Arguments
from millrace.quality.streaming.batch_view import BatchView, ColumnView
from millrace.quality.streaming.bounds import Within
from millrace.quality.streaming.counting import RowCondition

MIXED = "Column values, min_value, and max_value must either be None or of the same type."
"""Great Expectations' words for text that is compared with a number."""
ALIKE_IN_RE2 = re.compile(
    r"""(?: [^\\(\[{]          # plain characters, anchors and quantifiers
          | \\[^A-Za-z0-9]     # an escaped sign
          | \\[dDwW]           # classes that agree on ASCII
          | \((?!\?) | \(\?:   # groups, without lookaround and flags
          | \[                 # a class
          | \{(?=[0-9])        # a counted repetition
        )*""",
    re.VERBOSE | re.DOTALL,
)
"""Patterns that mean the same in RE2 (Arrow) and in Python's `re`, as long as the text is ASCII and has no line end."""
PAIRS_IGNORE = {"both_values_are_missing": "all", "either_value_is_missing": "any", "neither": "none"}
RECORDS_IGNORE = {"all_values_are_missing": "all", "any_value_is_missing": "any", "never": "none"}


def not_null(arguments: Arguments) -> RowCondition:
    name = arguments.text("column")
    return RowCondition(
        columns=(name,),
        broken=lambda view: view.column(name).values.is_null() if view.column(name).missing else None,
        ignored="none",
        reports_missing=False,
    )


def null(arguments: Arguments) -> RowCondition:
    name = arguments.text("column")

    def broken(view: BatchView) -> pa.Array | None:
        column = _comparable(view.column(name))
        return column.values.is_valid() if column.missing < view.rows else None

    return RowCondition(columns=(name,), broken=broken, ignored="none", reports_missing=False)


def between(arguments: Arguments) -> RowCondition:
    within = Within.of(arguments)

    def broken(column: ColumnView) -> pa.Array | None:
        if column.kind == "text":
            raise CannotEvaluate(MIXED)
        least, greatest = column.limits
        if least is None or (within.holds(least) and within.holds(greatest)):
            return None
        values = column.values.cast(pa.int8()) if column.kind == "boolean" else column.values
        return pc.invert(within.mask(values))

    return _of_column(arguments, broken, {"number", "boolean", "text"})


def value_lengths_between(arguments: Arguments) -> RowCondition:
    within = Within.of(arguments, whole=True)
    return _of_column(arguments, lambda column: pc.invert(within.mask(pc.utf8_length(column.values))), {"text"})


def value_lengths_equal(arguments: Arguments) -> RowCondition:
    length = arguments.number("value")
    return _of_column(arguments, lambda column: pc.not_equal(pc.utf8_length(column.values), length), {"text"})


def in_set(arguments: Arguments) -> RowCondition:
    members = arguments.scalars("value_set")
    return _of_column(arguments, lambda column: pc.invert(_is_in(column, members)), {"number", "text", "boolean"})


def not_in_set(arguments: Arguments) -> RowCondition:
    members = arguments.scalars("value_set")
    return _of_column(arguments, lambda column: _is_in(column, members), {"number", "text", "boolean"})


def match_regex(arguments: Arguments) -> RowCondition:
    pattern = arguments.pattern("regex", default="(?s).*")
    return _of_column(arguments, lambda column: pc.invert(_found(column, pattern)), {"text"})


def not_match_regex(arguments: Arguments) -> RowCondition:
    pattern = arguments.pattern("regex")
    return _of_column(arguments, lambda column: _found(column, pattern), {"text"})


def match_regex_list(arguments: Arguments) -> RowCondition:
    patterns = arguments.patterns("regex_list")
    join = _join(arguments)
    return _of_column(arguments, lambda c: pc.invert(reduce(join, (_found(c, p) for p in patterns))), {"text"})


def not_match_regex_list(arguments: Arguments) -> RowCondition:
    patterns = arguments.patterns("regex_list")
    return _of_column(arguments, lambda column: reduce(pc.or_, (_found(column, p) for p in patterns)), {"text"})


def match_like_pattern(arguments: Arguments) -> RowCondition:
    """SQL's LIKE; Great Expectations itself has it for databases only."""
    like = _like(arguments)
    pattern = arguments.text("like_pattern")
    return _of_column(arguments, lambda column: pc.invert(like(column, pattern)), {"text"})


def not_match_like_pattern(arguments: Arguments) -> RowCondition:
    like = _like(arguments)
    pattern = arguments.text("like_pattern")
    return _of_column(arguments, lambda column: like(column, pattern), {"text"})


def match_like_pattern_list(arguments: Arguments) -> RowCondition:
    like = _like(arguments)
    patterns, join = arguments.texts("like_pattern_list"), _join(arguments)
    return _of_column(arguments, lambda c: pc.invert(reduce(join, (like(c, p) for p in patterns))), {"text"})


def not_match_like_pattern_list(arguments: Arguments) -> RowCondition:
    like = _like(arguments)
    patterns = arguments.texts("like_pattern_list")
    return _of_column(arguments, lambda column: reduce(pc.or_, (like(column, p) for p in patterns)), {"text"})


def strftime_format(arguments: Arguments) -> RowCondition:
    form = arguments.text("strftime_format")
    return _of_column(
        arguments, lambda column: pc.invert(_per_value(column, _parses(datetime.strptime, form))), {"text"}
    )


def dateutil_parseable(arguments: Arguments) -> RowCondition:
    from dateutil.parser import parse  # type: ignore[import-untyped]

    return _of_column(arguments, lambda column: pc.invert(_per_value(column, _parses(parse))), {"text"})


def json_parseable(arguments: Arguments) -> RowCondition:
    return _of_column(arguments, lambda column: pc.invert(_per_value(column, _parses(json.loads))), {"text"})


def pair_a_greater_than_b(arguments: Arguments) -> RowCondition:
    compare = pc.greater_equal if arguments.flag("or_equal") else pc.greater
    return _of_pair(arguments, lambda a, b: pc.invert(pc.fill_null(compare(a, b), False)))


def pair_equal(arguments: Arguments) -> RowCondition:
    return _of_pair(arguments, lambda a, b: pc.invert(pc.fill_null(pc.equal(a, b), False)))


def pair_in_set(arguments: Arguments) -> RowCondition:
    pairs = arguments.items("value_pairs_set", 1)
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise NotStreamed("value_pairs_set is not a list of pairs")
    known = {tuple(pair) for pair in pairs if not any(isinstance(item, (list, dict)) for item in pair)}

    def broken(a: pa.Array, b: pa.Array) -> pa.Array:
        rows = zip(a.to_pylist(), b.to_pylist(), strict=True)
        return pa.array([pair not in known for pair in rows], pa.bool_())

    return _of_pair(arguments, broken)


def multicolumn_sum_equal(arguments: Arguments) -> RowCondition:
    total = arguments.number("sum_total")

    def broken(columns: list[pa.Array]) -> pa.Array:
        return pc.invert(pc.fill_null(pc.equal(reduce(pc.add, columns), total), False))

    return _of_record(arguments, broken, {"number"})


def multicolumn_equal(arguments: Arguments) -> RowCondition:
    """Two missing values are equal, a missing one and a value are not."""

    def broken(columns: list[pa.Array]) -> pa.Array:
        return pc.invert(reduce(pc.and_, (_same(columns[0], column) for column in columns[1:])))

    return _of_record(arguments, broken)


def unique_within_record(arguments: Arguments) -> RowCondition:
    """No value of a row stands in two of the columns; missing counts as a value."""

    def broken(columns: list[pa.Array]) -> pa.Array:
        pairs = [(a, b) for position, a in enumerate(columns) for b in columns[position + 1 :]]
        return reduce(pc.or_, (_same(a, b) for a, b in pairs))

    return _of_record(arguments, broken)


def _of_column(arguments: Arguments, broken: Callable[[ColumnView], pa.Array | None], kinds: set[str]) -> RowCondition:
    """A condition on the values of one column, whose missing values do not count."""
    name = arguments.text("column")

    def of_batch(view: BatchView) -> pa.Array | None:
        column = view.column(name)
        if column.missing == view.rows:
            return None
        if column.kind not in kinds:
            raise NotStreamed(f"the column {name!r} holds {column.values.type}")
        return broken(column)

    return RowCondition(columns=(name,), broken=of_batch)


def _of_pair(arguments: Arguments, broken: Callable[[pa.Array, pa.Array], pa.Array]) -> RowCondition:
    names = (arguments.text("column_A"), arguments.text("column_B"))
    words = arguments.text("ignore_row_if", one_of=tuple(PAIRS_IGNORE), default="both_values_are_missing")

    def of_batch(view: BatchView) -> pa.Array:
        a, b = _alike(view, names)
        return broken(a, b)

    return RowCondition(columns=names, broken=of_batch, ignored=PAIRS_IGNORE[words], shape="pair")


def _of_record(
    arguments: Arguments, broken: Callable[[list[pa.Array]], pa.Array], kinds: set[str] | None = None
) -> RowCondition:
    names = tuple(arguments.texts("column_list", least=2))
    words = arguments.text("ignore_row_if", one_of=tuple(RECORDS_IGNORE), default="all_values_are_missing")

    def of_batch(view: BatchView) -> pa.Array:
        return broken(_alike(view, names, kinds))

    return RowCondition(columns=names, broken=of_batch, ignored=RECORDS_IGNORE[words], shape="record")


def _alike(view: BatchView, names: tuple[str, ...], kinds: set[str] | None = None) -> list[pa.Array]:
    """The columns, all of one kind that can be compared; one without a value yet is of any kind."""
    columns = [view.column(name) for name in names]
    seen = {column.kind for column in columns} - {"nothing"}
    if len(seen) > 1 or not seen <= (kinds or {"number", "text"}):
        raise NotStreamed(f"the columns hold {', '.join(str(column.values.type) for column in columns)}")
    kind = next((column.values.type for column in columns if column.kind != "nothing"), pa.float64())
    return [column.values.cast(kind) if column.kind == "nothing" else column.values for column in columns]


def _comparable(column: ColumnView) -> ColumnView:
    """The column, unless its values could not be listed as Great Expectations lists them."""
    if column.kind == "other" and column.missing < len(column.values):
        raise NotStreamed(f"the column {column.name!r} holds {column.values.type}")
    return column


def _is_in(column: ColumnView, members: list[Any]) -> pa.Array:
    """Membership as pandas has it: numbers and booleans are equal across their types, text only to text."""
    if column.kind == "text":
        return pc.is_in(column.values, pa.array([m for m in members if isinstance(m, str)], column.values.type))
    numbers = [m for m in members if isinstance(m, (bool, int, float))]
    if column.kind == "boolean":
        return pc.is_in(column.values, pa.array([bool(m) for m in numbers if m in (0, 1)], pa.bool_()))
    if pa.types.is_integer(column.values.type):
        whole = [int(m) for m in numbers if m == m and abs(m) < 2**63 and m == int(m)]
        return pc.is_in(column.values.cast(pa.int64()), pa.array(whole, pa.int64()))
    return pc.is_in(column.values.cast(pa.float64()), pa.array([float(m) for m in numbers], pa.float64()))


def _found(column: ColumnView, pattern: re.Pattern[str]) -> pa.Array:
    """Where the pattern is found, as Python's `re.search` finds it: by RE2 where the two agree."""
    if ALIKE_IN_RE2.fullmatch(pattern.pattern) and column.is_plain_text:
        try:
            return pc.match_substring_regex(column.values, pattern.pattern)
        except pa.ArrowInvalid:  # RE2 has no such pattern, or it grows too large for it
            pass
    return _per_value(column, lambda text: pattern.search(text) is not None)


def _per_value(column: ColumnView, holds: Callable[[str], bool]) -> pa.Array:
    """A condition in Python, asked once for every distinct value of the batch."""
    coded = column.values.dictionary_encode()
    return pa.array([holds(value) for value in coded.dictionary.to_pylist()], pa.bool_()).take(coded.indices)


def _parses(parse: Callable[..., Any], *arguments: Any) -> Callable[[str], bool]:
    def holds(text: str) -> bool:
        try:
            parse(text, *arguments)
        except (ValueError, OverflowError, RecursionError):
            return False
        return True

    return holds


def _like(arguments: Arguments) -> Callable[[ColumnView, str], pa.Array]:
    if arguments.get("escape") is not None:
        raise NotStreamed("a LIKE pattern with an escape character of its own")
    return lambda column, pattern: pc.match_like(column.values, pattern)


def _join(arguments: Arguments) -> Callable[[pa.Array, pa.Array], pa.Array]:
    joins: dict[str, Callable[[pa.Array, pa.Array], pa.Array]] = {"any": pc.or_, "all": pc.and_}
    return joins[arguments.text("match_on", one_of=("any", "all"), default="any")]


def _same(a: pa.Array, b: pa.Array) -> pa.Array:
    """Where two columns are equal; two missing values are."""
    both_missing = pc.and_(a.is_null(), b.is_null())
    return pc.or_(pc.fill_null(pc.equal(a, b), False), both_missing)
