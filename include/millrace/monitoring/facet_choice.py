"""What Clarify's `value_or_threshold` and `label_values_or_threshold` mean on the values that are there.

Clarify guesses from the data whether a single number is a value or a threshold, and so does this: it is a threshold where
the column holds numbers with a fraction, or more different numbers than a code has. Clarify counts as a share of the rows,
by which the same configuration would mean another thing in a smaller window; this does not.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from millrace.monitoring.clarify_config import Value
from millrace.monitoring.facets import Choice
from millrace.profiling.errors import DatasetError
from millrace.profiling.payload import Cell

MOST_CODES = 20
"""Different whole numbers that a column of codes may hold."""
MOST_FACETS = 50


def choices_of(column: str, given: Sequence[Value], seen: Collection[Cell]) -> list[Choice]:
    """The rows that are meant, as one choice; without values one choice for each value that is there.

    >>> choices_of("age", [40.0], [31, 45.5]), choices_of("sex", [1.0], ["0", "1"])
    ([Choice(column='age', values=(), threshold=40.0)], [Choice(column='sex', values=('1',), threshold=None)])

    Raises:
        DatasetError: no values are given, and there are too many.
    """
    if given:
        is_threshold = len(given) == 1 and isinstance(given[0], float) and _is_measured(seen)
        return [Choice(column=column, threshold=float(given[0]))] if is_threshold else [_values(column, given)]
    values = sorted({text_of(cell) for cell in seen if cell is not None})
    if len(values) > MOST_FACETS:
        raise DatasetError(
            f"column {column!r} has {len(values)} values, and each would be a facet (at most {MOST_FACETS}); give the facet "
            "a value_or_threshold"
        )
    return [Choice(column=column, values=(value,)) for value in values]


def text_of(value: Cell) -> str:
    """A value as `facets` names it: a whole number without a decimal point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _values(column: str, given: Sequence[Value]) -> Choice:
    return Choice(column=column, values=tuple(text_of(value) for value in given))


def _is_measured(seen: Collection[Cell]) -> bool:
    """Whether the values are measured numbers, and no codes."""
    try:
        numbers = {float(cell) for cell in seen if cell is not None}
    except ValueError:
        return False
    return len(numbers) > MOST_CODES or any(not number.is_integer() for number in numbers)
