"""The verdict document: what a job writes is what an operator reads, and anything else is refused by field."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.verdict import FILE_NAME, MAX_BYTES, Finding, Verdict, VerdictError, parse

TEXT = st.text(max_size=30)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**12), 10**12)
VERDICTS = st.builds(
    Verdict,
    gate=TEXT,
    passed=st.booleans(),
    summary=TEXT,
    metrics=st.dictionaries(TEXT, NUMBERS, max_size=4),
    findings=st.lists(st.builds(Finding, subject=TEXT, message=TEXT), max_size=4),
    artifacts=st.dictionaries(TEXT, TEXT, max_size=4),
)
DOCUMENT: dict[str, Any] = {
    "gate": "drift",
    "passed": False,
    "summary": "age drifted",
    "metrics": {"distance": 0.25},
    "findings": [{"subject": "age", "message": "distance 0.25; at most 0.1"}],
    "artifacts": {"report": "report.html"},
}


@given(VERDICTS)
def test_what_is_written_is_read_back_equal(verdict: Verdict) -> None:
    assert parse(verdict.to_json()) == verdict
    assert parse(verdict.to_json().encode()) == verdict


def test_write_makes_the_folder_and_names_the_file(tmp_path: Path) -> None:
    verdict = Verdict(gate="raw data", passed=True, summary="ok")
    path = verdict.write(tmp_path / "deep" / "folder")
    assert path == tmp_path / "deep" / "folder" / FILE_NAME
    assert parse(path.read_bytes()) == verdict


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "0.9", None])
def test_a_metric_that_is_no_finite_number_is_refused_by_name_where_it_is_made(value: Any) -> None:
    with pytest.raises(VerdictError, match="'accuracy' of verdict 'evaluation'"):
        Verdict(gate="evaluation", passed=True, summary="", metrics={"accuracy": value})


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "true", '"0.9"', "null", "[1]"])
def test_a_metric_that_is_no_finite_number_is_refused_by_name_where_it_is_read(text: str) -> None:
    document = json.dumps(DOCUMENT).replace("0.25}", f"{text}}}", 1)
    with pytest.raises(VerdictError, match="'distance'"):
        parse(document)


@pytest.mark.parametrize("name", sorted(DOCUMENT))
@pytest.mark.parametrize("wrong", ["missing", "null", "number"])
def test_a_field_that_is_missing_or_of_the_wrong_type_is_named(name: str, wrong: str) -> None:
    document = {key: value for key, value in DOCUMENT.items() if key != name}
    if wrong != "missing":
        document[name] = {"null": None, "number": 7}[wrong]
    with pytest.raises(VerdictError, match=f"'{name}' is"):
        parse(json.dumps(document))


@pytest.mark.parametrize("finding", [{}, {"subject": "age"}, {"message": "m"}, "age", 1, None, ["age", "m"]])
def test_a_finding_without_subject_or_message_is_refused(finding: Any) -> None:
    with pytest.raises(VerdictError, match="'subject' or 'message'"):
        parse(json.dumps(DOCUMENT | {"findings": [finding]}))


@pytest.mark.parametrize("text", ["", "{", "not json", b"\xff\xfe"])
def test_what_is_not_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(VerdictError, match="not JSON"):
        parse(text)


@pytest.mark.parametrize(("text", "kind"), [("[]", "list"), ("null", "NoneType"), ('"x"', "str"), ("3", "int")])
def test_json_that_is_no_object_is_refused_with_its_type(text: str, kind: str) -> None:
    with pytest.raises(VerdictError, match=kind):
        parse(text)


def test_a_document_over_256_kib_is_refused_before_it_is_read() -> None:
    padding = " " * (MAX_BYTES - len(json.dumps(DOCUMENT)))
    assert parse(json.dumps(DOCUMENT) + padding).gate == "drift"
    with pytest.raises(VerdictError, match=f"{MAX_BYTES + 1} bytes"):
        parse(json.dumps(DOCUMENT) + padding + " ")


def test_fields_that_a_newer_job_added_are_passed_over() -> None:
    assert parse(json.dumps(DOCUMENT | {"added later": [1, 2]})).findings[0].subject == "age"
