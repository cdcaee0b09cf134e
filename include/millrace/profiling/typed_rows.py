"""Rows whose columns and types nobody has declared, as typed record batches of one schema.

The rows are read twice: once to find every column and what all of its values have in common (whole numbers, numbers, text),
and once to build the batches, so that no later value can contradict an inferred type. Memory is that of one batch.
As in CSV files, text that reads as a number is a number, unless the column is said to be text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import IntEnum
from itertools import islice

import pyarrow as pa

from millrace.profiling.errors import DatasetError
from millrace.profiling.payload import Cell

Row = Mapping[str, Cell]
BATCH_ROWS = 8 * 1024
MAX_COLUMNS = 10_000
WHOLE = re.compile(r"[+-]?\d{1,18}")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")


class _Kind(IntEnum):
    """What a column holds; of two kinds the larger holds both."""

    EMPTY, INTEGRAL, FRACTIONAL, TEXT = range(4)


TYPES = {_Kind.EMPTY: pa.null(), _Kind.INTEGRAL: pa.int64(), _Kind.FRACTIONAL: pa.float64(), _Kind.TEXT: pa.string()}


def typed_batches(
    read: Callable[[], Iterator[Row]], *, exclude: Collection[str] = (), as_text: Collection[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Batches of at most 8,192 rows, a row's missing columns as nulls.

    Args:
        read: gives the rows from the first on, each time it is called.
        exclude: columns left out.
        as_text: columns that hold text even where it looks like numbers.

    Raises:
        DatasetError: there are more than 10,000 columns.
    """
    kinds: dict[str, _Kind] = {}
    for row in read():
        for name, cell in row.items():
            if name not in exclude:
                kinds[name] = max(kinds.get(name, _Kind.EMPTY), _kind(cell, name in as_text))
        if len(kinds) > MAX_COLUMNS:
            raise DatasetError(f"the rows have more than {MAX_COLUMNS} columns; exclude what is not a feature")
    schema = pa.schema([(name, TYPES[kind]) for name, kind in kinds.items()])
    rows = read()
    while batch := list(islice(rows, BATCH_ROWS)):
        columns = [[_value(row.get(name), kind) for row in batch] for name, kind in kinds.items()]
        yield pa.record_batch(
            [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
        )


def _kind(cell: Cell, is_text: bool) -> _Kind:
    if cell is None:
        return _Kind.EMPTY
    if is_text:
        return _Kind.TEXT
    if isinstance(cell, int):
        return _Kind.INTEGRAL
    if isinstance(cell, float):
        return _Kind.FRACTIONAL
    if WHOLE.fullmatch(cell):
        return _Kind.INTEGRAL
    return _Kind.FRACTIONAL if NUMBER.fullmatch(cell) and math.isfinite(float(cell)) else _Kind.TEXT


def _value(cell: Cell, kind: _Kind) -> Cell:
    if cell is None:
        return None
    if kind is _Kind.TEXT:
        return str(cell)
    return int(cell) if kind is _Kind.INTEGRAL else float(cell)
