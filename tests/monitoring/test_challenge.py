"""Champion against challenger: the areas are sklearn's, the interval is a bootstrap's, and chance alone wins seldom."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from millrace.job_exit import InputError
from millrace.monitoring.challenge import compare


def scored(seed: int, rows: int, skill: float, other: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and two models' scores, which share most of their noise and differ in skill."""
    dice = np.random.default_rng(seed)
    labels = dice.random(rows) < 0.3
    shared = dice.normal(size=rows)
    champion, challenger = (s * labels + shared + 0.3 * dice.normal(size=rows) for s in (skill, other))
    return labels, champion, challenger


def test_areas_agree_with_sklearn_also_with_ties() -> None:
    labels, champion, challenger = scored(1, 3000, 1.0, 1.2)
    champion, challenger = champion.round(1), challenger.round(0)
    found = compare(labels, champion, challenger)
    assert found.champion == pytest.approx(roc_auc_score(labels, champion), abs=1e-12)
    assert found.challenger == pytest.approx(roc_auc_score(labels, challenger), abs=1e-12)
    assert (found.rows, found.positives) == (3000, int(labels.sum()))


def test_interval_agrees_with_the_bootstrap() -> None:
    labels, champion, challenger = scored(2, 800, 1.0, 1.1)
    found = compare(labels, champion, challenger)
    dice = np.random.default_rng(0)
    draws = []
    for _ in range(2000):
        rows = dice.integers(0, 800, 800)
        draws.append(roc_auc_score(labels[rows], challenger[rows]) - roc_auc_score(labels[rows], champion[rows]))
    low, high = np.quantile(draws, [0.025, 0.975])
    width = high - low
    assert found.low == pytest.approx(low, abs=0.15 * width)
    assert found.high == pytest.approx(high, abs=0.15 * width)


def test_an_equal_challenger_is_seldom_surely_better_and_a_better_one_is() -> None:
    equal = [compare(*scored(seed, 600, 1.0, 1.0)).low > 0 for seed in range(400)]
    assert np.mean(equal) < 0.06  # 2.5 % by the interval's own promise
    assert all(compare(*scored(seed, 2000, 0.6, 1.2)).low > 0 for seed in range(20))


def test_what_cannot_be_compared() -> None:
    labels, champion, challenger = scored(3, 50, 1.0, 1.0)
    with pytest.raises(InputError, match="50 labels, and 49 and 50 scores"):
        compare(labels, champion[1:], challenger)
    with pytest.raises(InputError, match="not a finite number"):
        compare(labels, champion, np.full(50, np.nan))
    with pytest.raises(InputError, match="0 of 50 rows are positive"):
        compare(np.zeros(50, dtype=bool), champion, challenger)
