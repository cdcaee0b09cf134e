"""A measured value with its confidence interval: proportions, areas under the curve, functions of sums.

Pure functions. Each interval says by which method it was made. What is not here: which metric takes which method
(`model_quality`, `bias`), and whether a value is good enough (`certainty`).

References: Wilson, "Probable inference, the law of succession, and statistical inference", JASA, 1927. DeLong, DeLong
and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating characteristic curves",
Biometrics, 1988, computed as Sun and Xu, "Fast implementation of DeLong's algorithm", IEEE Signal Processing Letters,
2014. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics, 1979 (percentile intervals).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtri

from millrace.profiling.summary import Floats

Flags = npt.NDArray[np.bool_]
CONFIDENCE = 0.99
"""The level of an interval when nothing else is asked for: a window that did not change leaves it once in a hundred."""
RESAMPLES = 1000
GROUPS = 2000
"""A bootstrap resamples at most this many groups of rows, so that its cost does not grow with the rows."""
SEED = 20_160_704


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A value, and the interval that holds the true one at the stated confidence."""

    value: float
    lower: float
    upper: float
    standard_deviation: float
    """Of the value over repeated samples; NaN where the method gives none."""
    method: str


def wilson(successes: float, trials: float, confidence: float = CONFIDENCE) -> Measure | None:
    """A proportion with Wilson's score interval; None without a trial.

    >>> found = wilson(8, 10, 0.95)
    >>> round(found.lower, 3), round(found.upper, 3)
    (0.49, 0.943)
    """
    if not trials:
        return None
    share, z = successes / trials, _z(confidence)
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return Measure(
        value=share,
        lower=max(0.0, min(centre - half, share)),
        upper=min(1.0, max(centre + half, share)),
        standard_deviation=math.sqrt(share * (1 - share) / trials),
        method="Wilson",
    )


def auc(scores: Floats, positive: Flags, confidence: float = CONFIDENCE) -> Measure | None:
    """The area under the ROC curve with DeLong's interval on the logit scale; None without both kinds of rows.

    Where every positive row outranks every negative one (or none does), DeLong's variance is zero and would claim
    certainty: then the interval is Wilson's for as many trials as the rarer kind has rows, which errs on the wide side.

    Args:
        scores: higher means more likely positive, shape (n,).
        positive: which rows are, shape (n,).
    """
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        return None
    outranked, outranking = placements(scores, positive)
    area = float(outranked.mean())
    rare = wilson(area * min(m, n), min(m, n), confidence)
    if rare is None or min(m, n) < 2 or not 0 < area < 1:
        return rare
    deviation = math.sqrt(float(outranked.var(ddof=1)) / m + float(outranking.var(ddof=1)) / n)
    half = _z(confidence) * deviation / (area * (1 - area))
    return Measure(
        value=area,
        lower=float(expit(logit(area) - half)),
        upper=float(expit(logit(area) + half)),
        standard_deviation=deviation,
        method="DeLong",
    )


def placements(scores: Floats, positive: Flags) -> tuple[Floats, Floats]:
    """DeLong's structural components: the share of the other kind that each positive and each negative row is right about.

    The mean of either is the area under the curve; there is at least one row of each kind.
    """
    from scipy.stats import rankdata  # here, because it takes longer to import than the other commands to start

    high, low = scores[positive], scores[~positive]
    ranks = rankdata(np.concatenate([high, low]))
    return (ranks[: len(high)] - rankdata(high)) / len(low), 1 - (ranks[len(high) :] - rankdata(low)) / len(high)


def bootstrap_sums(
    terms: Floats,
    statistic: Callable[[Floats], Floats],
    *,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> Measure | None:
    """A function of sums over rows, with its percentile bootstrap interval; None where it is not defined.

    Above 2,000 rows, rows are dealt at random into 2,000 groups, and groups are resampled: their sums vary as the rows
    do, and the cost stays the same.

    Args:
        terms: what is summed, a row each, shape (n, k).
        statistic: from sums, shape (r, k), to values, shape (r,); NaN where it is not defined.
    """
    if not len(terms):
        return None
    return _measure(statistic(terms.sum(axis=0, keepdims=True)), statistic(resampled_sums(terms, seed)), confidence)


def resampled_sums(terms: Floats, seed: int = SEED) -> Floats:
    """Sums over rows that are drawn anew, 1,000 times, shape (1000, k); see `bootstrap_sums`.

    Args:
        terms: shape (n, k), of at least one row.
    """
    dice = np.random.default_rng(seed)
    sums = terms
    if len(terms) > GROUPS:
        dealt = dice.permutation(len(terms)) % GROUPS
        sums = np.column_stack([np.bincount(dealt, column, GROUPS) for column in terms.T])
    counts = dice.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=RESAMPLES)
    drawn: Floats = counts.astype(np.float64) @ sums
    return drawn


def bootstrap_counts(
    counts: Floats,
    statistic: Callable[[Floats], Floats],
    *,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> Measure | None:
    """A function of a table's counts, such as F1 of a confusion matrix, with its percentile bootstrap interval.

    Drawing the table anew from its own shares is the same as drawing its rows with replacement.

    Args:
        counts: rows in each cell, any shape.
        statistic: from tables, shape (r, *counts.shape), to values, shape (r,); NaN where it is not defined.
    """
    total = int(counts.sum())
    if not total:
        return None
    drawn = np.random.default_rng(seed).multinomial(total, counts.ravel() / total, size=RESAMPLES)
    tables = drawn.reshape(RESAMPLES, *counts.shape).astype(np.float64)
    return _measure(statistic(counts[np.newaxis]), statistic(tables), confidence)


def spread(value: float, resampled: Floats, confidence: float, method: str) -> Measure:
    """A value with the percentiles of what it might have been."""
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(resampled, [tail, 1 - tail])
    return Measure(
        value=value,
        lower=min(float(lower), value),
        upper=max(float(upper), value),
        standard_deviation=float(resampled.std(ddof=1)) if len(resampled) > 1 else math.nan,
        method=method,
    )


def ratio(above: Floats, below: Floats) -> Floats:
    """One array over another, NaN where the lower one is zero."""
    quotient: Floats = np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below != 0)
    return quotient


def _measure(value: Floats, resampled: Floats, confidence: float) -> Measure | None:
    if not len(value) or not np.isfinite(value[0]):
        return None
    defined = resampled[np.isfinite(resampled)]
    return spread(float(value[0]), defined if len(defined) else value, confidence, "bootstrap")


def _z(confidence: float) -> float:
    return float(ndtri((1 + confidence) / 2))
