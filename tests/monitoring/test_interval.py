"""Intervals agree with other implementations, and hold the truth as often as they say."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import roc_auc_score

from millrace.monitoring import interval
from millrace.monitoring.interval import auc, bootstrap_counts, bootstrap_sums, wilson
from millrace.profiling.summary import Floats


def mean(sums: Floats) -> Floats:
    return sums[:, 1] / sums[:, 0]


def test_the_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(interval).failed == 0


@pytest.mark.parametrize(("hits", "trials"), [(0, 7), (3, 10), (10, 10), (512, 1000)])
def test_wilson_equals_scipy(hits: int, trials: int) -> None:
    found = wilson(hits, trials, 0.95)
    expected = scipy.stats.binomtest(hits, trials).proportion_ci(0.95, method="wilson")
    assert found is not None
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high))
    assert wilson(0, 0) is None


def scored(seed: int, rows: int) -> tuple[Floats, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    dice = np.random.default_rng(seed)
    positive = dice.random(rows) < 0.3
    return np.round(dice.normal(size=rows) + positive, 1), positive


def test_auc_equals_sklearn_also_with_ties() -> None:
    scores, positive = scored(1, 500)
    found = auc(scores, positive)
    assert found is not None
    assert found.value == pytest.approx(roc_auc_score(positive, scores))
    assert auc(scores, np.ones(500, dtype=np.bool_)) is None


def test_delongs_deviation_is_that_of_repeated_samples() -> None:
    areas = [found for seed in range(400) if (found := auc(*scored(seed, 200)))]
    seen = np.std([found.value for found in areas], ddof=1)
    assert np.mean([found.standard_deviation for found in areas]) == pytest.approx(seen, rel=0.1)


def test_delongs_interval_holds_the_truth_as_often_as_it_says() -> None:
    truth = auc(*scored(0, 200_000))
    assert truth is not None
    found = [auc(*scored(seed, 150), 0.9) for seed in range(1, 401)]
    held = np.mean([f.lower <= truth.value <= f.upper for f in found if f])
    assert held == pytest.approx(0.9, abs=0.045)  # three standard deviations of 400 tries


def test_perfect_order_is_not_called_certain() -> None:
    found = auc(np.arange(10.0), np.arange(10) >= 5)
    assert found is not None
    assert found.value == 1
    assert found.lower < 0.6


@pytest.mark.parametrize("rows", [100, 30_000])
def test_the_bootstrap_of_a_mean_is_as_wide_as_theory_says(rows: int) -> None:
    values = np.random.default_rng(3).exponential(size=rows)
    found = bootstrap_sums(np.column_stack([np.ones(rows), values]), mean, confidence=0.95)
    assert found is not None
    assert found.value == pytest.approx(values.mean())
    assert found.standard_deviation == pytest.approx(values.std(ddof=1) / rows**0.5, rel=0.1)
    assert found.upper - found.lower == pytest.approx(2 * 1.96 * found.standard_deviation, rel=0.15)


def test_the_bootstrap_of_counts_is_that_of_rows() -> None:
    found = bootstrap_counts(np.array([30.0, 70.0]), lambda t: t[:, 0] / t.sum(axis=1), confidence=0.95)
    assert found is not None
    assert found.standard_deviation == pytest.approx((0.3 * 0.7 / 100) ** 0.5, rel=0.1)
    assert found == bootstrap_counts(np.array([30.0, 70.0]), lambda t: t[:, 0] / t.sum(axis=1), confidence=0.95)
