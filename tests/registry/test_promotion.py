"""Promotion: floors first, then the champion; nothing passes for want of a number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.registry.promotion import judge
from millrace.verdict import VerdictError, parse

# Hundredths, held as floats whose differences are exact, so that "just within" is not a matter of rounding.
METRICS = st.integers(0, 128).map(lambda number: number / 128)
FLOOR = {"accuracy": 0.5}


def test_a_candidate_above_its_floors_passes_when_there_is_no_champion() -> None:
    verdict = judge({"accuracy": 0.75}, None, least=FLOOR, tolerance=0.0, compared="accuracy")
    assert verdict.passed
    assert verdict.findings == []
    assert verdict.metrics == {"accuracy": 0.75}
    assert verdict.summary == "passed: accuracy is 0.7500, there is no champion yet"


def test_a_candidate_below_a_floor_fails_with_both_numbers() -> None:
    verdict = judge({"accuracy": 0.25}, None, least=FLOOR, tolerance=0.0, compared="accuracy")
    assert not verdict.passed
    assert [(f.subject, f.message) for f in verdict.findings] == [
        ("accuracy", "accuracy is 0.2500; at least 0.5 is needed")
    ]
    assert verdict.findings[0].message in verdict.summary


def test_a_metric_that_the_evaluation_did_not_report_fails_its_floor() -> None:
    verdict = judge({"accuracy": 0.75}, None, least={"recall": 0.5}, tolerance=0.0, compared="accuracy")
    assert not verdict.passed
    assert "reported no recall" in verdict.summary


def test_every_floor_that_is_missed_is_named() -> None:
    verdict = judge(
        {"a": 0.0, "b": 0.0, "c": 1.0}, None, least={"a": 0.5, "b": 0.5, "c": 0.5}, tolerance=0.0, compared="a"
    )
    assert [finding.subject for finding in verdict.findings] == ["a", "b"]


@given(METRICS, METRICS)
def test_a_floor_is_the_least_value_that_passes(value: float, floor: float) -> None:
    verdict = judge({"accuracy": value}, None, least={"accuracy": floor}, tolerance=0.0, compared="accuracy")
    assert verdict.passed is (value >= floor)


@given(METRICS, METRICS, METRICS)
def test_a_candidate_may_be_worse_than_the_champion_by_the_tolerance_and_no_more(
    candidate: float, champion: float, tolerance: float
) -> None:
    verdict = judge({"accuracy": candidate}, {"accuracy": champion}, least={}, tolerance=tolerance, compared="accuracy")
    assert verdict.passed is (champion - candidate <= tolerance)
    assert f"champion's accuracy is {champion:.4f}" in verdict.summary


def test_a_better_champion_does_not_hide_a_missed_floor() -> None:
    verdict = judge({"accuracy": 0.25}, {"accuracy": 0.75}, least=FLOOR, tolerance=0.0, compared="accuracy")
    assert len(verdict.findings) == 2


def test_only_the_compared_metric_is_held_against_the_champion() -> None:
    verdict = judge({"a": 0.75, "b": 0.0}, {"a": 0.5, "b": 1.0}, least={}, tolerance=0.0, compared="a")
    assert verdict.passed


def test_a_candidate_that_lacks_the_compared_metric_does_not_replace_a_champion_that_has_it() -> None:
    verdict = judge({"other": 1.0}, {"accuracy": 0.5}, least={}, tolerance=1.0, compared="accuracy")
    assert not verdict.passed
    assert verdict.findings[0].subject == "accuracy"


def test_a_champion_without_the_compared_metric_is_no_hurdle() -> None:
    assert judge({"accuracy": 0.5}, {"other": 1.0}, least={}, tolerance=0.0, compared="accuracy").passed


def test_a_candidate_whose_metric_is_no_number_is_never_judged() -> None:
    with pytest.raises(VerdictError, match="accuracy"):
        judge({"accuracy": float("nan")}, None, least=FLOOR, tolerance=0.0, compared="accuracy")


def test_a_negative_tolerance_is_refused_with_its_value() -> None:
    with pytest.raises(ValueError, match=r"tolerance is -0\.1; it must be 0 or more"):
        judge({}, None, least={}, tolerance=-0.1, compared="accuracy")


def test_the_verdict_survives_its_document() -> None:
    verdict = judge({"accuracy": 0.25}, {"accuracy": 0.75}, least=FLOOR, tolerance=0.0, compared="accuracy")
    assert parse(verdict.to_json()) == verdict
