"""What Clarify's `value_or_threshold` and `label_values_or_threshold` mean on the values that are there.

A single number is a value or a threshold. It is what a baseline says it is, so that a window with fewer values means the
same. Without a baseline it is guessed from the data, as Clarify does: a threshold where the numbers have a fraction, or are
more than a code has. Clarify counts as a share of the rows, by which the same configuration would mean another thing in a
smaller window; this does not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from millrace.monitoring.clarify_config import Value
from millrace.monitoring.facets import Choice
from millrace.profiling.errors import DatasetError
from millrace.profiling.payload import Cell

WHOLE = re.compile(r"^(-?\d+)\.0+$")
MOST_CODES = 20
"""Different whole numbers that a column of codes may hold."""
MOST_FACETS = 50


def choices_of(
    column: str, given: Sequence[Value], seen: Collection[Cell], known: Collection[str] = ()
) -> list[Choice]:
    """The rows that are meant, as one choice; without values one choice for each value that is there.

    Args:
        seen: the column's values.
        known: the words of choices of the column in a baseline.

    >>> choices_of("age", [40.0], [31, 45.5]), choices_of("sex", [1.0], ["0", "1"])
    ([Choice(column='age', values=(), threshold=40.0)], [Choice(column='sex', values=('1',), threshold=None)])
    >>> choices_of("age", [40.0], [31, 45], known=["(40.0, +inf)"])
    [Choice(column='age', values=(), threshold=40.0)]

    Raises:
        DatasetError: no values are given, and there are too many.
    """
    if given:
        return [_given(column, given, seen, known)]
    values = sorted({text_of(cell) for cell in seen if cell is not None})
    if len(values) > MOST_FACETS:
        raise DatasetError(
            f"column {column!r} has {len(values)} values, and each would be a facet (at most {MOST_FACETS}); give the facet "
            "a value_or_threshold"
        )
    return [Choice(column=column, values=(value,)) for value in values]


def text_of(value: Cell) -> str:
    """A value as `facets` names it: a whole number without a decimal point, also where it was read as text."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else WHOLE.sub(r"\1", str(value))


def _given(column: str, given: Sequence[Value], seen: Collection[Cell], known: Collection[str]) -> Choice:
    as_values = Choice(column=column, values=tuple(text_of(value) for value in given))
    if len(given) > 1 or not isinstance(given[0], float):
        return as_values
    as_threshold = Choice(column=column, threshold=given[0])
    for choice in (as_threshold, as_values):
        if choice.words in known:
            return choice
    return as_threshold if _is_measured(given[0], seen) else as_values


def _is_measured(number: float, seen: Collection[Cell]) -> bool:
    """Whether a number and a column's values are measured, and no codes."""
    try:
        numbers = {float(cell) for cell in seen if cell is not None}
    except ValueError:
        return False
    return len(numbers) > MOST_CODES or not all(one.is_integer() for one in (number, *numbers))
