"""Reading the rows: which file they come from, and an error that says which file and what to do."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.job_exit import InputError
from millrace.profiling.dataset import Reading
from millrace.quality.reading import read_source


def read(folder: Path, columns: list[str] | None = None) -> list[tuple[str, int, list[dict[str, int]]]]:
    return [(s.path.name, s.first_row, s.rows.to_pylist()) for s in read_source(folder, Reading(columns=columns))]


def test_rows_know_their_file_and_number(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,4\n")
    rows = pa.table({"y": range(70_000), "x": range(70_000)})
    pq.write_table(rows, tmp_path / "b.parquet")
    found = list(read_source(tmp_path, Reading()))
    assert [(s.path.name, s.first_row, s.rows.num_rows) for s in found] == [
        ("a.csv", 1, 2), ("b.parquet", 1, 65_536), ("b.parquet", 65_537, 4_464),
    ]  # fmt: skip
    assert found[1].rows.schema.names == ["x", "y"], "the columns have the first file's order"


def test_outputs_of_batch_transform_are_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv.out").write_text("1,2\n3,4\n")
    assert read(tmp_path, ["x", "y"]) == [("a.csv.out", 1, [{"x": 1, "y": 2}, {"x": 3, "y": 4}])]


def test_every_column_must_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2\n")
    with pytest.raises(InputError, match=r"a\.csv cannot be read: .*Expected 1 columns, got 2"):
        read(tmp_path, ["x"])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "it holds nothing"),
        ({"a.txt": "x"}, r"it holds a\.txt"),
        ({"a.csv": ""}, r"a\.csv is empty"),
        ({"a.csv": "x\n"}, "the batch is empty"),
        ({"a.csv": "x\n1\n", "b.csv": "y\n1\n"}, r"b\.csv and .*a\.csv differ in columns \(x, y\)"),
        ({"a.csv": "x,y\n1\n"}, r"a\.csv cannot be read"),
        ({"a.parquet": "x"}, r"a\.parquet cannot be read"),
    ],
)
def test_unusable_folders(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read(tmp_path)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / "nowhere")
