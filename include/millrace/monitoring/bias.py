"""The bias metrics that SageMaker Clarify publishes, before training (of labels) and after (of predictions), with intervals.

The disfavoured facet d are the rows with the named values of a column (or above a threshold); everyone else is the
favoured facet a. All metrics but the flip test are functions of one table of counts, which is what `tally` makes of a
stream in one pass and what the bootstrap draws anew. A metric that is not defined on these rows is None, and says why.

Where Clarify's pages and its open source (smclarify) differ, the pages hold: a label that one facet never has counts in
JS, LP, TVD and KS, and makes KL infinite, which is here not defined; a ratio over zero is not defined rather than zero
or infinite. TE is FNd/FPd - FNa/FPa as in the newer of the page's versions and in smclarify; an older one had FP/FN. For
the disparity of a CDD subgroup the page's formula names no facet; as in smclarify, it is the share of facet d among the
subgroup's rejected rows less that among its accepted ones, a share of no rows being zero.

JS, LP, TVD and KS cannot be below zero, so by chance alone they are a little above it.

What it does not do: it cannot say whether a difference is unjust, and it looks at one facet at a time.

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-measure-data-bias.html and
.../clarify-measure-post-training-bias.html. Das et al., "Fairness measures for machine learning in finance", Journal of
Financial Data Science, 2021. Black, Yeom and Fredrikson, "FlipTest", FAT* 2020. Speicher et al., "A unified approach to
quantifying algorithmic unfairness", KDD 2018 (GE).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from millrace.monitoring.interval import CONFIDENCE, Flags, Measure, bootstrap_counts, bootstrap_sums, ratio
from millrace.profiling.summary import Floats

FAVOURED, DISFAVOURED = 0, 1
NEIGHBOURS = 5
FEW_FAVOURED = 10
"""With this many favoured rows or fewer, the flip test asks one neighbour, as Clarify's does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Rows by subgroup, facet, label and prediction: all that the metrics need to know."""

    cells: Floats
    """Shape (subgroups, 2 facets, labels, 2 predictions); without predictions everything lies at prediction 0."""
    positive: Flags
    """Which labels are favourable, shape (labels,)."""
    predicted: bool
    """Whether there are predictions."""
    grouped: bool
    """Whether there is a column of subgroups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bias:
    """One metric as it was found."""

    name: str
    measure: Measure | None
    error: str = ""
    """Why there is no measure."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Counts of each drawn table and facet (a, then d), each of shape (r, 2)."""

    tp: Floats
    fn: Floats
    fp: Floats
    tn: Floats

    @property
    def rows(self) -> Floats:
        return self.tp + self.fn + self.fp + self.tn

    @property
    def observed(self) -> Floats:
        """Rows with a favourable label."""
        return self.tp + self.fn

    @property
    def accepted(self) -> Floats:
        """Rows with a favourable prediction."""
        return self.tp + self.fp


@dataclass(frozen=True, slots=True)
class Metric:
    """A published metric: from tables, shape (r, subgroups, 2, labels, 2), to values, shape (r,)."""

    description: str
    value: Callable[[Floats, Flags], Floats]
    meaning: str
    """For people: what a positive value says."""
    undefined: str = "a share of no rows"
    fair: float = 0.0
    bounded: bool = True
    """Whether it lies between -1 and 1."""
    subgroups: bool = False


def outcomes(tables: Floats, positive: Flags) -> Outcomes:
    """Sum tables over subgroups and labels."""
    facets = tables.sum(axis=1)
    good, bad = facets[:, :, positive].sum(axis=2), facets[:, :, ~positive].sum(axis=2)
    return Outcomes(tp=good[..., 1], fn=good[..., 0], fp=bad[..., 1], tn=bad[..., 0])


def favoured_less(values: Floats) -> Floats:
    """Facet a less facet d, shape (r, 2) to (r,)."""
    return values[:, FAVOURED] - values[:, DISFAVOURED]


def _of(value: Callable[[Outcomes], Floats]) -> Callable[[Floats, Flags], Floats]:
    return lambda tables, positive: value(outcomes(tables, positive))


def _imbalance(found: Outcomes) -> Floats:
    return ratio(favoured_less(found.rows), found.rows.sum(axis=1))


def _label_shares(tables: Floats) -> Floats:
    """Distribution of labels in each facet, shape (r, 2, labels)."""
    counts = tables.sum(axis=(1, 4))
    totals = counts.sum(axis=2, keepdims=True)
    return ratio(counts, np.broadcast_to(totals, counts.shape))


