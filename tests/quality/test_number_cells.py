"""Cells that are numbers, and cells that are none, in columns that a suite bounds by numbers."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from millrace.quality.expectation import Expectation
from millrace.quality.number_cells import as_numbers, column_of


def batch(*cells: str | None) -> pa.RecordBatch:
    return pa.record_batch({"x": pa.array(cells, pa.string()), "other": pa.array(["a"] * len(cells))})


@pytest.mark.parametrize(
    ("cells", "numbers", "strange"),
    [
        (["1", " -2 ", None, "n/a"], [1, -2, None, None], [False, False, False, True]),
        (["1", "2.5", ".5", "5.", "1e3"], [1.0, 2.5, 0.5, 5.0, 1000.0], [False] * 5),
        (["1700000000000000001", "x"], [1700000000000000001, None], [False, True]),
        (["9999999999999999999", "1"], [1e19, 1.0], [False, False]),
        (["1e999", "1"], [None, 1.0], [True, False]),
        (["", "+1", "1,5", "0x1f", "inf", "1 2", "-"], [None] * 7, [True] * 7),
        ([None, None], [None, None], [False, False]),
    ],
)
def test_text_becomes_numbers_where_it_is_one(cells: list[Any], numbers: list[Any], strange: list[bool]) -> None:
    rows, found = as_numbers(batch(*cells), ["x", "nowhere"])
    assert rows["x"].to_pylist() == numbers
    assert found.keys() == {"x"}
    assert found["x"].to_pylist() == strange
    assert rows["other"].to_pylist() == ["a"] * len(cells)


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_every_form_of_text_is_text(kind: pa.DataType) -> None:
    rows, found = as_numbers(pa.record_batch({"x": pa.array(["1", "n/a"]).cast(kind)}), ["x"])
    assert rows["x"].to_pylist() == [1, None]
    assert found["x"].to_pylist() == [False, True]


def test_numbers_are_left_as_they_are() -> None:
    rows = pa.record_batch({"x": pa.array([1, None])})
    assert as_numbers(rows, ["x"]) == (rows, {})


@pytest.mark.parametrize(
    ("bounds", "column"),
    [
        ({"min_value": 0}, "x"),
        ({"max_value": 1.5}, "x"),
        ({"min_value": "2026-01-01"}, None),
        ({}, None),
    ],
)
def test_only_bounds_that_are_numbers_say_that_a_column_holds_numbers(
    bounds: dict[str, Any], column: str | None
) -> None:
    kwargs = {"column": "x", **bounds}
    assert column_of(Expectation(type="expect_column_values_to_be_between", kwargs=kwargs)) == column
    assert column_of(Expectation(type="expect_column_values_to_not_be_null", kwargs=kwargs)) is None
