"""Compare one column with itself in the baseline: which distance, how large, how likely by chance.

Numbers are compared by Kolmogorov-Smirnov, categories by L-infinity with a chi-squared p-value; a column that had
values and has none any more is at distance 1. Two constant columns are at distance 0 if the constant is the same.

Not compared: identifiers and free text (more than 2,000 categories in the baseline), columns that were empty in the
baseline, and columns whose type has changed; the last is a `data_type_check` violation (`checks`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from millrace.monitoring import distance
from millrace.profiling.summary import ColumnSummary, NumericSummary, TextSummary

OTHER = "\0other"
"""Stands for all categories past the 2,000th; no cell of a CSV file can hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indices:
    """Other measures of the same change. All but Jensen-Shannon are for information (`drift`)."""

    psi: float
    """Population stability index, over the baseline's deciles or over categories."""
    jensen_shannon: float
    """Distance over the same bins, from 0 to 1."""
    wasserstein: float | None
    """Of numbers, in standard deviations of the baseline; None for categories, and where the baseline was constant."""
    effect_size: float | None
    """Cohen's d of numbers, signed; Cramér's V of categories, from 0 to 1; None between two constants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    method: str
    """`KS` or `L-infinity`."""
    distance: float
    """From 0 (same distribution) to 1 (nothing in common)."""
    p_value: float
    """Of this column alone, not adjusted."""
    indices: Indices | None
    """None where no value is left."""
    change: str
    """The part of the distribution that changed most, in words: which rows to look at."""


def compare(old: ColumnSummary, new: ColumnSummary) -> Comparison | None:
    """The comparison of two columns, or None where the two cannot be compared."""
    if isinstance(old, NumericSummary) and isinstance(new, NumericSummary):
        return _numbers(old, new)
    if isinstance(old, TextSummary) and not old.other and isinstance(new, TextSummary):
        return _categories(old, new)
    if isinstance(old, NumericSummary | TextSummary) and not new.present and new.missing:
        method = "KS" if isinstance(old, NumericSummary) else "L-infinity"
        return Comparison(method=method, distance=1.0, p_value=0.0, indices=None, change="no value is left")
    return None


def _numbers(old: NumericSummary, new: NumericSummary) -> Comparison:
    samples = (old.values, old.weights, new.values, new.weights)
    gap = distance.ks_distance(*samples)
    bins = distance.decile_counts(*samples)
    place, before, after = distance.largest_gap(*samples)
    return Comparison(
        method="KS",
        distance=gap,
        p_value=distance.ks_p_value(gap, old.present, new.present),
        indices=Indices(
            psi=distance.psi(*bins),
            jensen_shannon=distance.jensen_shannon(*bins),
            wasserstein=distance.wasserstein(*samples) / old.std_dev if old.std_dev else None,
            effect_size=distance.cohens_d(old.mean, old.std_dev, old.present, new.mean, new.std_dev, new.present),
        ),
        change=f"{after:.1%} of the values are at most {place:.4g}, {before:.1%} in the baseline",
    )


def _categories(old: TextSummary, new: TextSummary) -> Comparison:
    counts = new.categories | ({OTHER: new.other} if new.other else {})
    keys = sorted(old.categories.keys() | counts.keys())
    before, after = (
        np.array([side.get(key, 0) for key in keys], dtype=np.float64) for side in (old.categories, counts)
    )
    most = int(np.abs(before / before.sum() - after / after.sum()).argmax())
    return Comparison(
        method="L-infinity",
        distance=distance.linf_distance(old.categories, counts),
        p_value=distance.chi_squared_p_value(old.categories, counts),
        indices=Indices(
            psi=distance.psi(before, after),
            jensen_shannon=distance.jensen_shannon(before, after),
            wasserstein=None,
            effect_size=distance.cramers_v(old.categories, counts),
        ),
        change=f"{_shown(keys[most])} is {after[most] / after.sum():.1%} of the values, "
        f"{before[most] / before.sum():.1%} in the baseline",
    )


def _shown(category: str) -> str:
    return "what is rare" if category == OTHER else repr(category)
