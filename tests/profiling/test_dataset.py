"""Reading folders: both formats alike, and an error that says which file and what to do."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.profiling.dataset import read_batches
from millrace.profiling.errors import DatasetError


def rows(folder: Path, **options: object) -> list[dict[str, object]]:
    batches = list(read_batches(folder, **options))  # type: ignore[arg-type]
    return [row for batch in batches for row in batch.to_pylist()]


def test_csv_and_parquet_read_alike(tmp_path: Path) -> None:
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "a.csv").write_text("n,w,b\n1,x,True\n,y,False\n")
    (tmp_path / "csv" / "_SUCCESS").touch()
    (tmp_path / "parquet" / "deep").mkdir(parents=True)
    table = pa.table({"n": [1, None], "w": ["x", "y"], "b": ["True", "False"]})
    pq.write_table(table, tmp_path / "parquet" / "deep" / "a.parquet")
    assert rows(tmp_path / "csv") == rows(tmp_path / "parquet")


def test_excluded_columns_and_codes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("code,label\n0042,1\n")
    assert rows(tmp_path, exclude=["label"], as_text={"code"}) == [{"code": "0042"}]
    pq.write_table(pa.table({"code": [42], "label": [1]}), tmp_path / "a.parquet")
    assert rows(tmp_path, exclude=["label"], as_text={"code"}) == [{"code": "0042"}, {"code": "42"}]


def test_columns_name_a_csv_without_a_header_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    assert rows(tmp_path, columns=["a", "b"]) == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"holds no \.csv or \.parquet file \(it holds nothing\)"),
        ({"a.txt": "x"}, r"it holds a\.txt"),
        ({"a.csv": ""}, "is empty"),
        ({"a.csv": "a,b\n1,2\n3\n"}, "cannot be read"),
        ({"a.csv": "a,a\n1,2\n"}, "'a' more than once"),
        ({"a.csv": "a,\n1,2\n"}, "without a name"),
        ({"a.csv": "a\n1\n", "b.csv": "b\n1\n"}, r"differ in columns \(a, b\)"),
        ({"a.parquet": "not parquet"}, "cannot be read"),
    ],
)
def test_unusable_folders(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=message):
        rows(tmp_path)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        rows(tmp_path / "nowhere")
