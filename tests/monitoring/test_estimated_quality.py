"""The estimate without labels is close to the truth while probabilities hold, and says nothing of what it cannot see."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from millrace.monitoring.estimated_quality import (
    AS_THEY_ARE,
    METHOD,
    calibrate,
    estimate,
    read_calibration,
    write_calibration,
)
from millrace.monitoring.model_quality import Classified, classification
from millrace.profiling.errors import FormatError
from millrace.profiling.summary import Floats


def rows(seed: int, size: int, *, centre: float = -0.5, distort: float = 1.0, flipped: float = 0.0) -> Classified:
    """A binary classifier; `distort` other than 1 makes it over- or underconfident, `flipped` labels are concept drift."""
    dice = np.random.default_rng(seed)
    logits = dice.normal(centre, 1.5, size)
    actual = dice.random(size) < 1 / (1 + np.exp(-logits))
    actual ^= dice.random(size) < flipped
    share = 1 / (1 + np.exp(-distort * logits))
    return two_classes(share, actual.astype(np.int64))


def two_classes(share: Floats, actual: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Classified:
    return Classified(
        classes=("0", "1"),
        predicted=(share > 0.5).astype(np.int64),
        probabilities=np.column_stack([1 - share, share]),
        has_label=np.ones(len(share), dtype=np.bool_),
        actual=actual,
    )


@pytest.mark.parametrize("centre", [-0.5, 1.5])
def test_calibrated_probabilities_tell_the_metrics_also_of_other_rows(centre: float) -> None:
    one = rows(1, 20_000, centre=centre)
    truth = classification(one, binary=True)
    found = estimate(one, AS_THEY_ARE, binary=True)
    assert set(found) == {"accuracy", "precision", "recall", "f1", "auc"}
    for name, measure in found.items():
        assert measure.value == pytest.approx(truth[name].value, abs=0.012), name
        assert measure.lower < measure.value < measure.upper
        assert measure.method == METHOD


def test_the_interval_holds_the_measured_value_as_often_as_it_says() -> None:
    held = 0
    for seed in range(60):
        one = rows(seed, 400)
        found, truth = estimate(one, AS_THEY_ARE, binary=True, confidence=0.9), classification(one, binary=True)
        held += found["accuracy"].lower <= truth["accuracy"].value <= found["accuracy"].upper
    assert 46 <= held <= 60


def test_an_overconfident_model_is_calibrated_on_its_baseline() -> None:
    calibration = calibrate(rows(1, 5000, distort=4))
    assert calibration.knots
    now = rows(2, 20_000, distort=4, centre=0.5)
    truth = classification(now, binary=True)["accuracy"].value
    assert estimate(now, calibration, binary=True)["accuracy"].value == pytest.approx(truth, abs=0.015)
    assert estimate(now, AS_THEY_ARE, binary=True)["accuracy"].value > truth + 0.05


def test_few_labels_calibrate_nothing() -> None:
    assert calibrate(rows(1, 100, distort=4)) == AS_THEY_ARE


def test_concept_drift_is_invisible_to_the_estimate() -> None:
    """Known by construction and said on the page; were it to fail, the estimate would be using labels."""
    still, drifted = rows(1, 5000), rows(1, 5000, flipped=0.3)
    assert estimate(still, AS_THEY_ARE, binary=True) == estimate(drifted, AS_THEY_ARE, binary=True)


def test_several_classes() -> None:
    dice = np.random.default_rng(5)
    shares = dice.dirichlet([1, 1, 1], size=20_000)
    actual = (dice.random((20_000, 1)) >= shares.cumsum(axis=1)[:, :-1]).sum(axis=1)
    one = Classified(
        classes=("a", "b", "c"),
        predicted=shares.argmax(axis=1),
        probabilities=shares,
        has_label=np.ones(20_000, dtype=np.bool_),
        actual=actual,
    )
    truth, found = classification(one, binary=False), estimate(one, AS_THEY_ARE, binary=False)
    assert set(found) == {"accuracy", "weighted_f1"}
    assert all(found[name].value == pytest.approx(truth[name].value, abs=0.012) for name in found)
    assert calibrate(one).apply(shares, one.classes).sum(axis=1) == pytest.approx(1)


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_calibration(tmp_path) is None
    calibration = calibrate(rows(1, 5000, distort=4))
    write_calibration(tmp_path, calibration)
    read = read_calibration(tmp_path)
    assert read is not None
    scores = np.column_stack([1 - np.linspace(0, 1, 50), np.linspace(0, 1, 50)])
    assert (read.apply(scores, ("0", "1")) == calibration.apply(scores, ("0", "1"))).all()
    wrong = {"classes": {"1": {"scores": [0.5, 0.1], "probabilities": [0.1, 0.2]}}}
    (tmp_path / "calibration.json").write_text(json.dumps(wrong))
    with pytest.raises(FormatError, match="rising scores"):
        read_calibration(tmp_path)
