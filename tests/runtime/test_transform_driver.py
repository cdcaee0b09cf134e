"""The arithmetic of batch transform: nothing of an object is lost between its lines, its batches and its joined answers."""

from __future__ import annotations

import itertools
import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.runtime.inside.transform_driver import (
    CSV,
    JSON,
    JSON_LINES,
    TransformError,
    batches,
    encoded,
    joined,
    records,
    select,
)

LINES = st.lists(st.binary(min_size=1, max_size=30).filter(lambda line: line.strip() and not set(line) & set(b"\r\n")))
ENDS = st.sampled_from((b"\n", b"\r\n"))
STRATEGIES = st.sampled_from(("MultiRecord", "SingleRecord"))
CELLS = st.text(string.ascii_letters + string.digits + ' ,"\n.', max_size=8)
ROWS = st.lists(st.lists(CELLS, min_size=1, max_size=4).filter(lambda row: row != [""]), max_size=5)
PLAIN = st.text(string.printable, max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3),
    max_leaves=6,
)


@given(LINES, ENDS, STRATEGIES, st.integers(32, 200))
def test_the_batches_of_an_object_joined_give_back_all_its_lines(
    lines: list[bytes], end: bytes, strategy: str, limit: int
) -> None:
    body = end.join(lines)
    assert b"".join(batches(body, "Line", strategy, limit)).splitlines() == lines


@given(LINES, st.integers(32, 200))
def test_no_batch_is_over_the_limit_and_none_is_empty(lines: list[bytes], limit: int) -> None:
    for batch in batches(b"\n".join(lines), "Line", "MultiRecord", limit):
        assert 0 < len(batch) <= limit
        assert batch.endswith(b"\n")


@given(LINES, st.integers(32, 200))
def test_batches_are_as_few_as_the_limit_allows(lines: list[bytes], limit: int) -> None:
    made = list(batches(b"\n".join(lines), "Line", "MultiRecord", limit))
    for batch, following in itertools.pairwise(made):
        assert len(batch) + len(following.splitlines(keepends=True)[0]) > limit


@given(LINES)
def test_single_records_go_one_by_one(lines: list[bytes]) -> None:
    assert list(batches(b"\n".join(lines), "Line", "SingleRecord", 0)) == [line + b"\n" for line in lines]


@given(LINES.filter(bool))
def test_without_a_limit_all_lines_go_at_once(lines: list[bytes]) -> None:
    assert len(list(batches(b"\n".join(lines), "Line", "MultiRecord", 0))) == 1


@given(st.binary())
def test_without_a_split_an_object_goes_as_it_is(body: bytes) -> None:
    assert list(batches(body, "None", "SingleRecord", 1)) == [body]


def test_blank_lines_are_no_records() -> None:
    assert list(batches(b"\n1\n\n  \n2\n\n", "Line", "MultiRecord", 0)) == [b"1\n2\n"]
    assert list(batches(b"", "Line", "MultiRecord", 0)) == []


def test_a_record_that_alone_is_over_the_limit_is_refused_with_both_sizes() -> None:
    assert list(batches(b"x" * 9, "Line", "MultiRecord", 10)) == [b"x" * 9 + b"\n"]
    with pytest.raises(TransformError, match=r"a record of 10 bytes is larger than MaxPayloadInMB \(10 bytes\)"):
        list(batches(b"a\n" + b"x" * 10, "Line", "MultiRecord", 10))


@given(ROWS)
def test_csv_rows_survive_their_encoding(rows: list[list[str]]) -> None:
    assert records(encoded(rows, CSV), CSV) == rows


@pytest.mark.parametrize("kind", [JSON, JSON_LINES])
@given(values=st.lists(VALUES, min_size=1, max_size=4))
def test_json_values_survive_their_encoding_one_a_line(kind: str, values: list[Any]) -> None:
    body = encoded(values, kind)
    assert body.count(b"\n") == len(values)
    assert records(body, kind) == values


def test_one_json_document_over_several_lines_is_one_record() -> None:
    assert records(b'{\n "a": 1\n}\n', JSON) == [{"a": 1}]


def test_a_scalar_becomes_a_row_of_one_cell() -> None:
    assert encoded([1.5, ["a", "b"]], CSV) == b"1.5\na,b\n"


RECORD = {"id": 7, "deep": {"er": ["x", "y", "z"]}, "with space": 1}
ROW = ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("record", "path", "found"),
    [
        (RECORD, "$", RECORD),
        (RECORD, "$.id", 7),
        (RECORD, "$['id']", 7),
        (RECORD, "$['with space']", 1),
        (RECORD, "$.deep.er", ["x", "y", "z"]),
        (RECORD, "$.deep.er[0]", "x"),
        (RECORD, "$['deep']['er'][-1]", "z"),
        (ROW, "$[0]", "a"),
        (ROW, "$[-1]", "d"),
        (ROW, "$[1:]", ["b", "c", "d"]),
        (ROW, "$[:-1]", ["a", "b", "c"]),
        (ROW, "$[1:3]", ["b", "c"]),
        (ROW, "$[:]", ROW),
        (ROW, "$[0,3]", ["a", "d"]),
        (ROW, "$[0, -1]", ["a", "d"]),
    ],
)
def test_a_filter_names_a_part_of_a_record(record: Any, path: str, found: Any) -> None:
    assert select(record, path) == found


@pytest.mark.parametrize("path", ["$.gone", "$['gone']", "$.id.deeper", "$[0]", "$.deep.er[7]", "$.deep.er['x']"])
def test_a_filter_that_names_nothing_in_a_record_is_refused_with_the_filter(path: str) -> None:
    with pytest.raises(TransformError, match="names nothing in a record") as caught:
        select(RECORD, path)
    assert repr(path) in str(caught.value)


@pytest.mark.parametrize("path", ["$..id", "$.*", "$[*]", "$[?(@.id > 1)]", "$.a-b", "id", "$[0:2:2]", "$["])
def test_a_path_that_is_not_supported_is_refused_where_it_begins_to_be_so(path: str) -> None:
    with pytest.raises(TransformError, match="JSONPath that is not supported at") as caught:
        select({"a": RECORD}, path)
    assert repr(path) in str(caught.value)


@given(st.lists(st.integers(), min_size=1), st.data())
def test_slices_and_indexes_are_pythons(row: list[int], data: st.DataObject) -> None:
    index = data.draw(st.integers(-len(row), len(row) - 1))
    start = data.draw(st.integers(-len(row), len(row)))
    assert select(row, f"$[{index}]") == row[index]
    assert select(row, f"$[{start}:]") == row[start:]
    assert select(row, f"$[:{start}]") == row[:start]


def test_a_csv_row_gains_the_predictions_columns() -> None:
    assert joined(["1", "2"], ["0.5", "a"], CSV) == ["1", "2", "0.5", "a"]
    assert joined(["1", "2"], 0.5, CSV) == ["1", "2", 0.5]


@pytest.mark.parametrize("kind", [JSON, JSON_LINES])
def test_a_json_object_gains_sagemaker_output_and_any_other_value_stands_beside_it(kind: str) -> None:
    record = {"x": 1}
    assert joined(record, [2], kind) == {"x": 1, "SageMakerOutput": [2]}
    assert record == {"x": 1}
    assert joined([1, 2], 3, kind) == {"SageMakerInput": [1, 2], "SageMakerOutput": 3}
    assert json.loads(encoded([joined([1, 2], 3, kind)], kind)) == {"SageMakerInput": [1, 2], "SageMakerOutput": 3}
