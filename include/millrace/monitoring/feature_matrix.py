"""Turn rows of mixed columns into a matrix of numbers, in the way that the baseline's rows fixed.

Numbers are standardised by the baseline's mean and deviation; categories become the rank of their frequency in the
baseline, and those it never had one rank beyond. A missing value is NaN. Columns of over 100 categories (identifiers,
free text), without a value, or that never vary are left out, because they would tell any two days apart or nothing at
all.

What it does not do: dates, lists and binary columns are left out; images, texts and embeddings come as the features
that the model sees, one column each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.profiling.errors import DatasetError
from millrace.profiling.summary import Floats

MAX_CATEGORIES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnEncoding:
    """How one column becomes numbers."""

    mean: float
    std_dev: float
    categories: tuple[str, ...] | None = None
    """The baseline's, most frequent first; None for numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How a dataset becomes a matrix: columns in the matrix's order."""

    columns: Mapping[str, ColumnEncoding]

    def matrix(self, table: pa.Table) -> Floats:
        """Standardised values, NaN where missing, shape (rows, columns).

        Raises:
            DatasetError: a column is missing, or holds text where the baseline held numbers.
        """
        return np.column_stack([self._column(table, name, how) for name, how in self.columns.items()])

    def _column(self, table: pa.Table, name: str, how: ColumnEncoding) -> Floats:
        if name not in table.column_names:
            raise DatasetError(
                f"the rows have no column {name!r}, which the baseline has; give it, or leave it out there"
            )
        if pa.types.is_null(table[name].type):  # a file in which the column has no value at all
            return np.full(table.num_rows, np.nan)
        if how.categories is None and not _is_number(table[name].type):
            raise DatasetError(
                f"column {name!r} holds {table[name].type}, and the baseline held numbers; write it as numbers"
            )
        values = _ranks(table[name], how.categories) if how.categories is not None else _numbers(table[name])
        return (values - how.mean) / how.std_dev


def encoding_of(table: pa.Table) -> Encoding:
    """The encoding that a baseline's rows fix.

    Raises:
        DatasetError: no column can be used.
    """
    columns = {}
    for name in table.column_names:
        column = table[name]
        categories = None
        if _is_number(column.type):
            values = _numbers(column)
        elif _is_text(column.type):
            categories = _by_frequency(column)
            if len(categories) > MAX_CATEGORIES:
                continue
            values = _ranks(column, categories)
        else:
            continue
        known = values[~np.isnan(values)]
        if len(known) and known.min() < known.max():
            columns[name] = ColumnEncoding(mean=float(known.mean()), std_dev=float(known.std()), categories=categories)
    if not columns:
        raise DatasetError(
            f"none of the columns {', '.join(table.column_names[:8])} holds numbers, or up to {MAX_CATEGORIES} categories, "
            "that vary; nothing can be looked at together"
        )
    return Encoding(columns=columns)


def _by_frequency(column: pa.ChunkedArray) -> tuple[str, ...]:
    counts = pc.value_counts(_texts(column).drop_null())
    pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    return tuple(name for name, _ in sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def _ranks(column: pa.ChunkedArray, categories: tuple[str, ...]) -> Floats:
    texts = _texts(column)
    ranks = pc.fill_null(pc.index_in(texts, pa.array(categories, pa.string())), len(categories))
    return np.where(texts.is_null().to_numpy(), np.nan, ranks.to_numpy())


def _numbers(column: pa.ChunkedArray) -> Floats:
    found = column.cast(pa.float64(), safe=False).to_numpy()
    return np.where(np.isfinite(found), found, np.nan)


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    plain = column.combine_chunks()
    plain = plain.dictionary_decode() if pa.types.is_dictionary(plain.type) else plain
    if pa.types.is_boolean(plain.type):
        plain = pc.if_else(plain, "True", "False")
    return pa.chunked_array([plain.cast(pa.string())])


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind))
