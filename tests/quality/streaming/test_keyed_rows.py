"""Rows grouped by key: the same groups whether they fit into memory or not, and nothing left on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.quality.expectation import Expectation
from millrace.quality.streaming import keyed_rows
from millrace.quality.streaming.answers import Answer
from millrace.quality.streaming.batch_view import BatchView
from millrace.quality.streaming.keyed_rows import KeyedRows
from millrace.quality.streaming.suite_pass import SuitePass

COLUMNS: dict[str, Callable[[int], object]] = {
    "whole": lambda n: n % 97 - 40,
    "real": lambda n: None if n % 11 == 0 else n % 97 / 7,
    "text": lambda n: None if n % 13 == 0 else f"é{n % 97}",
    "flag": lambda n: n % 2 == 0,
}


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("keys", [["whole"], ["real"], ["text"], ["flag"], ["text", "whole"]])
def test_all_rows_of_a_key_are_in_one_part(disk: Path, keys: list[str]) -> None:
    rows = [{name: value(n) for name, value in COLUMNS.items()} | {"row": n} for n in range(1000)]
    kept = KeyedRows(keys, budget=4000)
    for start in range(0, 1000, 50):
        kept.add(pa.RecordBatch.from_pylist(rows[start : start + 50]))
    assert list(disk.rglob("*.arrow")), "the budget was not passed"
    seen: dict[object, int] = {}
    found = []
    for part, table in enumerate(kept.parts()):
        for row in table.to_pylist():
            key = tuple(row[name] for name in keys)
            assert seen.setdefault(key, part) == part
            found.append(row)
    assert sorted(found, key=lambda row: row["row"]) == rows
    assert not list(disk.iterdir())


def test_integers_and_floats_of_different_files_are_one_key(disk: Path) -> None:
    kept = KeyedRows(["value"], budget=1)
    for values in ([1, 2, 0], [1.0, 2.5, -0.0]):
        kept.add(pa.record_batch([pa.array(values)], ["value"]))
    parts = [table.column("value").to_pylist() for table in kept.parts()]
    assert sorted(value for part in parts for value in part) == [0, 0, 1, 1, 2, 2.5]
    for value in (0, 1):
        assert max(part.count(value) for part in parts) == 2


def test_the_answers_do_not_depend_on_the_budget(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({name: [value(n * n % 4999) for n in range(5000)] for name, value in COLUMNS.items()})
    expectations = [
        *(Expectation(type="expect_column_values_to_be_unique", kwargs={"column": name}) for name in COLUMNS),
        *(
            Expectation(type="expect_column_unique_value_count_to_be_between", kwargs={"column": name, "max_value": 9})
            for name in COLUMNS
        ),
        *(
            Expectation(type="expect_column_most_common_value_to_be_in_set", kwargs={"column": name, "value_set": [1]})
            for name in COLUMNS
        ),
        Expectation(
            type="expect_column_distinct_values_to_equal_set", kwargs={"column": "whole", "value_set": [1, 200]}
        ),
        Expectation(type="expect_compound_columns_to_be_unique", kwargs={"column_list": ["whole", "text", "real"]}),
    ]
    in_memory = answers(table, expectations)
    monkeypatch.setattr(keyed_rows.KeyedRows.__init__, "__defaults__", (2000,))
    on_disk = answers(table, expectations)
    assert on_disk == in_memory
    assert all(isinstance(answer, Answer) for answer in in_memory)
    assert not list(disk.iterdir())


def answers(table: pa.Table, expectations: list[Expectation]) -> list[object]:
    found, row = SuitePass(expectations), 0
    for batch in table.to_batches(max_chunksize=333):
        found.add(BatchView(batch, row))
        row += batch.num_rows
    return list(found.answers())
