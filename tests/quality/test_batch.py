"""Reading the batch: files concatenated, and an error that says which file and what to do."""

from pathlib import Path

import pytest

from millrace.quality.batch import read_batch
from millrace.quality.errors import BatchError


def test_files_of_both_formats_are_one_batch(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    read_batch(tmp_path).to_parquet(tmp_path / "b.parquet")
    assert read_batch(tmp_path).to_dict("list") == {"x": [1, 1], "y": [2, 2]}


def test_columns_name_a_csv_without_a_header_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    assert read_batch(tmp_path, ["x", "y"]).to_dict("list") == {"x": [1, 3], "y": [2, 4]}
    with pytest.raises(BatchError, match="has 2 columns and --columns names 1"):
        read_batch(tmp_path, ["x"])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "it holds nothing"),
        ({"a.csv": ""}, "the batch is empty"),
        ({"a.csv": "x\n"}, "the batch is empty"),
        ({"a.csv": "x\n1\n", "b.csv": "y\n1\n"}, r"differ in columns \(x, y\)"),
        ({"a.csv": 'x\n"1\n'}, "cannot be read"),
        ({"a.parquet": "x"}, "cannot be read"),
    ],
)
def test_unusable_folders(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(BatchError, match=message):
        read_batch(tmp_path)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="does not exist"):
        read_batch(tmp_path / "nowhere")
