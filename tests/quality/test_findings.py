"""Findings say what was seen, with values, in few words; severity decides what they do to the verdict."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from millrace.quality.expectation import SEVERITIES, Expectation, Suite
from millrace.quality.findings import MAX_FINDINGS, verdict_of
from millrace.quality.results import Evaluated, document_of
from millrace.quality.streaming.answers import Answer
from millrace.quality.streaming.batch_view import BatchView
from millrace.quality.streaming.suite_pass import SuitePass
from millrace.verdict import MAX_BYTES, Verdict

ROWS = pa.record_batch({"age": [31, None, 140], "sex": ["f", "m", "<b>" * 1000]})


def judged(*expectations: Expectation) -> Verdict:
    found = SuitePass(expectations)
    found.add(BatchView(ROWS, 0))
    results = [
        Evaluated(expectation=expectation, answer=answer)
        for expectation, answer in zip(expectations, found.answers(), strict=True)
        if isinstance(answer, Answer)
    ]
    document = document_of(Suite(name="s", expectations=expectations), results, gate="g")
    return verdict_of(document, gate="g", rows=3, artifacts={})


@pytest.mark.parametrize(
    ("kind", "kwargs", "subject", "message"),
    [
        ("column_values_to_be_between", {"column": "age", "max_value": 9}, "age",
         "(max_value=9): 2 of 3 unexpected (100.00 %), for example 31, 140"),
        ("column_mean_to_be_between", {"column": "age", "max_value": 9}, "age", "(max_value=9): observed 85.5"),
        ("column_distinct_values_to_be_in_set", {"column": "age", "value_set": [31]}, "age",
         "(value_set=[31]): 1 unexpected, such as 140"),
        ("column_to_exist", {"column": "zz"}, "zz", "(): not satisfied"),
        ("column_values_to_be_null", {"column": "zz"}, "zz",
         '(): could not be evaluated: Error: The column "zz" in BatchData does not exist.'),
        ("table_columns_to_match_set", {"column_set": ["age", "zz"]}, "age, zz",
         '(column_set=["age", "zz"]): unexpected: sex; missing: zz'),
        ("table_columns_to_match_ordered_list", {"column_list": ["sex", "age"]}, "sex, age",
         '(column_list=["sex", "age"]): 2 positions differ, such as 0: age instead of sex, 1: sex instead of age'),
        ("table_row_count_to_equal", {"value": 4}, "table", "(value=4): observed 3"),
    ],
)  # fmt: skip
def test_what_was_expected_and_what_was_seen(kind: str, kwargs: dict[str, Any], subject: str, message: str) -> None:
    (finding,) = judged(Expectation(type=f"expect_{kind}", kwargs=kwargs)).findings
    assert (finding.subject, finding.message) == (subject, f"expect_{kind}{message}")


def test_severity_decides() -> None:
    critical, warning, info = (
        Expectation(type="expect_column_values_to_not_be_null", kwargs={"column": "age"}, severity=severity)
        for severity in SEVERITIES
    )
    warned = judged(warning, info)
    assert warned.passed
    assert [finding.message.split(":")[0] for finding in warned.findings] == ["warning", "info"]
    failed = judged(warning, critical)
    assert not failed.passed
    assert [finding.message.split(":")[0] for finding in failed.findings][1] == "warning", "what blocks comes first"


def test_the_verdict_stays_small() -> None:
    one = Expectation(
        type="expect_column_values_to_be_in_set", kwargs={"column": "sex", "value_set": ["y" * 1000] * 99}
    )
    said = judged(*[one] * 150)
    assert len(said.findings) == MAX_FINDINGS + 1
    assert said.findings[-1].message == "50 more findings; see validation.json"
    assert len(said.to_json()) < MAX_BYTES
