"""Gates against a baseline: the suite that it proposes, training-serving skew, and schema drift."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace import verdict
from millrace.profiling import constraints_file, statistics_file
from millrace.profiling.profile import DatasetProfile
from millrace.quality.__main__ import main

ROWS = 200
TRAINED: dict[str, list[Any]] = {
    "age": [20 + n % 50 for n in range(ROWS)],
    "income": [None if n % 10 == 0 else n / 7 for n in range(ROWS)],
    "colour": [("red", "green")[n % 2] for n in range(ROWS)],
    "code": [f"c{n}" for n in range(ROWS)],
    "nothing": [None] * ROWS,
}
Run = Callable[..., verdict.Verdict]


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    folder = tmp_path / "input" / "baseline"
    folder.mkdir(parents=True)
    profile = DatasetProfile()
    for batch in pa.table(TRAINED).to_batches():
        profile.add(batch)
    statistics_file.write_statistics(folder, profile.summary())
    constraints_file.write_constraints(folder, constraints_file.suggest(profile.summary()))
    return folder


@pytest.fixture
def run(baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on the training data with some columns changed (to None: left out)."""
    monkeypatch.chdir(tmp_path)

    def command(name: str, *arguments: str, **changes: Any) -> verdict.Verdict:
        columns = {name: values for name, values in {**TRAINED, **changes}.items() if values is not None}
        (tmp_path / "input" / "data").mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), tmp_path / "input" / "data" / "rows.parquet")
        assert main([name, *arguments]) == 0
        return verdict.parse((tmp_path / "output" / "quality" / verdict.FILE_NAME).read_text())

    return command


def test_the_baseline_satisfies_the_suite_that_it_proposes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "proposal"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["propose", "--output", "proposal/suite.json", "--name", "people"]) == 0
    document = json.loads((package / "suite.json").read_text())
    kinds = [(one["type"].removeprefix("expect_"), one["kwargs"].get("column")) for one in document["expectations"]]
    assert kinds == [
        ("table_columns_to_match_set", None),
        ("column_values_to_not_be_null", "age"),
        ("column_values_to_be_between", "age"),
        ("column_mean_to_be_between", "age"),
        ("column_values_to_not_be_null", "income"),
        ("column_values_to_be_between", "income"),
        ("column_mean_to_be_between", "income"),
        ("column_values_to_not_be_null", "colour"),
        ("column_values_to_be_in_set", "colour"),
        ("column_values_to_not_be_null", "code"),
    ]
    assert {one["severity"] for one in document["expectations"][1:2]} == {"critical"}
    assert document["expectations"][4]["kwargs"] == {"column": "income", "mostly": 0.9}
    said = run("check", "--suite", "proposal/suite.json", "--gate", "people")
    assert (said.passed, said.findings) == (True, [])
    assert said.metrics["evaluated_in_memory"] == 0


@pytest.mark.parametrize(
    ("changes", "passed", "about"),
    [
        ({}, True, []),
        ({"colour": ["red"] * 199 + ["blue"]}, True, []),
        ({"colour": ["red"] * 190 + ["blue"] * 10}, True, ["colour"]),
        ({"income": [1000.0] * ROWS}, True, ["income", "income"]),
        ({"age": None}, False, ["table", "age", "age", "age"]),
        ({"age": [*TRAINED["age"][:150], *[None] * 50]}, False, ["age"]),
    ],
)
def test_skew(run: Run, changes: dict[str, Any], passed: bool, about: list[str]) -> None:
    said = run("skew", **changes)
    assert said.gate == "training-serving skew"
    assert said.passed is passed
    assert sorted(finding.subject.split(",")[0] for finding in said.findings) == sorted(
        "age" if subject == "table" else subject for subject in about
    )


@pytest.mark.parametrize(
    ("changes", "findings"),
    [
        ({}, []),
        ({"income": list(range(ROWS))}, []),
        ({"nothing": ["x"] * ROWS}, []),
        ({"code": [None] * ROWS}, []),
        ({"age": None}, [("age", "is missing; the baseline has it as Integral")]),
        ({"extra": [1.5] * ROWS}, [("extra", "is new, of type Fractional; the baseline does not have it")]),
        ({"age": [1.5] * ROWS}, [("age", "is Fractional and was Integral in the baseline")]),
        ({"colour": [1] * ROWS}, [("colour", "is Integral and was String in the baseline")]),
    ],
)
def test_schema_drift(run: Run, changes: dict[str, Any], findings: list[tuple[str, str]]) -> None:
    said = run("schema", **changes)
    assert [(finding.subject, finding.message) for finding in said.findings] == findings
    assert said.passed == (not findings)


def test_a_type_that_changes_between_files_is_drift(run: Run, tmp_path: Path) -> None:
    run("schema")
    changed = {**TRAINED, "age": ["old"] * ROWS}
    pq.write_table(pa.table(changed), tmp_path / "input" / "data" / "tail.parquet")
    assert main(["schema"]) == 0
    said = verdict.parse((tmp_path / "output" / "quality" / verdict.FILE_NAME).read_text())
    assert [(f.subject, f.message) for f in said.findings] == [
        ("age", "is mixed types and was Integral in the baseline")
    ]


def test_a_baseline_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["propose"]) == 1
    assert "run the `baseline` command first" in capsys.readouterr().err
