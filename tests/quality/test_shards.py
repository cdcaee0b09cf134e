"""A gate on several instances says what it would have said on one, or that it cannot know."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace import verdict
from millrace.quality.__main__ import main
from millrace.quality.errors import PartError
from millrace.quality.expectation import Suite
from millrace.quality.gate import stream
from millrace.quality.reading import read_source
from millrace.quality.shards import answers, merge_parts, write_part
from millrace.quality.streaming.answers import Answer
from tests.quality.streaming.test_agreement import EXPECTATIONS, generated, same

NEVER_MERGED = {"expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique"}
HERE = Path(__file__).parent


def test_the_merged_answers_are_those_of_one_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = generated(5, 300)
    suite = Suite(name="all", expectations=tuple(EXPECTATIONS))
    (tmp_path / "whole").mkdir()
    for number, start in enumerate((0, 110, 110, 190)):  # the second instance has got no file
        rows = table.slice(start, (110, 0, 80, 110)[number])
        shard = tmp_path / f"shard{number}"
        shard.mkdir()
        if rows.num_rows:
            pq.write_table(rows, shard / f"{number}.parquet")
            pq.write_table(rows, tmp_path / "whole" / f"{number}.parquet")
        monkeypatch.setattr("millrace.quality.shards.instance", lambda number=number: f"algo-{number}")
        found = stream(suite, functools.partial(read_source, shard, may_be_empty=True))
        write_part(tmp_path / "parts", suite, found, None)
    on_one = stream(suite, functools.partial(read_source, tmp_path / "whole")).answers()
    merged = merge_parts(tmp_path / "parts", suite)
    assert (merged.parts, merged.found.rows) == (4, 300)
    compared = [
        (expectation, one, many)
        for expectation, one, many in zip(EXPECTATIONS, on_one, answers(merged.found), strict=True)
        if isinstance(one, Answer) and not (many.exception or "").startswith("it cannot be merged")
    ]
    different = [triple for triple in compared if not alike(*triple[1:])]
    assert not different, different[:3]
    assert {one.type for one in EXPECTATIONS} - {one.type for one, *_ in compared} == NEVER_MERGED


def alike(one: Answer, many: Answer) -> bool:
    plain = json.loads(json.dumps([one.result, many.result]))
    return (one.success, one.exception) == (many.success, many.exception) and same(*plain)


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "ml"))

    def run(command: str, *arguments: str, instance: str = "algo-1", suite: str = "example_suites:ages") -> int:
        (tmp_path / "ml" / "config").mkdir(parents=True, exist_ok=True)
        host = json.dumps({"current_host": instance, "hosts": ["algo-1", "algo-2"]})
        (tmp_path / "ml" / "config" / "resourceconfig.json").write_text(host)
        return main([command, "--suite", suite, "--gate", "ages", *arguments])

    return run


def shard(folder: Path, **columns: list[object]) -> None:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / "rows.parquet")


def test_two_instances_and_one_verdict_with_quarantine(gate: Callable[..., int], tmp_path: Path) -> None:
    shard(tmp_path / "one", age=[20, 30, 140], sex=["f", "m", "m"])
    shard(tmp_path / "two", age=[40, None, 50, -3], sex=["f", "f", "x", "f"])
    for number, name in ((1, "one"), (2, "two")):
        arguments = ("--data", name, "--output", "parts", "--partial", "--quarantine")
        assert gate("check", *arguments, instance=f"algo-{number}") == 0
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["algo-1.part.json", "algo-2.part.json"]
    assert sorted(path.name for path in (tmp_path / "output" / "accepted").iterdir()) == [
        "algo-1-00000.parquet", "algo-2-00000.parquet",
    ]  # fmt: skip
    assert gate("merge", "--parts", "parts", "--max-quarantined", "0.5") == 0
    said = verdict.parse((tmp_path / "output" / "quality" / verdict.FILE_NAME).read_text())
    assert said.summary == "Passed: 2 of 3 expectations hold on 4 rows, 3 of 7 rows were put aside, 1 only warns."
    assert said.metrics["rows_accepted"] == 4
    assert (tmp_path / "output" / "quality" / said.artifacts["data_docs"]).is_file()


def test_what_cannot_be_merged_fails_the_gate(gate: Callable[..., int], tmp_path: Path) -> None:
    shard(tmp_path / "one", age=[20, 30])
    for number in (1, 2):
        arguments = ("--data", "one", "--output", "parts", "--partial")
        assert gate("check", *arguments, instance=f"algo-{number}", suite="example_suites:unique") == 0
    assert gate("merge", "--parts", "parts", suite="example_suites:unique") == 0
    said = verdict.parse((tmp_path / "output" / "quality" / verdict.FILE_NAME).read_text())
    assert not said.passed
    assert "it cannot be merged from several instances: whether a value comes twice" in said.findings[0].message


def test_instances_that_have_seen_other_columns_are_not_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = Suite(name="s", expectations=tuple(EXPECTATIONS[:1]))
    seen: tuple[dict[str, list[object]], ...] = ({"whole": [1]}, {"whole": [2], "more": [3]})
    for number, columns in enumerate(seen):
        shard(tmp_path / str(number), **columns)
        monkeypatch.setattr("millrace.quality.shards.instance", lambda number=number: f"algo-{number}")
        found = stream(suite, functools.partial(read_source, tmp_path / str(number)))
        write_part(tmp_path / "parts", suite, found, None)
    with pytest.raises(PartError, match=r"the instances have seen other columns \(more\)"):
        merge_parts(tmp_path / "parts", suite)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is the part of another suite"),
        ('{"suite": "x"}', "is the part of another suite"),
        (None, r"holds no \.part\.json file"),
    ],
)
def test_parts_are_not_trusted(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "algo-1.part.json").write_text(text)
    with pytest.raises(PartError, match=message):
        merge_parts(tmp_path, Suite(name="s", expectations=tuple(EXPECTATIONS[:2])))


@pytest.mark.parametrize(
    "change",
    [
        {"slots": [{"state": {"rows": "many", "counted": 1, "unexpected": 0, "first": []}}]},
        {"slots": [{"state": {}}]},
        {"slots": ["x"]},
        {"slots": []},
        {"rows": None},
        {"rows": 0},
        {"quarantine": {"accepted": 1}},
    ],
)
def test_a_part_of_another_form_ends_the_merge(tmp_path: Path, change: dict[str, object]) -> None:
    suite = Suite(name="s", expectations=tuple(EXPECTATIONS[:1]))
    shard(tmp_path / "data", whole=[1, 2])
    path = write_part(tmp_path, suite, stream(suite, lambda: read_source(tmp_path / "data")), None)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(PartError):
        merge_parts(tmp_path, suite)
