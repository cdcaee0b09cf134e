"""One record batch as expectations look at it: columns by name, missing values in one form, and what several expectations
ask of the same column computed once.

NaN is a missing value, as in pandas. What it does not do: it converts nothing else.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


class MissingColumn(Exception):
    """The batch has no such column."""


class ColumnView:
    """One column of a batch; missing values are null."""

    def __init__(self, name: str, values: pa.Array) -> None:
        self.name = name
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        if pa.types.is_floating(values.type):
            nan = pc.is_nan(values)
            values = pc.if_else(nan, None, values) if pc.any(nan).as_py() else values
        self.values = values
        self.kind = kind_of(values.type)

    @property
    def missing(self) -> int:
        return int(self.values.null_count)

    @cached_property
    def present(self) -> pa.Array:
        """The values without the missing ones."""
        return self.values.drop_null() if self.missing else self.values

    @cached_property
    def limits(self) -> tuple[Any, Any]:
        """Least and greatest value; None twice when none is present."""
        found = pc.min_max(self.values)
        return found["min"].as_py(), found["max"].as_py()

    @cached_property
    def is_plain_text(self) -> bool:
        """ASCII without line ends: where RE2 and Python's `re` say the same."""
        ascii_only = pc.all(pc.string_is_ascii(self.values)).as_py()
        return ascii_only is not False and not pc.any(pc.match_substring(self.values, "\n")).as_py()


class BatchView:
    """Some rows that follow each other in a dataset."""

    def __init__(self, rows: pa.RecordBatch, first_row: int) -> None:
        self.batch = rows
        self.first_row = first_row
        """The number of its first row in the dataset, from 0: Great Expectations' index of a row."""
        self._columns: dict[str, ColumnView] = {}

    @property
    def rows(self) -> int:
        return int(self.batch.num_rows)

    @property
    def names(self) -> list[str]:
        return list(self.batch.schema.names)

    def column(self, name: str) -> ColumnView:
        """The column of that name; of another case when there is exactly one, as Great Expectations finds it."""
        if name not in self._columns:
            self._columns[name] = ColumnView(name, self.batch.column(self.position(name)))
        return self._columns[name]

    def position(self, name: str) -> int:
        """Where the column of that name stands; MissingColumn if there is none."""
        names = self.names
        if name in names:
            return names.index(name)
        alike = [position for position, other in enumerate(names) if other.casefold() == name.casefold()]
        if len(alike) != 1:
            raise MissingColumn(f'Error: The column "{name}" in BatchData does not exist.')
        return alike[0]


def kind_of(kind: pa.DataType) -> str:
    """`number`, `text`, `boolean`, `nothing` (no value was ever seen), or `other`: dates, decimals, lists, bytes."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_boolean(kind):
        return "boolean"
    return "nothing" if pa.types.is_null(kind) else "other"
