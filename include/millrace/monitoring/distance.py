"""How far apart two distributions are, and how likely such a distance is by chance. Pure functions.

Distances are computed from weighted values, that is from samples or from sketches of them; p-values take the number of
rows behind them. What is not here: any decision (`drift`), and any test on more than one column at a time.

References: Kolmogorov (1933) and Smirnov (1939), with the small-sample term of Stephens, "Use of the
Kolmogorov-Smirnov, Cramer-von Mises and related statistics without extensive tables", JRSS B, 1970. Pearson (1900) for
chi-squared. Siddiqi, "Credit risk scorecards", 2006, for PSI. Lin, "Divergence measures based on the Shannon entropy", IEEE
Transactions on Information Theory, 1991, and Endres and Schindelin, "A new metric for probability distributions", same
journal, 2003, for Jensen-Shannon. Vallender, "Calculation of the Wasserstein distance between probability distributions
on the line", Theory of Probability and its Applications, 1974. Cohen, "Statistical power analysis for the behavioral
sciences", 1988, and Cramér, "Mathematical methods of statistics", 1946, for the effect sizes. Benjamini and Hochberg,
"Controlling the false discovery rate", JRSS B, 1995.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import chdtrc, kolmogorov, rel_entr

from millrace.profiling.summary import Floats

LEAST_EXPECTED = 5.0
"""Categories that expect fewer rows than this are pooled before chi-squared (Cochran's rule)."""
PSI_BINS = 10


def ks_distance(a: Floats, a_weights: Floats, b: Floats, b_weights: Floats) -> float:
    """The Kolmogorov-Smirnov distance: the largest gap between two cumulative distributions, from 0 to 1.

    Args:
        a, b: sorted values, shapes (n,) and (m,), any unit.
        a_weights, b_weights: rows behind each value, same shapes, positive.

    >>> ones = np.ones(4)
    >>> ks_distance(np.array([1.0, 2, 3, 4]), ones, np.array([1.0, 2, 3, 4]), ones)
    0.0
    >>> ks_distance(np.array([1.0, 2, 3, 4]), ones, np.array([3.0, 4, 5, 6]), ones)
    0.5
    """
    points = np.union1d(a, b)
    return float(np.abs(_cumulative(points, a, a_weights) - _cumulative(points, b, b_weights)).max())


def ks_p_value(distance: float, rows_a: int, rows_b: int) -> float:
    """The chance that two samples of one distribution are at least `distance` apart.

    Asymptotic with Stephens' term; with ties (whole numbers, pixels) the true chance is smaller, so the test errs on
    the side of silence.

    >>> round(ks_p_value(0.1, 1100, 350), 3)
    0.009
    >>> ks_p_value(0.0, 1100, 350)
    1.0
    """
    root = math.sqrt(rows_a * rows_b / (rows_a + rows_b))
    return float(kolmogorov((root + 0.12 + 0.11 / root) * distance))


def linf_distance(a: Mapping[str, int], b: Mapping[str, int]) -> float:
    """The L-infinity distance of two category counts: the largest difference of shares, from 0 to 1.

    >>> linf_distance({"red": 50, "blue": 50}, {"red": 5, "blue": 5})
    0.0
    >>> linf_distance({"red": 50, "blue": 50}, {"red": 9, "green": 1})
    0.5
    """
    total_a, total_b = sum(a.values()), sum(b.values())
    return max(abs(a.get(key, 0) / total_a - b.get(key, 0) / total_b) for key in a.keys() | b.keys())


def chi_squared_p_value(a: Mapping[str, int], b: Mapping[str, int]) -> float:
    """The chance of category counts at least as different, by Pearson's test of homogeneity; rare categories pooled.

    >>> chi_squared_p_value({"red": 50, "blue": 50}, {"red": 50, "blue": 50})
    1.0
    >>> chi_squared_p_value({"red": 90, "blue": 10}, {"red": 10, "blue": 90}) < 1e-9
    True
    """
    table = _table(a, b)
    share = table.sum(axis=1, keepdims=True) / table.sum()
    rare = (share * table.sum(axis=0)).min(axis=0) < LEAST_EXPECTED
    if rare.any():
        table = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
    if table.shape[1] < 2:
        return 1.0
    return float(chdtrc(table.shape[1] - 1, _chi_squared(table)))


def cohens_d(mean_a: float, std_a: float, rows_a: int, mean_b: float, std_b: float, rows_b: int) -> float | None:
    """How far the mean of `b` stands from that of `a`, in their pooled standard deviation; None of two constants.

    >>> cohens_d(1.0, 2.0, 10, 2.0, 2.0, 30)
    0.5
    """
    variance = (rows_a * std_a**2 + rows_b * std_b**2) / (rows_a + rows_b)
    return (mean_b - mean_a) / math.sqrt(variance) if variance else None


def cramers_v(a: Mapping[str, int], b: Mapping[str, int]) -> float:
    """How strongly category and side belong together, from 0 (same shares) to 1 (no category in common).

    >>> cramers_v({"red": 50, "blue": 50}, {"red": 5, "blue": 5})
    0.0
    >>> cramers_v({"red": 10}, {"blue": 30})
    1.0
    """
    table = _table(a, b)
    return math.sqrt(_chi_squared(table) / float(table.sum()))


def largest_gap(a: Floats, a_weights: Floats, b: Floats, b_weights: Floats) -> tuple[float, float, float]:
    """Where two cumulative distributions are furthest apart, and the share of `a` and of `b` at or below that value."""
    points = np.union1d(a, b)
    before, after = _cumulative(points, a, a_weights), _cumulative(points, b, b_weights)
    place = int(np.abs(before - after).argmax())
    return float(points[place]), float(before[place]), float(after[place])


def psi(expected: Floats, actual: Floats) -> float:
    """The population stability index of two histograms over the same bins; a large shift is above 0.25.

    Half a row is added to every bin, so that an empty bin gives a large number and not infinity.

    Args:
        expected, actual: rows in each bin, shape (bins,).

    >>> psi(np.array([10.0, 20, 30]), np.array([10.0, 20, 30]))
    0.0
    >>> round(psi(np.array([500.0, 500]), np.array([900.0, 100])), 2)
    0.88
    """
    p, q = ((rows + 0.5) / (rows + 0.5).sum() for rows in (expected, actual))
    return float(((q - p) * np.log(q / p)).sum())


def jensen_shannon(a: Floats, b: Floats) -> float:
    """The Jensen-Shannon distance of two histograms over the same bins: the root of the divergence in bits, from 0 to 1.

    Args:
        a, b: rows in each bin, shape (bins,); neither is all zero.

    >>> jensen_shannon(np.array([1.0, 1]), np.array([5.0, 5]))
    0.0
    >>> jensen_shannon(np.array([1.0, 0]), np.array([0.0, 1]))
    1.0
    """
    p, q = a / a.sum(), b / b.sum()
    middle = (p + q) / 2
    # rel_entr is 0 where a bin is empty on its own side, which is the limit.
    divergence = (rel_entr(p, middle) + rel_entr(q, middle)).sum() / 2 / math.log(2)
    return math.sqrt(max(0.0, float(divergence)))


def wasserstein(a: Floats, a_weights: Floats, b: Floats, b_weights: Floats) -> float:
    """The Wasserstein-1 distance: how far the rows of one sample have to be moved, on average, to become the other.

    Args:
        a, b: sorted values, shapes (n,) and (m,); the result is in their unit.
        a_weights, b_weights: rows behind each value, same shapes, positive.

    >>> wasserstein(np.array([1.0, 2]), np.ones(2), np.array([4.0, 5]), np.ones(2))
    3.0
    """
    points = np.union1d(a, b)
    gaps = np.abs(_cumulative(points, a, a_weights) - _cumulative(points, b, b_weights))
    return float((gaps[:-1] * np.diff(points)).sum())


def decile_counts(a: Floats, a_weights: Floats, b: Floats, b_weights: Floats) -> tuple[Floats, Floats]:
    """Rows of `a` and of `b` in bins cut at the deciles of `a`, shape (bins,) each; equal deciles make one bin."""
    ranks = np.cumsum(a_weights) / a_weights.sum()
    cuts = np.unique(a[np.searchsorted(ranks, np.arange(1, PSI_BINS) / PSI_BINS)])
    return _binned(cuts, a, a_weights), _binned(cuts, b, b_weights)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted so that "below alpha" bounds the expected share of false discoveries by alpha.

    >>> [round(p, 3) for p in benjamini_hochberg([0.01, 0.04, 0.03, 0.5])]
    [0.04, 0.053, 0.053, 0.5]
    """
    if not p_values:
        return []
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[::-1]
    scaled = p[order] * len(p) / np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled))
    return [float(value) for value in adjusted]


def _table(a: Mapping[str, int], b: Mapping[str, int]) -> Floats:
    """Both counts over the categories that either has, shape (2, categories)."""
    keys = sorted(key for key in a.keys() | b.keys() if a.get(key, 0) or b.get(key, 0))
    return np.array([[counts.get(key, 0) for key in keys] for counts in (a, b)], dtype=np.float64)


def _chi_squared(table: Floats) -> float:
    """Pearson's statistic of a table without empty columns."""
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    return float(((table - expected) ** 2 / expected).sum())


def _binned(cuts: Floats, values: Floats, weights: Floats) -> Floats:
    return np.bincount(np.searchsorted(cuts, values), weights, minlength=len(cuts) + 1).astype(np.float64)


def _cumulative(points: Floats, values: Floats, weights: Floats) -> Floats:
    sums = np.concatenate([[0.0], np.cumsum(weights)])
    shares: Floats = sums[np.searchsorted(values, points, side="right")] / sums[-1]
    return shares