def _divergence(p: Floats, q: Floats) -> Floats:
    """Kullback and Leibler's, in nats, over the last axis; infinite where q lacks what p has."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log(p / q), 0.0)
    found: Floats = terms.sum(axis=-1)
    return found


def _kl(tables: Floats, _positive: Flags) -> Floats:
    shares = _label_shares(tables)
    return _divergence(shares[:, FAVOURED], shares[:, DISFAVOURED])


def _js(tables: Floats, _positive: Flags) -> Floats:
    shares = _label_shares(tables)
    middle = shares.mean(axis=1)
    return (_divergence(shares[:, FAVOURED], middle) + _divergence(shares[:, DISFAVOURED], middle)) / 2


def _norm(order: float, factor: float = 1.0) -> Callable[[Floats, Flags], Floats]:
    def value(tables: Floats, _positive: Flags) -> Floats:
        shares = _label_shares(tables)
        gap = shares[:, FAVOURED] - shares[:, DISFAVOURED]
        return np.asarray(factor * np.linalg.norm(gap, ord=order, axis=1), dtype=np.float64)

    return value


def _conditional_disparity(accepted: Floats, rejected: Floats) -> Floats:
    """The subgroups' demographic disparities, averaged by their rows.

    Args:
        accepted, rejected: rows of each subgroup and facet, shape (r, subgroups, 2).
    """
    in_accepted = np.nan_to_num(ratio(accepted[..., DISFAVOURED], accepted.sum(axis=2)))
    in_rejected = np.nan_to_num(ratio(rejected[..., DISFAVOURED], rejected.sum(axis=2)))
    rows = (accepted + rejected).sum(axis=2)
    return ratio((rows * (in_rejected - in_accepted)).sum(axis=1), rows.sum(axis=1))


def _cddl(tables: Floats, positive: Flags) -> Floats:
    labels = tables.sum(axis=4)
    return _conditional_disparity(labels[..., positive].sum(axis=3), labels[..., ~positive].sum(axis=3))


def _cddpl(tables: Floats, _positive: Flags) -> Floats:
    predictions = tables.sum(axis=3)
    return _conditional_disparity(predictions[..., 1], predictions[..., 0])


def _entropy(found: Outcomes) -> Floats:
    """The generalized entropy index with alpha 2 of the benefits y' - y + 1: 2 where FP, 0 where FN, else 1."""
    rows = found.rows.sum(axis=1)
    right, generous = (found.tp + found.tn).sum(axis=1), found.fp.sum(axis=1)
    mean = ratio(right + 2 * generous, rows)
    mean = np.where(mean > 0, mean, np.nan)
    return (ratio(right + 4 * generous, rows) / mean**2 - 1) / 2


