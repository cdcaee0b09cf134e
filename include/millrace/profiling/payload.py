"""What a model was asked and what it answered, as rows: the CSV or JSON text of one payload.

CSV gives a row a line, its cells without names. JSON gives one row for an object (nested members as `a.b`, lists as `a.0`),
one for a list of scalars, and one for each element of a list of lists or objects; `{"instances": [...]}` and
`{"predictions": [...]}` stand for their lists. JSON lines are read as their documents, one after the other. Empty cells and
JSON's null and NaN are missing values.

What it does not do: it knows nothing of files (`capture`, `json_dataset`) and gives no types (`typed_rows`).
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from typing import Any, Literal

from millrace.profiling.dataset import MISSING_WORDS

Cell = str | int | float | None
Cells = list[tuple[str | None, Cell]]
"""One row, in its order; a cell of a CSV line, or of a JSON list, has no name."""
Form = Literal["csv", "json"]
WRAPPERS = ("instances", "predictions")
"""The members that stand for the list they hold, after SageMaker's common inference formats."""

LARGEST_WHOLE = 10**18
"""Larger whole numbers are read as text is: as a number if a double can hold it."""


class PayloadError(ValueError):
    """A payload cannot be read as rows; the message says why."""


def rows_of(text: str, form: Form) -> list[Cells]:
    """The rows of a payload.

    Raises:
        PayloadError: it is not CSV or JSON, or holds no row.
    """
    rows = _csv_rows(text) if form == "csv" else _json_rows(text)
    if not rows:
        raise PayloadError(f"the {form.upper()} payload holds no row")
    return rows


def json_cells(document: Any) -> Cells:
    """One row from one JSON value."""
    return list(_flat(document, ""))


def _csv_rows(text: str) -> list[Cells]:
    try:
        records = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise PayloadError(f"the payload is not CSV: {error}") from error
    return [[(None, _text(cell)) for cell in record] for record in records if record]


def _json_rows(text: str) -> list[Cells]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1:
            return [row for line in lines for row in _json_rows(line)]
        raise PayloadError(f"the payload is not JSON: {error}") from error
    if isinstance(document, dict) and len(document) == 1:
        name, value = next(iter(document.items()))
        document = value if name in WRAPPERS and isinstance(value, list) else document
    if isinstance(document, list) and document and all(isinstance(item, dict | list) for item in document):
        return [json_cells(item) for item in document]
    return [json_cells(document)] if document != [] else []


def _flat(value: Any, path: str) -> Iterator[tuple[str | None, Cell]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _flat(part, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _flat(part, f"{path}.{index}" if path else "")
    else:
        yield path or None, _scalar(value)


def _scalar(value: Any) -> Cell:
    if isinstance(value, bool):
        return str(value)  # as Arrow's booleans are profiled
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, int) and abs(value) >= LARGEST_WHOLE:
        return str(value)
    return _text(value) if isinstance(value, str) else value


def _text(cell: str) -> str | None:
    stripped = cell.strip()
    return None if stripped in MISSING_WORDS else stripped
