"""An estimate of a classifier's quality without labels: confidence-based performance estimation (CBPE).

If a row is positive with probability p, a positive prediction is right with probability p; sums of these are the
expected confusion matrix, and its metrics are the estimate. That holds only while the probabilities are calibrated and
labels still depend on the features as they did: a change of that dependence (concept drift) is invisible here by
construction. So what this module returns is an estimate, is called one everywhere, and never stands among measured
figures.

Probabilities are calibrated by isotonic regression on the labelled baseline, one class at a time, where that lowers the
Brier score of rows it was not fitted on. Each interval holds the noise of labels that could have come; it holds no
doubt about the calibration.

References: NannyML, "How performance estimation works: confidence-based performance estimation",
https://nannyml.readthedocs.io/en/stable/how_it_works/performance_estimation.html. Zadrozny and Elkan, "Transforming
classifier scores into accurate multiclass probability estimates", KDD 2002.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from millrace.monitoring.interval import CONFIDENCE, SEED, Measure, ratio, spread
from millrace.monitoring.model_quality import BINARY_SCORES, WEIGHTED_SCORES, Classified, Codes
from millrace.profiling.errors import FormatError
from millrace.profiling.summary import Floats
from millrace.profiling.untrusted_json import read_document

Score = Callable[[Floats], Floats]
"""From confusion matrices, shape (r, classes, classes), to values, shape (r,)."""
FILE_NAME = "calibration.json"
METHOD = "estimate (CBPE)"
DRAWS = 200
MAX_KNOTS = 200
BLOCK = 50_000
LEAST_CALIBRATION_ROWS = 500
"""With fewer labelled rows the isotonic fit is noisier than what it mends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """From a score to a probability, of each class: straight lines between knots.

    Args:
        knots: of each class, (scores, probabilities), both rising and from 0 to 1; empty means that scores are taken
            as they are.
    """

    knots: dict[str, tuple[Floats, Floats]]

    def apply(self, probabilities: Floats, classes: Sequence[str]) -> Floats:
        """Calibrated probabilities, rows summing to 1, shape (n, classes)."""
        if not self.knots:
            return probabilities
        moved = np.column_stack([self._one(probabilities[:, i], name) for i, name in enumerate(classes)])
        if len(classes) == 2:
            return np.column_stack([1 - moved[:, 1], moved[:, 1]])
        total = moved.sum(axis=1, keepdims=True)
        return np.where(total > 0, moved / np.where(total > 0, total, 1), probabilities)

    def _one(self, scores: Floats, name: str) -> Floats:
        if name not in self.knots:
            return scores
        return np.interp(scores, *self.knots[name])


AS_THEY_ARE = Calibration(knots={})


def calibrate(rows: Classified) -> Calibration:
    """The calibration of labelled rows, or none where it would not help."""
    if rows.probabilities is None or len(rows.actual) < LEAST_CALIBRATION_ROWS:
        return AS_THEY_ARE
    known = rows.probabilities[rows.has_label]
    truth = np.eye(len(rows.classes))[rows.actual]
    halves = np.random.default_rng(SEED).permutation(len(known)) % 2
    before = after = 0.0
    for half in (0, 1):
        fitted = _fit(known[halves == half], truth[halves == half], rows.classes)
        other = halves != half
        before += float(((known[other] - truth[other]) ** 2).sum())
        after += float(((fitted.apply(known[other], rows.classes) - truth[other]) ** 2).sum())
    return _fit(known, truth, rows.classes) if after < before else AS_THEY_ARE


def estimate(
    rows: Classified, calibration: Calibration, *, binary: bool, confidence: float = CONFIDENCE
) -> dict[str, Measure]:
    """What accuracy, F1 and (of two classes) precision, recall and AUC would be expected to be if labels came for all rows.

    Empty where there are no probabilities.
    """
    if rows.probabilities is None or not len(rows.predicted):
        return {}
    shares = calibration.apply(rows.probabilities, rows.classes)
    size = len(rows.classes)
    expected = np.zeros((size, size))
    np.add.at(expected.T, rows.predicted, shares)
    drawn, areas = _draw(rows.predicted, shares, rows.probabilities[:, -1] if binary else None)
    found = {}
    for name, score in {**OVERALL[binary], **(PARTS if binary else {})}.items():
        centre, might = score(expected[np.newaxis]), score(drawn)
        if np.isfinite(centre[0]):
            found[name] = spread(float(centre[0]), might[np.isfinite(might)], confidence, METHOD)
    if binary:
        area = _expected_auc(rows.probabilities[:, 1], shares[:, 1])
        if np.isfinite(area):
            found["auc"] = spread(area, areas[np.isfinite(areas)], confidence, METHOD)
    return found