PRE_TRAINING: Mapping[str, Metric] = {
    "CI": Metric("Class Imbalance (CI)", _of(_imbalance), "facet a has more rows"),
    "DPL": Metric(
        "Difference in Positive Proportions in Labels (DPL)",
        _of(lambda o: favoured_less(ratio(o.observed, o.rows))),
        "facet a has the larger share of favourable labels",
    ),
    "KL": Metric(
        "Kullback-Liebler Divergence (KL)",
        _kl,
        "the facets' labels are distributed differently",
        "facet d never has a label that facet a has",
        bounded=False,
    ),
    "JS": Metric("Jensen-Shannon Divergence (JS)", _js, "the facets' labels are distributed differently"),
    "LP": Metric("L-p Norm (LP)", _norm(2), "the facets' labels are distributed differently", bounded=False),
    "TVD": Metric(
        "Total Variation Distance (TVD)",
        _norm(1, 0.5),
        "share of labels that would have to change for both to be alike",
    ),
    "KS": Metric("Kolmogorov-Smirnov Distance (KS)", _norm(np.inf), "largest difference of a label's share"),
    "CDDL": Metric(
        "Conditional Demographic Disparity in Labels (CDDL)",
        _cddl,
        "within subgroups, facet d has more of the rejected labels than of the accepted ones",
        subgroups=True,
    ),
}
POST_TRAINING: Mapping[str, Metric] = {
    "DPPL": Metric(
        "Difference in Positive Proportions in Predicted Labels (DPPL)",
        _of(lambda o: favoured_less(ratio(o.accepted, o.rows))),
        "facet a is accepted more often",
    ),
    "DI": Metric(
        "Disparate Impact (DI)",
        _of(lambda o: _quotient(ratio(o.accepted, o.rows))),
        "acceptance rate of facet d over that of facet a; below 1 disfavours d",
        "no row of facet a is accepted",
        fair=1.0,
        bounded=False,
    ),
    "DCAcc": Metric(
        "Difference in Conditional Acceptance (DCAcc)",
        _of(lambda o: favoured_less(ratio(o.observed, o.accepted))),
        "facet a's observed over predicted acceptances are higher",
        "a facet has no accepted row",
        bounded=False,
    ),
    "DCR": Metric(
        "Difference in Conditional Rejection (DCR)",
        _of(lambda o: -favoured_less(ratio(o.rows - o.observed, o.rows - o.accepted))),
        "facet d's observed over predicted rejections are higher",
        "a facet has no rejected row",
        bounded=False,
    ),
    "SD": Metric(
        "Specificity Difference (SD)",
        _of(lambda o: -favoured_less(ratio(o.tn, o.tn + o.fp))),
        "facet d has fewer of its negatives accepted",
        "a facet has no unfavourable label",
    ),
    "RD": Metric(
        "Recall Difference (RD)",
        _of(lambda o: favoured_less(ratio(o.tp, o.observed))),
        "more of facet a's positives are found",
        "a facet has no favourable label",
    ),
    "DAR": Metric(
        "Difference in Acceptance Rates (DAR)",
        _of(lambda o: favoured_less(ratio(o.tp, o.accepted))),
        "facet a's acceptances are right more often",
        "a facet has no accepted row",
    ),
    "DRR": Metric(
        "Difference in Rejection Rates (DRR)",
        _of(lambda o: -favoured_less(ratio(o.tn, o.tn + o.fn))),
        "facet d's rejections are right more often",
        "a facet has no rejected row",
    ),
    "AD": Metric(
        "Accuracy Difference (AD)",
        _of(lambda o: favoured_less(ratio(o.tp + o.tn, o.rows))),
        "predictions for facet a are right more often",
    ),
    "TE": Metric(
        "Treatment Equality (TE)",
        _of(lambda o: -favoured_less(ratio(o.fn, o.fp))),
        "facet d has more false negatives for each false positive",
        "a facet has no false positive",
        bounded=False,
    ),
    "CDDPL": Metric(
        "Conditional Demographic Disparity in Predicted Labels (CDDPL)",
        _cddpl,
        "within subgroups, facet d has more of the rejections than of the acceptances",
        subgroups=True,
    ),
    "GE": Metric(
        "Generalized Entropy (GE)",
        _of(_entropy),
        "benefits are spread unequally over all rows (no facet)",
        "every prediction is a false negative",
    ),
}
FLIP_TEST = "FT"
FLIP_TEST_DESCRIPTION = "Counterfactual Fliptest (FT)"


def pre_training(counts: Counts, confidence: float = CONFIDENCE) -> list[Bias]:
    """The metrics of the labels."""
    return [_measured(name, metric, counts, confidence) for name, metric in PRE_TRAINING.items()]


def post_training(counts: Counts, flips: Bias, confidence: float = CONFIDENCE) -> list[Bias]:
    """The metrics of the predictions, and the flip test's result; empty without predictions."""
    if not counts.predicted:
        return []
    return [*(_measured(name, metric, counts, confidence) for name, metric in POST_TRAINING.items()), flips]


def flip_test(features: Floats, disfavoured: Flags, accepted: Flags, confidence: float = CONFIDENCE) -> Bias:
    """Whether facet d's rows would be judged otherwise as their nearest neighbours of facet a are: (F+ - F-) / nd.

    Neighbours are near by Euclidean distance in the columns' own units, as in Clarify: give columns of like scale. The
    interval resamples rows of facet d; the neighbours stay.

    Args:
        features: shape (rows, columns), finite.
        disfavoured, accepted: shape (rows,).
    """
    from sklearn.neighbors import KNeighborsClassifier  # here, because it takes a second to import

    favoured = ~disfavoured
    if not favoured.any() or not disfavoured.any():
        return Bias(name=FLIP_TEST, measure=None, error="one of the facets has no rows")
    neighbours = NEIGHBOURS if favoured.sum() > FEW_FAVOURED else 1
    model = KNeighborsClassifier(n_neighbors=neighbours).fit(features[favoured], accepted[favoured])
    as_if = model.predict(features[disfavoured]).astype(np.int64)
    flips = as_if - accepted[disfavoured]
    terms = np.column_stack([np.ones(len(flips)), flips])
    return Bias(name=FLIP_TEST, measure=bootstrap_sums(terms, lambda s: ratio(s[:, 1], s[:, 0]), confidence=confidence))


def _measured(name: str, metric: Metric, counts: Counts, confidence: float) -> Bias:
    if metric.subgroups and not counts.grouped:
        return Bias(name=name, measure=None, error="no column of subgroups was named")
    found = bootstrap_counts(counts.cells, lambda t: metric.value(t, counts.positive), confidence=confidence)
    return Bias(name=name, measure=found, error="" if found else f"not defined: {metric.undefined}")


def _quotient(values: Floats) -> Floats:
    return ratio(values[:, DISFAVOURED], values[:, FAVOURED])
