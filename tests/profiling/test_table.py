"""Some columns of the files below a folder, as one table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from millrace.job_exit import InputError
from millrace.profiling.table import read_table


def test_the_columns_come_in_the_order_asked_for_from_every_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,x,y\na1,1,0.5\n")
    (tmp_path / "day=2").mkdir()
    (tmp_path / "day=2" / "b.csv").write_text("id,x,y\nb1,2,\n")
    frame = read_table(tmp_path, ("y", "id"))
    assert list(frame.columns) == ["y", "id"]
    assert frame["id"].tolist() == ["a1", "b1"]
    assert frame["y"].isna().tolist() == [False, True]


def test_parquet_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = pd.DataFrame({"n": [1, 2], "share": [0.5, 1.5], "word": ["a", None], "flag": [True, False]})
    written.to_parquet(tmp_path / "t.parquet", index=False)
    pd.testing.assert_frame_equal(read_table(tmp_path, list(written.columns)), written)


def test_a_column_that_changes_its_type_late_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n2\n")
    (tmp_path / "b.csv").write_text("x\n2.5\n")
    assert read_table(tmp_path, ("x",))["x"].tolist() == [1.0, 2.0, 2.5]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\n1,2\n", "lacks the columns c0, c1, c2, c3, c4 and 1 more; its files have a, b"),
        (b"c0,c1,c2,c3,c4,c5\n", "holds no row"),
        (b"", "is empty"),
        (b"\x00not a table", "lacks the columns|holds no row"),
    ],
    ids=["columns", "header", "empty", "binary"],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_table(tmp_path, [f"c{number}" for number in range(6)])


def test_files_whose_types_do_not_go_together_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"x": ["one"]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(InputError, match="differ in the types of their columns"):
        read_table(tmp_path, ("x",))


def test_a_folder_without_data_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(InputError, match=r"notes\.txt"):
        read_table(tmp_path, ("x",))
