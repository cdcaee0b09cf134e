"""Captured JSON lines become rows: each encoding, several records a payload, windows, and lines that cannot be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millrace.profiling.capture import Capture
from millrace.profiling.errors import DatasetError
from millrace.profiling.json_dataset import JsonDataset
from millrace.profiling.payload import PayloadError, rows_of
from millrace.profiling.typed_rows import typed_batches
from tests.profiling.captured import line


def capture(folder: Path, *lines: str, **how: Any) -> Capture:
    path = folder / "endpoint/AllTraffic/2026/01/31/15/20-00-000-a.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))
    return Capture(folder, **how)


@pytest.mark.parametrize("encoding", ["CSV", "BASE64"])
def test_csv_columns_are_the_output_then_the_input_by_position(tmp_path: Path, encoding: str) -> None:
    found = capture(tmp_path, line("1.5,abc,\n2,,7", "0.25\n0.75\n", encoding=encoding))
    assert list(found.rows()) == [
        {"_c0": "0.25", "_c1": "1.5", "_c2": "abc", "_c3": None},
        {"_c0": "0.75", "_c1": "2", "_c2": None, "_c3": "7"},
    ]
    named = capture(tmp_path, line("1,2", "0"), names=["score", "age"])
    assert list(named.rows()) == [{"score": "0", "age": "1", "_c2": "2"}]


@pytest.mark.parametrize("encoding", ["JSON", "BASE64"])
def test_json_members_are_columns_and_a_name_of_both_sides_is_told_apart(tmp_path: Path, encoding: str) -> None:
    given, answered = '{"age": 3, "place": {"x": [1, 2]}, "label": "a"}', '{"label": "b", "ok": true}'
    found = capture(tmp_path, line(given, answered, encoding=encoding, content_type="application/json"))
    (row,) = found.rows()
    assert row == {
        "label": "b", "ok": "True", "age": 3, "place.x.0": 1, "place.x.1": 2, "endpointInput.label": "a",
    }  # fmt: skip


def test_json_of_several_records_gives_as_many_rows(tmp_path: Path) -> None:
    given, answered = '{"instances": [[1, 2], [3, 4]]}', '{"predictions": [{"p": 0.1}, {"p": 0.2}]}'
    found = capture(tmp_path, line(given, answered, encoding="JSON", content_type="application/json"))
    assert list(found.rows()) == [{"p": 0.1, "_c1": 1, "_c2": 2}, {"p": 0.2, "_c1": 3, "_c2": 4}]


def test_one_part_alone_is_read_when_only_it_is_asked_for(tmp_path: Path) -> None:
    found = capture(tmp_path, line("1,2", "0"), parts=["endpointInput"])
    assert list(found.rows()) == [{"_c0": "1", "_c1": "2"}]


def test_events_outside_of_the_window_are_passed_over_and_counted(tmp_path: Path) -> None:
    times = ["2026-01-31T14:59:59Z", "2026-01-31T15:00:00Z", "2026-01-31T15:59:59Z", "2026-01-31T16:00:00Z"]
    found = capture(
        tmp_path, *(line(str(index), "0", time=time, inference_id=f"i{index}") for index, time in enumerate(times)),
        since=datetime(2026, 1, 31, 15, tzinfo=UTC), until=datetime(2026, 1, 31, 16, tzinfo=UTC),
    )  # fmt: skip
    assert [event.inference_id for event in found.events()] == ["i1", "i2"]
    assert (found.lines, found.outside, found.unreadable.count) == (4, 2, 0)


BROKEN = {
    "it is no captured event": "not json\n",
    "KeyError": '{"captureData": {}}\n',
    "AttributeError": '{"captureData": {}, "eventMetadata": {"inferenceTime": 5, "eventId": "x"}}\n',
    "different numbers of records (1 in endpointOutput, 2 in endpointInput)": line("1\n2", "0"),
    "not JSON": line("{", "{}", encoding="JSON"),
    "holds no row": line("", "1"),
    "gives no rows": line("1", "2", encoding="BASE64", content_type="image/png"),
    "not base64": line("1", "2", encoding="BASE64").replace('"MQ=="', '"M"'),
    "known are CSV, JSON and BASE64": line("1", "2").replace('"CSV"', '"XML"'),
    "no endpointOutput": line("1", "2").replace('"endpointOutput"', '"other"'),
}


@pytest.mark.parametrize(("why", "broken"), BROKEN.items(), ids=list(BROKEN))
def test_line_that_cannot_be_read_is_counted_and_told_and_the_others_are_read(
    tmp_path: Path, why: str, broken: str
) -> None:
    found = capture(tmp_path, line("1", "2"), broken, line("3", "4"))
    for _ in range(2):  # each reading counts anew
        assert [row["_c1"] for row in found.rows()] == ["1", "3"]
        assert (found.lines, found.unreadable.count) == (3, 1)
    (told,) = found.unreadable.examples
    assert why in told or why == "AttributeError"
    assert "line 2 of 20-00-000-a.jsonl" in told


def test_line_without_end_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.profiling.capture.MAX_LINE_BYTES", 1000)
    found = capture(tmp_path, line("1", "2"), "x" * 4500 + "\n", line("3", "4"))
    assert [row["_c1"] for row in found.rows()] == ["1", "3"]
    assert found.unreadable.count == 1


def test_folder_without_a_capture_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="switch data capture on"):
        Capture(tmp_path)


def test_types_are_those_of_all_values_and_not_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.profiling.typed_rows.BATCH_ROWS", 2)
    rows: list[dict[str, Any]] = [
        {"whole": "1", "share": "1", "code": "007", "word": "2", "huge": 10**17},
        {"whole": 2, "share": 0.5, "code": "008", "word": "x", "huge": "1e300"},
        {"whole": None, "late": "3", "word": "1e999", "huge": "-.5"},
    ]
    batches = list(typed_batches(lambda: iter(rows), as_text=["code"], exclude=["nothing"]))
    assert [batch.num_rows for batch in batches] == [2, 1]
    table = pa.Table.from_batches(batches)
    assert {field.name: str(field.type) for field in table.schema} == {
        "whole": "int64", "share": "double", "code": "string", "word": "string", "huge": "double", "late": "int64",
    }  # fmt: skip
    assert table["code"].to_pylist() == ["007", "008", None]
    assert table["word"].to_pylist() == ["2", "x", "1e999"]
    assert table["late"].to_pylist() == [None, None, 3]


def test_numbers_that_no_column_can_hold_become_text() -> None:
    (row,) = rows_of(json.dumps({"a": 10**400, "b": float("inf"), "c": float("nan"), "d": "NaN"}), "json")
    batch = next(typed_batches(lambda: iter([{name or "": cell for name, cell in row}])))
    assert batch.to_pylist() == [{"a": str(10**400), "b": "inf", "c": None, "d": None}]


def test_csv_with_an_open_quote_is_refused() -> None:
    with pytest.raises(PayloadError, match="not CSV"):
        rows_of('"a', "csv")


def test_json_dataset_reads_lines_whatever_the_file_is_called(tmp_path: Path) -> None:
    (tmp_path / "part.jsonl.out").write_text('{"a": 1}\n\nnope\n[2, 3]\n')
    found = JsonDataset(tmp_path, by_line=True)
    assert list(found.rows()) == [{"a": 1}, {"_c0": 2, "_c1": 3}]
    assert found.unreadable.examples[0].startswith("line 3 of part.jsonl.out: it is not JSON")
    (tmp_path / "part.jsonl.out").write_text('[{"a": 1}, {"a": 2}]')
    assert list(JsonDataset(tmp_path, by_line=False).rows()) == [{"a": 1}, {"a": 2}]
