"""Reading folders: both formats alike, and an error that says which file and what to do."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.profiling.dataset import Reading, read_batches, read_into
from millrace.profiling.errors import DatasetError


def rows(folder: Path, **options: object) -> list[dict[str, object]]:
    batches = list(read_batches(folder, Reading(**options)))  # type: ignore[arg-type]
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


def test_text_of_few_categories_is_read_as_the_dictionary_that_it_is(tmp_path: Path) -> None:
    """Where that is asked for; not identifiers, of which a dictionary is no help, nor what is inside of a list."""
    count = 40_000
    table = pa.table(
        {
            "a.b": ["x", "y", None, "x"] * (count // 4),
            "id": [f"{number * 7919:x}" for number in range(count)],
            "list": [["x"]] * count,
            "n": range(count),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=30_000)
    batches = list(read_batches(tmp_path, Reading(dictionaries=True)))
    kinds = dict(zip(batches[0].schema.names, map(pa.types.is_dictionary, batches[0].schema.types), strict=True))
    assert kinds == {"a.b": True, "id": False, "list": False, "n": False}
    assert [row for batch in batches for row in batch.to_pylist()] == rows(tmp_path)
    assert not pa.types.is_dictionary(next(read_batches(tmp_path)).schema.field("a.b").type)


def test_columns_name_a_csv_without_a_header_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    assert rows(tmp_path, columns=["a", "b"]) == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"holds no \.csv or \.parquet or \.jsonl file \(it holds nothing\)"),
        ({"a.txt": "x"}, r"it holds a\.txt"),
        ({"a.csv": ""}, "is empty"),
        ({"a.csv": "a,b\n1,2\n3\n"}, "cannot be read"),
        ({"a.csv": "a,a\n1,2\n"}, "'a' more than once"),
        ({"a.csv": "a,\n1,2\n"}, "without a name"),
        ({"a.csv": "a\n1\n", "b.csv": "b\n1\n"}, r"differ in columns \(a, b\)"),
        ({"a.parquet": "not parquet"}, "cannot be read"),
        ({"a.jsonl": '{"a": 1}\n{"a": "x"}\n'}, "changed from number to string.*each field of one type"),
        ({"a.jsonl": '{"a": 1}\n{"a":\n'}, "one JSON object a line"),
    ],
)
def test_unusable_folders(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=message):
        rows(tmp_path)


def test_text_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("name\nJosé\n".encode("latin-1"))
    with pytest.raises(DatasetError, match=r"not in UTF-8 \(column 'name'\)"):
        rows(tmp_path)
    (tmp_path / "a.csv").write_bytes("name\nJosé\n".encode("utf-16"))
    with pytest.raises(DatasetError, match="UTF-8"):
        rows(tmp_path)


def test_a_line_longer_than_a_block(tmp_path: Path) -> None:
    """As a 2 GB line does: no block holds it, and no more than a block is read of it."""
    with (tmp_path / "a.csv").open("wb") as file:
        file.write(b"a,b\n1,")
        file.truncate(2 * 1024**3)
    with pytest.raises(DatasetError, match="a line is longer than 32 MiB"):
        rows(tmp_path)


def test_json_lines_read_as_csv_does(tmp_path: Path) -> None:
    for name, text in {"a.csv": "n,w\n1,x\n,y\n", "a.jsonl": '{"n": 1, "w": "x"}\n{"n": null, "w": "y"}\n'}.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{name}.out").write_text(text)
    assert rows(tmp_path / "a.csv") == rows(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl" / "b.jsonl").write_text("")
    assert len(rows(tmp_path / "a.jsonl")) == 2


def test_folders_of_a_partitioned_prefix_are_walked_and_are_no_columns(tmp_path: Path) -> None:
    for day in ("01", "02"):
        (tmp_path / f"day=2026-11-{day}").mkdir()
        pq.write_table(pa.table({"n": [int(day)]}), tmp_path / f"day=2026-11-{day}" / "part-0.parquet")
    assert rows(tmp_path) == [{"n": 1}, {"n": 2}]


def test_lines_with_other_cells_go_to_who_asks_for_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3\n4,5,6\n7,8\n")
    seen: list[str] = []
    found = rows(tmp_path, on_invalid_row=lambda path, text: seen.append(f"{path.name}: {text}"))
    assert found == [{"a": 1, "b": 2}, {"a": 7, "b": 8}]
    assert seen == ["a.csv: 3", "a.csv: 4,5,6"]


class Table:
    """Keeps the batches."""

    def __init__(self) -> None:
        self.batches: list[pa.RecordBatch] = []

    def add(self, batch: pa.RecordBatch) -> None:
        self.batches.append(batch)

    def column(self, name: str) -> list[object]:
        return [value for batch in self.batches for value in batch.column(name).to_pylist()]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("1", "2.5", [1.0, 2.5]),
        ("1", "x", ["1", "x"]),
        ("2.5", "x", ["2.5", "x"]),
        ("", "7", [None, 7]),
        ("", "x", [None, "x"]),
        ("2026-11-21", "soon", ["2026-11-21", "soon"]),
    ],
)
@pytest.mark.parametrize("where", ["a later file", "a later block"])
def test_a_column_of_mixed_types_is_read_with_the_narrowest_that_holds_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, second: str, expected: list[object], where: str
) -> None:
    monkeypatch.setattr("millrace.profiling.dataset.BLOCK_BYTES", 64)
    rows_of_first, rows_of_second = f"{first},1\n" * 20, f"{second},1\n"
    if where == "a later file":
        (tmp_path / "a.csv").write_text(f"a,b\n{rows_of_first}")
        (tmp_path / "b.csv").write_text(f"a,b\n{rows_of_second}")
    else:
        (tmp_path / "a.csv").write_text(f"a,b\n{rows_of_first}{rows_of_second}")
    found = read_into(Table, tmp_path).column("a")
    assert [found[0], found[-1]] == expected
    assert [type(value) for value in found] == [type(expected[0])] * 20 + [type(expected[1])]


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        rows(tmp_path / "nowhere")
