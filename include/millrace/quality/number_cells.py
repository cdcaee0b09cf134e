"""Numbers in a column that is text because some of its cells are none: a suite that bounds it says that it holds numbers.

What it does not do: it guesses no column's meaning; a column that nothing bounds by numbers stays text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from millrace.quality.expectation import Expectation

BOUNDED = "expect_column_values_to_be_between"
BOUNDS = ("min_value", "max_value")
WHOLE = r"^-?\d{1,19}$"
NUMBER = r"^-?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?$"
"""What Arrow reads as one; with a plus sign before it, it is text to Arrow too."""


def column_of(expectation: Expectation) -> str | None:
    """The column that an expectation bounds by numbers; None when it bounds none."""
    bounds = [expectation.kwargs.get(name) for name in BOUNDS]
    given = [bound for bound in bounds if bound is not None]
    if expectation.type != BOUNDED or not given or any(isinstance(bound, str) for bound in given):
        return None
    return str(expectation.kwargs["column"])


def as_numbers(rows: pa.RecordBatch, columns: Sequence[str]) -> tuple[pa.RecordBatch, dict[str, pa.Array]]:
    """The rows with these columns as numbers where they are text, and for each of those which of its cells is none.

    A cell that is no number is missing in the rows that are returned. A column is of whole numbers where all of them are.
    """
    strange: dict[str, pa.Array] = {}
    for name in columns:
        position = rows.schema.get_field_index(name)
        if position < 0 or not _is_text(rows.schema.field(position).type):
            continue
        numbers = _numbers(pc.utf8_trim_whitespace(rows.column(position).cast(pa.string())))
        strange[name] = pc.and_(rows.column(position).is_valid(), numbers.is_null())
        rows = rows.set_column(position, name, numbers)
    return rows, strange


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _numbers(cells: pa.Array) -> pa.Array:
    """The cells as numbers, null where one is none, or is too large for any."""
    is_number = pc.match_substring_regex(cells, NUMBER)
    candidates = pc.if_else(is_number, cells, None)
    if pc.all(pc.or_(pc.match_substring_regex(cells, WHOLE), pc.invert(is_number))).as_py() is not False:
        with contextlib.suppress(pa.ArrowInvalid):  # a whole number beyond 64 bits
            return candidates.cast(pa.int64())
    numbers = candidates.cast(pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, None)
