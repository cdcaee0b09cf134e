"""Rows put aside: the right ones, with every reason, and nothing lost on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from millrace.quality.expectation import Expectation
from millrace.quality.quarantine import Quarantine
from millrace.quality.reading import SourceBatch


def column(kind: str, severity: str = "critical", **kwargs: Any) -> Expectation:
    return Expectation(type=f"expect_column_{kind}", kwargs=kwargs, severity=severity)


def quarantine(folder: Path, *expectations: Expectation) -> Quarantine:
    return Quarantine(folder, folder / "accepted", folder / "aside", expectations)


def batch(path: Path, first_row: int, **columns: list[Any]) -> SourceBatch:
    return SourceBatch(path, first_row, pa.RecordBatch.from_pydict(columns))


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.iterdir()) for row in pq.read_table(path).to_pylist()]


def test_only_critical_row_level_expectations_put_rows_aside_and_mostly_does_not_matter(tmp_path: Path) -> None:
    held = quarantine(
        tmp_path,
        column("values_to_be_between", column="x", min_value=0, mostly=0.1),
        column("values_to_not_be_null", column="y"),
        column("values_to_be_between", "warning", column="x", max_value=3),
        column("values_to_be_unique", column="x"),
        column("mean_to_be_between", column="x", max_value=-100),
    )
    good = held.split(batch(tmp_path / "day=1" / "a.csv", 11, x=[5, -1, 5, -2, None], y=["a", "b", "c", None, "e"]))
    held.close()
    assert good.to_pylist() == rows(tmp_path / "accepted")
    assert [row["x"] for row in good.to_pylist()] == [5, 5, None]
    aside = rows(tmp_path / "aside")
    assert [(row["x"], row["_source_file"], row["_source_row"], len(row["_reasons"])) for row in aside] == [
        (-1, "day=1/a.csv", 12, 1), (-2, "day=1/a.csv", 14, 2),
    ]  # fmt: skip
    assert [(reason.expectation.kwargs["column"], reason.rows) for reason in held.reasons] == [("x", 2), ("y", 1)]
    assert held.metrics() == {"rows_read": 5, "rows_accepted": 3, "rows_quarantined": 2, "quarantined_share": 0.4}


def test_a_column_that_is_not_there_puts_nothing_aside(tmp_path: Path) -> None:
    held = quarantine(tmp_path, column("values_to_not_be_null", column="z"))
    assert held.split(batch(tmp_path / "a.csv", 1, x=[1, 2])).num_rows == 2
    held.close()
    assert not (tmp_path / "aside").exists()


def test_files_of_other_types_are_files_of_their_own(tmp_path: Path) -> None:
    held = quarantine(tmp_path, column("values_to_be_between", column="x", max_value=9))
    held.split(batch(tmp_path / "a.csv", 1, x=[1, 10]))
    held.split(batch(tmp_path / "a.csv", 3, x=[2, 20]))
    held.split(batch(tmp_path / "b.csv", 1, x=[2.5, 20.5]))
    held.close()
    names = sorted(path.name for path in (tmp_path / "accepted").iterdir())
    assert names == ["algo-1-00000.parquet", "algo-1-00001.parquet"]
    assert [row["x"] for row in rows(tmp_path / "accepted")] == [1, 2, 2.5]
    assert [row["_source_row"] for row in rows(tmp_path / "aside")] == [2, 2 + 2, 2]


def test_a_line_that_is_no_row_is_kept_and_counted(tmp_path: Path) -> None:
    held = quarantine(tmp_path, column("values_to_not_be_null", column="x"))
    held.split(batch(tmp_path / "a.csv", 1, x=[1, None, 3]))
    held.on_invalid(tmp_path / "a.csv", "7;8;9" * 1000)
    held.close()
    (line,) = (tmp_path / "aside" / "algo-1-unparsable.jsonl").read_text().splitlines()
    kept = json.loads(line)
    assert (kept["_source_file"], len(kept["text"])) == ("a.csv", 2000)
    assert held.metrics() == {"rows_read": 4, "rows_accepted": 2, "rows_quarantined": 2, "quarantined_share": 0.5}
