"""Every published formula, by the documentation's own example or by arithmetic that is written out here."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np
import pytest

from millrace.monitoring.bias import POST_TRAINING, PRE_TRAINING, Counts, flip_test, post_training, pre_training
from millrace.monitoring.interval import Flags, Measure
from millrace.profiling.summary import Floats


def matrix(tp: int, fn: int, fp: int, tn: int) -> list[list[int]]:
    """Rows of one facet by label (0, 1) and prediction (0, 1)."""
    return [[tn, fp], [fn, tp]]


def counts(a: Sequence[Sequence[int]], d: Sequence[Sequence[int]]) -> Counts:
    cells = np.array([[a, d]], dtype=np.float64)
    return Counts(cells=cells, positive=np.array([False, True]), predicted=True, grouped=True)


def labels(a: Sequence[float], d: Sequence[float], positive: int = -1) -> Counts:
    """Rows of each label, without predictions."""
    cells = np.zeros((1, 2, len(a), 2))
    cells[0, 0, :, 0], cells[0, 1, :, 0] = a, d
    good = np.zeros(len(a), dtype=np.bool_)
    good[positive] = True
    return Counts(cells=cells, positive=good, predicted=False, grouped=True)


def value(name: str, given: Counts) -> float:
    metric = {**PRE_TRAINING, **POST_TRAINING}[name]
    return float(metric.value(given.cells[np.newaxis], given.positive)[0])


# --- of labels

COLLEGE = labels([40, 40, 20], [20, 10, 70])
"""Rejected, waitlisted, accepted, in percent of each facet: the documentation's example for KS."""
LOANS = labels([20, 80], [70, 30])
"""Approval rates of 80 % and 30 %: the documentation's example for KL."""


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("CI", labels([50, 50], [25, 25]), (100 - 50) / (100 + 50)),
        ("DPL", LOANS, 0.8 - 0.3),
        ("KL", LOANS, 0.8 * log(0.8 / 0.3) + 0.2 * log(0.2 / 0.7)),  # 0.53 in the documentation
        ("KS", COLLEGE, max(abs(0.4 - 0.2), abs(0.4 - 0.1), abs(0.2 - 0.7))),  # 0.5 there
        ("LP", COLLEGE, (0.2**2 + 0.3**2 + 0.5**2) ** 0.5),
        ("TVD", COLLEGE, (0.2 + 0.3 + 0.5) / 2),
        # P is (0.45, 0.55): half of KL(Pa, P) + KL(Pd, P)
        (
            "JS",
            LOANS,
            (0.2 * log(0.2 / 0.45) + 0.8 * log(0.8 / 0.55) + 0.7 * log(0.7 / 0.45) + 0.3 * log(0.3 / 0.55)) / 2,
        ),
        # Women are 60 % of the rejected and 50 % of the accepted applicants: DD = 0.1 in the documentation.
        ("CDDL", labels([40, 50], [60, 50]), 0.6 - 0.5),
    ],
)
def test_metrics_of_labels(name: str, given: Counts, expected: float) -> None:
    assert value(name, given) == pytest.approx(expected)


def test_conditional_disparity_undoes_simpsons_paradox() -> None:
    """Of 100 rows in each department as many women are accepted as men, share for share; over both, fewer women are."""
    cells = np.zeros((2, 2, 2, 2))
    cells[0, 0, :, 0], cells[0, 1, :, 0] = [16, 64], [4, 16]  # 80 men, 20 women; 80 % accepted of both
    cells[1, 0, :, 0], cells[1, 1, :, 0] = [16, 4], [64, 16]  # 20 men, 80 women; 20 % accepted of both
    split = Counts(cells=cells, positive=np.array([False, True]), predicted=False, grouped=True)
    whole = Counts(cells=cells.sum(axis=0, keepdims=True), positive=split.positive, predicted=False, grouped=True)
    assert value("CDDL", split) == pytest.approx(0)
    assert value("CDDL", whole) == pytest.approx(68 / 100 - 32 / 100)


def test_conditional_disparity_weighs_subgroups_by_their_rows() -> None:
    cells = np.zeros((2, 2, 2, 2))
    cells[0, 0, :, 0], cells[0, 1, :, 0] = [10, 20], [30, 20]  # d: 30 of 40 rejected, 20 of 40 accepted; DD 0.25
    cells[1, 0, :, 0], cells[1, 1, :, 0] = [5, 10], [5, 0]  # d: 5 of 10 rejected, none of 10 accepted; DD 0.5
    given = Counts(cells=cells, positive=np.array([False, True]), predicted=False, grouped=True)
    assert value("CDDL", given) == pytest.approx((80 * 0.25 + 20 * 0.5) / 100)


# --- of predictions