def write_calibration(folder: Path, calibration: Calibration) -> Path:
    """Write `calibration.json` into `folder` and return its path."""
    classes = {name: {"scores": x.tolist(), "probabilities": y.tolist()} for name, (x, y) in calibration.knots.items()}
    path = folder / FILE_NAME
    path.write_text(json.dumps({"method": "isotonic" if classes else "none", "classes": classes}), encoding="utf-8")
    return path


def read_calibration(folder: Path) -> Calibration | None:
    """The calibration in `folder`, or None if there is none.

    Raises:
        FormatError: it is not of the form that `write_calibration` writes, or scores do not rise.
    """
    if not (folder / FILE_NAME).is_file():
        return None
    knots = {}
    document = read_document(folder / FILE_NAME)["classes"]
    for name in document.object():
        x, y = (
            np.array([v.number(0, 1) for v in document[name][side].items()]) for side in ("scores", "probabilities")
        )
        if len(x) != len(y) or not len(x) or (np.diff(x) < 0).any():
            raise FormatError(f"{document[name].where} must have as many scores as probabilities, and rising scores")
        knots[name] = (x, y)
    return Calibration(knots=knots)


def _fit(scores: Floats, truth: Floats, classes: Sequence[str]) -> Calibration:
    from sklearn.isotonic import IsotonicRegression  # here, because it takes a second to import

    knots = {}
    for index, name in enumerate(classes):
        model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores[:, index], truth[:, index])
        x, y = model.X_thresholds_, model.y_thresholds_
        if len(x) > MAX_KNOTS:
            kept = np.unique(np.linspace(0, len(x) - 1, MAX_KNOTS).astype(int))
            x, y = x[kept], y[kept]
        knots[name] = (np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
    return Calibration(knots=knots)


def _accuracy(tables: Floats) -> Floats:
    return ratio(np.trace(tables, axis1=1, axis2=2), tables.sum(axis=(1, 2)))


OVERALL: Mapping[bool, Mapping[str, Score]] = {
    True: {"accuracy": _accuracy, "f1": BINARY_SCORES["f1"]},
    False: {"accuracy": _accuracy, "weighted_f1": WEIGHTED_SCORES["weighted_f1"]},
}
PARTS: Mapping[str, Score] = {
    "precision": lambda t: ratio(t[:, 1, 1], t[:, :, 1].sum(axis=1)),
    "recall": lambda t: ratio(t[:, 1, 1], t[:, 1].sum(axis=1)),
}


def _draw(predicted: Codes, shares: Floats, scores: Floats | None) -> tuple[Floats, Floats]:
    """Confusion matrices, and areas under the curve, of labels that could have come.

    Returns:
        Shapes (draws, classes, classes) and (draws,); the areas are NaN without scores.
    """
    from scipy.stats import rankdata  # here, because it takes longer to import than the other commands to start

    dice = np.random.default_rng(SEED)
    size, rows = shares.shape[1], len(shares)
    tables = np.zeros((DRAWS, size, size))
    rank_sums = np.zeros(DRAWS)
    ranks = rankdata(scores) if scores is not None else None
    for start in range(0, rows, BLOCK):
        part = slice(start, start + BLOCK)
        edges = shares[part, :-1].cumsum(axis=1)
        for draw in range(DRAWS):
            actual = (dice.random((len(edges), 1)) >= edges).sum(axis=1)
            tables[draw] += np.bincount(actual * size + predicted[part], minlength=size * size).reshape(size, size)
            if ranks is not None:
                rank_sums[draw] += ranks[part][actual == 1].sum()
    if ranks is None:
        return tables, np.full(DRAWS, np.nan)
    positive, negative = tables[:, 1].sum(axis=1), tables[:, 0].sum(axis=1)
    # Mann and Whitney: the positives' ranks, less what they would be among themselves, count the pairs in the right order.
    return tables, ratio(rank_sums - positive * (positive + 1) / 2, positive * negative)


def _expected_auc(scores: Floats, shares: Floats) -> float:
    """The expected share of (positive, negative) pairs that the scores put in order, ties by half."""
    levels, where = np.unique(scores, return_inverse=True)
    positive = np.bincount(where, shares, len(levels))
    negative = np.bincount(where, 1 - shares, len(levels))
    pairs = (positive * (negative.cumsum() - negative / 2)).sum()
    return float(ratio(np.array([pairs]), np.array([positive.sum() * negative.sum()]))[0])
