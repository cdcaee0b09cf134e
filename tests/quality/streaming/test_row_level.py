"""What Great Expectations on pandas has no answer to, or what is left to it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from millrace.quality.errors import SuiteError
from millrace.quality.expectation import Expectation
from millrace.quality.streaming.answers import Answer
from millrace.quality.streaming.batch_view import BatchView
from millrace.quality.streaming.suite_pass import InMemory, SuitePass


def answer(kind: str, values: Any, **kwargs: Any) -> Answer | InMemory:
    found = SuitePass([Expectation(type=kind, kwargs={"column": "x", **kwargs})])
    found.add(BatchView(pa.record_batch([values if isinstance(values, pa.Array) else pa.array(values)], ["x"]), 0))
    (one,) = found.answers()
    return one


def unexpected(kind: str, values: Any, **kwargs: Any) -> list[Any]:
    one = answer(kind, values, **kwargs)
    assert isinstance(one, Answer)
    found: list[Any] = one.result["partial_unexpected_list"]
    return found


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        ("match_like_pattern", {"like_pattern": "a_c%"}, ["ac", "A-c", ""]),
        ("not_match_like_pattern", {"like_pattern": "a_c%"}, ["abc", "abcd"]),
        ("match_like_pattern_list", {"like_pattern_list": ["%c", "%d"]}, [""]),
        ("match_like_pattern_list", {"like_pattern_list": ["a%", "%d"], "match_on": "all"}, ["abc", "ac", "A-c", ""]),
        ("not_match_like_pattern_list", {"like_pattern_list": ["A%", "%d"]}, ["abcd", "A-c"]),
    ],
)
def test_like_patterns_are_those_of_sql(kind: str, arguments: dict[str, Any], expected: list[str]) -> None:
    values = ["abc", "abcd", "ac", None, "A-c", ""]
    assert unexpected(f"expect_column_values_to_{kind}", values, **arguments) == expected


@pytest.mark.parametrize(
    ("kind", "values", "arguments"),
    [
        ("expect_column_values_to_be_between", [date(2024, 1, 1)], {"min_value": 1}),
        ("expect_column_values_to_be_between", [Decimal("1.5")], {"min_value": 1}),
        ("expect_column_values_to_be_between", [1.5], {"min_value": "2024-01-01"}),
        ("expect_column_values_to_be_between", [1.5], {"min_value": 1, "row_condition": "x > 1"}),
        ("expect_column_values_to_match_regex", [15], {"regex": "1"}),
        ("expect_column_values_to_match_regex", ["15"], {"regex": "[[:digit:]]"}),
        ("expect_column_values_to_be_unique", [date(2024, 1, 1)], {}),
        ("expect_column_mean_to_be_between", [True, False], {"min_value": 0}),
        ("expect_column_median_to_be_between", [1, 2], {"min_value": 0}),
        ("expect_column_value_z_scores_to_be_less_than", [1, 2], {"threshold": 1, "double_sided": True}),
    ],
)
def test_what_would_be_a_guess_is_left_to_great_expectations(kind: str, values: Any, arguments: dict[str, Any]) -> None:
    assert isinstance(answer(kind, values, **arguments), InMemory)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("expect_column_values_to_be_between", {"min_valu": 1, "max_value": 2}, "has no argument 'min_valu'"),
        ("expect_column_values_to_be_between", {}, "min_value and max_value are both missing"),
        (
            "expect_column_values_to_be_between",
            {"min_value": 2, "max_value": 1},
            "min_value 2 is greater than max_value 1",
        ),
        ("expect_column_values_to_be_between", {"min_value": True}, "min_value is True; it must be a number"),
        (
            "expect_column_values_to_be_between",
            {"min_value": 1, "mostly": 1.5},
            "mostly is 1.5; it must be a number from 0",
        ),
        (
            "expect_column_values_to_be_between",
            {"min_value": 1, "strict_min": "yes"},
            "strict_min is 'yes'; it must be",
        ),
        ("expect_column_values_to_be_between", {"column": "", "min_value": 1}, "column is ''; it must be a string"),
        ("expect_column_values_to_be_in_set", {"value_set": []}, "must be a list of at least 1"),
        ("expect_column_values_to_be_in_set", {"value_set": "abc"}, "must be a list"),
        ("expect_column_values_to_match_regex", {"regex": "("}, "is not a regular expression"),
        ("expect_column_values_to_match_regex_list", {"regex_list": ["a"], "match_on": "some"}, "one of any, all"),
        ("expect_column_unique_value_count_to_be_between", {"min_value": 1.5}, "must be a whole number"),
    ],
)
def test_an_argument_that_cannot_be_right_ends_the_gate(kind: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        answer(kind, [1], **arguments)


def test_a_column_that_turns_out_to_hold_something_else_is_left_to_great_expectations() -> None:
    found = SuitePass([Expectation(type="expect_column_values_to_match_regex", kwargs={"column": "x", "regex": "1"})])
    found.add(BatchView(pa.record_batch([pa.nulls(2)], ["x"]), 0))
    found.add(BatchView(pa.record_batch([pa.array(["1", "2"])], ["x"]), 2))
    (as_text,) = found.answers()
    found.add(BatchView(pa.record_batch([pa.array([1, 2])], ["x"]), 4))
    (as_numbers,) = found.answers()
    assert isinstance(as_text, Answer)
    assert as_text.result["partial_unexpected_index_list"] == [3]
    assert as_numbers == InMemory("the column 'x' holds int64")


def test_integers_stay_exact_where_floats_would_not() -> None:
    large = 2**53 + 1
    assert unexpected("expect_column_values_to_be_in_set", [large, large + 1, None], value_set=[large]) == [large + 1]
    total = answer("expect_column_sum_to_be_between", [2**62, 2**62, 2**62], min_value=0)
    assert isinstance(total, Answer)
    assert total.result["observed_value"] == 3 * 2**62


def test_what_arrow_does_not_evaluate_is_left_to_great_expectations() -> None:
    one = answer("expect_column_values_to_be_in_set", pa.array([2**63], pa.uint64()), value_set=[1])
    assert isinstance(one, InMemory)
    assert "Arrow does not evaluate it" in one.reason