RECALL_EXAMPLE = counts(matrix(tp=65, fn=5, fp=10, tn=20), matrix(tp=20, fn=7, fp=5, tn=18))
"""The two confusion matrices of the pages on recall and specificity difference."""


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        # 60 % of facet a and 50 % of facet d are accepted.
        ("DPPL", counts(matrix(60, 0, 0, 40), matrix(25, 0, 0, 25)), 0.6 - 0.5),
        ("DI", counts(matrix(60, 0, 0, 40), matrix(25, 0, 0, 25)), 0.5 / 0.6),
        # Predicted are 60 and 30 acceptances; observed 70 and 20 (then 50 and 40).
        ("DCAcc", counts(matrix(60, 10, 0, 30), matrix(20, 0, 10, 20)), 70 / 60 - 20 / 30),
        ("DCAcc", counts(matrix(50, 0, 10, 40), matrix(30, 10, 0, 10)), 50 / 60 - 40 / 30),
        # Predicted are 60 and 30 rejections; observed 50 and 40 (then 70 and 20).
        ("DCR", counts(matrix(40, 10, 0, 50), matrix(10, 0, 10, 30)), 40 / 30 - 50 / 60),
        ("DCR", counts(matrix(30, 0, 10, 60), matrix(20, 10, 0, 20)), 20 / 30 - 70 / 60),
        ("RD", RECALL_EXAMPLE, 65 / 70 - 20 / 27),
        ("SD", RECALL_EXAMPLE, 18 / 23 - 20 / 30),
        # 35 of 70 accepted rows of a are right, 40 of 100 of d: 0.10 there.
        ("DAR", counts(matrix(35, 0, 35, 0), matrix(40, 0, 60, 0)), 35 / 70 - 40 / 100),
        # 80 of 100 rejected rows of a are right, 40 of 50 of d: 0 there.
        ("DRR", counts(matrix(0, 20, 0, 80), matrix(0, 10, 0, 40)), 0.0),
        ("AD", counts(matrix(60, 20, 10, 10), matrix(40, 40, 10, 10)), 0.7 - 0.5),
        # 8 false negatives for 6 false positives in a, 5 for 2 in d: 1.167 there.
        ("TE", counts(matrix(80, 8, 6, 6), matrix(40, 5, 2, 3)), 5 / 2 - 8 / 6),
        # 60 of the 100 rejected rows are of d, and 50 of the 100 accepted ones.
        ("CDDPL", counts(matrix(50, 40, 0, 0), matrix(50, 60, 0, 0)), 0.6 - 0.5),
        # One false positive (benefit 2), one false negative (0), two right (1): mean 1, so (3 - 1 + 0 + 0) / (4 * 2).
        ("GE", counts(matrix(1, 1, 0, 0), matrix(0, 0, 1, 1)), 2 / 8),
    ],
)
def test_metrics_of_predictions(name: str, given: Counts, expected: float) -> None:
    assert value(name, given) == pytest.approx(expected)


def test_the_documentations_rounded_figures_are_met() -> None:
    assert round(value("RD", RECALL_EXAMPLE), 2) == 0.19
    assert round(value("SD", RECALL_EXAMPLE), 4) == 0.1159


def flags(*given: int) -> Flags:
    return np.array(given, dtype=np.bool_)


def test_the_flip_test_counts_rows_whose_neighbours_fare_otherwise() -> None:
    """Of facet d at 0, 10, 20, 30: the nearest of a were accepted, accepted, rejected, rejected."""
    rows: Floats = np.array([[0.0], [10], [20], [30], [1], [11], [21], [31]])
    disfavoured = flags(1, 1, 1, 1, 0, 0, 0, 0)
    accepted = flags(0, 0, 1, 0, 1, 1, 0, 0)
    found = flip_test(rows, disfavoured, accepted).measure
    assert found is not None
    assert found.value == pytest.approx((2 - 1) / 4)
    assert flip_test(rows, flags(*[1] * 8), accepted).error == "one of the facets has no rows"


# --- what is not defined, and how sure the rest is


def test_a_ratio_over_zero_is_not_defined_and_says_why() -> None:
    given = counts(matrix(10, 5, 0, 10), matrix(10, 5, 3, 10))
    found = {bias.name: bias for bias in post_training(given, flip_test(np.zeros((0, 1)), flags(), flags()))}
    assert found["TE"].measure is None
    assert found["TE"].error == "not defined: a facet has no false positive"
    assert found["DPPL"].measure is not None


def test_a_label_that_facet_d_never_has_makes_kl_undefined_and_nothing_else() -> None:
    found = {bias.name: bias.measure for bias in pre_training(labels([10, 20, 30], [10, 0, 30]))}
    assert found["KL"] is None
    assert {name for name, measure in found.items() if measure} == set(PRE_TRAINING) - {"KL"}


def test_without_subgroups_the_conditional_disparities_are_not_measured() -> None:
    given = Counts(cells=LOANS.cells, positive=LOANS.positive, predicted=False, grouped=False)
    assert [bias.name for bias in pre_training(given) if not bias.measure] == ["CDDL"]


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    dice = np.random.default_rng(1)
    shares = RECALL_EXAMPLE.cells / RECALL_EXAMPLE.cells.sum()
    held = dict.fromkeys(("DPPL", "RD", "DI"), 0)
    for _ in range(200):
        cells = dice.multinomial(600, shares.ravel()).reshape(shares.shape).astype(np.float64)
        given = Counts(cells=cells, positive=RECALL_EXAMPLE.positive, predicted=True, grouped=True)
        found = {b.name: b.measure for b in post_training(given, flip_test(np.zeros((0, 1)), flags(), flags()), 0.9)}
        for name in held:
            measure = found[name]
            assert isinstance(measure, Measure)
            held[name] += measure.lower <= value(name, RECALL_EXAMPLE) <= measure.upper
    assert all(165 <= count <= 195 for count in held.values()), held
