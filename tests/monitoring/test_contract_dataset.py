"""A contract's dataset as batches: its columns' names and types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millrace.monitoring import container_contract
from millrace.monitoring.contract_dataset import open_batches
from millrace.profiling.errors import DatasetError


def rows(
    folder: Path, *, header: bool, as_text: tuple[str, ...] = (), names: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    contract = container_contract.read(
        {"dataset_source": str(folder), "dataset_format": json.dumps({"csv": {"header": header}})}
    )
    with open_batches(contract, names, as_text) as (batches, _):
        return [row for batch in batches for row in batch.to_pylist()]


@pytest.mark.parametrize("text", ['"a,b",01\n', '\n"a,b",01\n'])
def test_columns_without_a_header_line_are_counted_as_csv_counts_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert rows(tmp_path, header=False, as_text=("1",)) == [{"_c0": "a,b", "_c1": "01"}]
    assert rows(tmp_path, header=False, names=("code",)) == [{"code": "a,b", "_c1": 1}]


def test_name_comes_before_a_position(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,x\n01,02\n")
    assert rows(tmp_path, header=True, as_text=("1",)) == [{"1": "01", "x": 2}]
    assert rows(tmp_path, header=True, as_text=("0",)) == [{"1": "01", "x": 2}]


def test_every_file_has_the_type_that_holds_all_values(tmp_path: Path) -> None:
    for name, value in (("a", "1"), ("b", "0.5"), ("c", "2")):
        (tmp_path / f"{name}.csv").write_text(f"x\n{value}\n")
    assert rows(tmp_path, header=True) == [{"x": 1.0}, {"x": 0.5}, {"x": 2.0}]


def test_first_row_that_is_no_csv_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x" * 200_000 + "\n")
    with pytest.raises(DatasetError, match=r"the first row of a\.csv is not CSV: field larger"):
        rows(tmp_path, header=False)
