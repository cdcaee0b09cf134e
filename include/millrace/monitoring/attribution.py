"""Attribution drift: do the same features matter to the model as when it was trained?

Features are ranked by their mean absolute Shapley value. The window's ranking is held against the baseline's by
Clarify's normalised discounted cumulative gain (NDCG): the baseline's values, read in the window's order and discounted
by place, over the same in the baseline's own order. 1 is the same ranking; Clarify alarms below 0.90. Here the whole
confidence interval must lie below.

Attributions stream by; of their rows only sums in 2,000 groups are kept, from which the bootstrap draws.

What it does not do: it sees no change of sign or of a single row, and a model that attends to the same features for
other reasons looks the same. Where the values come from is the caller's business (`shapley`, Clarify, or the model's
own).

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-model-monitor-feature-attribution-drift.html. Järvelin
and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM Transactions on Information Systems, 2002.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from millrace.monitoring.certainty import State, state_of
from millrace.monitoring.interval import CONFIDENCE, GROUPS, SEED, Measure, resampled_sums, spread
from millrace.profiling.errors import DatasetError
from millrace.profiling.summary import Floats

LEAST_NDCG = 0.90
"""Clarify's threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums of absolute attributions."""

    features: tuple[str, ...]
    sums: Floats
    """In groups of rows, with the rows' number as a last column, shape (groups, features + 1)."""

    @property
    def rows(self) -> int:
        return int(self.sums[:, -1].sum())

    @property
    def means(self) -> Floats:
        """Mean absolute attribution, in the score's unit, shape (features,)."""
        total = self.sums.sum(axis=0)
        means: Floats = total[:-1] / total[-1]
        return means

    def resampled(self, seed: int) -> Floats:
        """Means of rows drawn anew, shape (1000, features)."""
        drawn = resampled_sums(self.sums, seed)
        return drawn[:, :-1] / drawn[:, -1:]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureAttribution:
    name: str
    baseline: float
    """Mean absolute attribution, in the score's unit."""
    now: Measure
    baseline_rank: int
    """From 1."""
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionDrift:
    ndcg: Measure
    state: State
    features: Sequence[FeatureAttribution]
    """In the baseline's order."""
    rows: int


def totals(batches: Iterable[pa.RecordBatch]) -> Totals:
    """Sum attributions, one column a feature, one row a prediction.

    Raises:
        DatasetError: a column holds no numbers, a value is missing or infinite, or there is no row.
    """
    features: tuple[str, ...] = ()
    sums = np.zeros((0, 0))
    dice = np.random.default_rng(SEED)
    rows = 0
    deal = dice.permutation(GROUPS)
    for batch in batches:
        if not features:
            features = tuple(batch.schema.names)
            sums = np.zeros((GROUPS, len(features) + 1))
        values = np.column_stack([_absolute(batch, name) for name in features])
        group = deal[(rows + np.arange(len(values))) % GROUPS]
        np.add.at(sums, group, np.column_stack([values, np.ones(len(values))]))
        rows += len(values)
    if not rows:
        raise DatasetError("there are no attributions; nothing can be ranked")
    return Totals(features=features, sums=sums[sums[:, -1] > 0])


def ndcg(baseline: Floats, window: Floats) -> Floats:
    """The baseline's values in the window's order over those in their own, from 0 to 1; ties keep their order.

    Args:
        baseline, window: mean absolute attributions, shape (r, features).

    Returns:
        Shape (r,); 1 where the baseline attributes nothing to anything.
    """
    discount = 1 / np.log2(np.arange(baseline.shape[1]) + 2)
    order = np.argsort(-window, axis=1, kind="stable")
    gain = (np.take_along_axis(baseline, order, axis=1) * discount).sum(axis=1)
    ideal = (-np.sort(-baseline, axis=1) * discount).sum(axis=1)
    share: Floats = np.divide(gain, ideal, out=np.ones(len(gain)), where=ideal > 0)
    return share


def compare(
    baseline: Mapping[str, float] | Totals,
    window: Totals,
    *,
    confidence: float = CONFIDENCE,
    least_ndcg: float = LEAST_NDCG,
) -> AttributionDrift:
    """Hold a window's attributions against the baseline's.

    Args:
        baseline: sums, or the mean absolute attribution of each feature, whose own noise is then unknown.

    Raises:
        DatasetError: the two have other features.
    """
    known = (
        dict(zip(baseline.features, baseline.means, strict=True)) if isinstance(baseline, Totals) else dict(baseline)
    )
    if set(known) != set(window.features):
        odd = ", ".join(sorted(set(known) ^ set(window.features))[:5])
        raise DatasetError(f"the baseline and the window differ in features ({odd}); give both of one model")
    # Columns in the baseline's order of importance, so that features alike in the window keep it.
    names = sorted(known, key=lambda name: (-known[name], name))
    of_window = [window.features.index(name) for name in names]
    before, now = np.array([known[name] for name in names]), window.means[of_window]
    drawn = window.resampled(SEED)[:, of_window]
    drawn_before = np.broadcast_to(before, drawn.shape)
    if isinstance(baseline, Totals):
        drawn_before = baseline.resampled(SEED + 1)[:, [baseline.features.index(name) for name in names]]
    value = float(ndcg(before[np.newaxis], now[np.newaxis])[0])
    found = spread(value, ndcg(drawn_before, drawn), confidence, "bootstrap")
    places = np.argsort(np.argsort(-now, kind="stable"), kind="stable") + 1
    return AttributionDrift(
        ndcg=found,
        state=state_of(found, least_ndcg, 1.0),
        features=[
            FeatureAttribution(
                name=name,
                baseline=float(before[i]),
                now=spread(float(now[i]), drawn[:, i], confidence, "bootstrap"),
                baseline_rank=i + 1,
                rank=int(places[i]),
            )
            for i, name in enumerate(names)
        ],
        rows=window.rows,
    )


def _absolute(batch: pa.RecordBatch, name: str) -> Floats:
    column = batch[name]
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise DatasetError(f"column {name!r} holds {column.type}; attributions are numbers: leave the column out")
    values: Floats = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    if not np.isfinite(values).all():
        raise DatasetError(f"column {name!r} holds a missing or infinite attribution; a row has one for every feature")
    return np.abs(values)
