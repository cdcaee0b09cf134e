"""Distances and p-values agree with scipy, and the module's examples hold."""

import doctest

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from millrace.monitoring import distance
from millrace.profiling.profile import NumericProfile
from millrace.profiling.quantiles import SKETCH_K
from millrace.profiling.summary import NumericSummary


def test_the_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(distance).failed == 0


@given(
    st.lists(st.integers(-20, 20), min_size=3, max_size=80),
    st.lists(st.integers(-20, 20), min_size=3, max_size=80),
)
@settings(deadline=None)
def test_ks_equals_scipy_also_with_ties(a: list[int], b: list[int]) -> None:
    left, right = np.sort(np.array(a, float)), np.sort(np.array(b, float))
    ours = distance.ks_distance(left, np.ones_like(left), right, np.ones_like(right))
    assert ours == pytest.approx(scipy.stats.ks_2samp(a, b, method="asymp").statistic, abs=1e-12)


def test_the_ks_p_value_is_close_to_the_exact_one() -> None:
    rng = np.random.default_rng(1)
    for shift in (0.0, 0.1, 0.2, 0.4):
        a, b = np.sort(rng.normal(size=300)), np.sort(rng.normal(shift, size=200))
        exact = scipy.stats.ks_2samp(a, b, method="exact")
        gap = distance.ks_distance(a, np.ones(300), b, np.ones(200))
        assert distance.ks_p_value(gap, 300, 200) == pytest.approx(exact.pvalue, abs=0.01, rel=0.25)


def test_chi_squared_equals_scipy_where_no_category_is_rare() -> None:
    a, b = {"x": 40, "y": 60, "z": 30}, {"x": 30, "y": 35, "z": 60}
    expected = scipy.stats.chi2_contingency([list(a.values()), list(b.values())], correction=False).pvalue
    assert distance.chi_squared_p_value(a, b) == pytest.approx(expected)


@given(
    st.lists(st.integers(-20, 20), min_size=1, max_size=80),
    st.lists(st.integers(-20, 20), min_size=1, max_size=80),
)
@settings(deadline=None)
def test_wasserstein_equals_scipy_also_with_ties(a: list[int], b: list[int]) -> None:
    left, right = np.sort(np.array(a, float)), np.sort(np.array(b, float))
    ours = distance.wasserstein(left, np.ones_like(left), right, np.ones_like(right))
    assert ours == pytest.approx(scipy.stats.wasserstein_distance(a, b), abs=1e-9)


def test_wasserstein_heeds_the_rows_behind_each_value() -> None:
    values, weights = np.array([0.0, 1.0, 5.0]), np.array([3.0, 1.0, 2.0])
    other, others = np.array([2.0, 4.0]), np.array([1.0, 5.0])
    expected = scipy.stats.wasserstein_distance(values, other, weights, others)
    assert distance.wasserstein(values, weights, other, others) == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=30))
@settings(deadline=None)
def test_jensen_shannon_equals_scipy_also_with_empty_bins(pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array(side, float) for side in zip(*pairs, strict=True))
    assume(a.sum() > 0 and b.sum() > 0)
    expected = scipy.spatial.distance.jensenshannon(a, b, base=2)
    assert distance.jensen_shannon(a, b) == pytest.approx(expected, abs=1e-6)


def test_rare_categories_do_not_alarm() -> None:
    assert distance.chi_squared_p_value({str(i): 1 for i in range(100)}, {str(-i): 1 for i in range(1, 101)}) == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
@settings(deadline=None)
def test_benjamini_hochberg_equals_scipy(p_values: list[float]) -> None:
    expected = scipy.stats.false_discovery_control(p_values)
    assert distance.benjamini_hochberg(p_values) == pytest.approx(list(expected))


def test_sketched_distances_are_within_0_005_of_exact_at_50_000_rows() -> None:
    pa = pytest.importorskip("pyarrow")
    for seed, shift in enumerate((0.0, 0.02, 0.3, 1.0)):
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=50_000), rng.normal(shift, 1.1, size=50_000)
        sketched = []
        for values in (a, b):
            profile = NumericProfile("x")
            profile.add(pa.array(values))
            summary = profile.summary()
            assert isinstance(summary, NumericSummary)
            assert len(summary.values) < 4 * SKETCH_K
            sketched += [summary.values, summary.weights]
        exact = scipy.stats.ks_2samp(a, b, method="asymp").statistic
        assert distance.ks_distance(*sketched) == pytest.approx(exact, abs=0.005)
        ones = np.ones(50_000)
        exact_psi = distance.psi(*distance.decile_counts(np.sort(a), ones, np.sort(b), ones))
        assert distance.psi(*distance.decile_counts(*sketched)) == pytest.approx(exact_psi, abs=0.005, rel=0.02)
        assert distance.wasserstein(*sketched) == pytest.approx(scipy.stats.wasserstein_distance(a, b), abs=0.005)
