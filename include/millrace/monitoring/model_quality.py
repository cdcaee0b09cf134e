"""Metrics of predictions whose labels are known, each with a confidence interval.

The names are Model Monitor's (`recall`, `f0_5`, `weighted_precision`, `rmse`, ...), and so are the three problem types;
`log_loss` and `brier` are added where there are probabilities. A metric that is not defined on these rows (precision
when nothing was predicted positive) is left out rather than given a number.

What it does not do: Model Monitor's `*_best_constant_classifier` and curves, an AUC of more than two classes, and any
judgement (`model_quality_file`). Rows without labels are `estimated_quality`'s.

References: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html for the names.
Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review, 1950. Intervals:
`interval`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millrace.monitoring.ground_truth import Joined
from millrace.monitoring.interval import CONFIDENCE, Measure, auc, bootstrap_counts, bootstrap_sums, ratio, wilson
from millrace.profiling.errors import DatasetError
from millrace.profiling.summary import Floats

Codes = npt.NDArray[np.int64]
MAX_CLASSES = 1000


class ProblemType(StrEnum):
    """Model Monitor's names."""

    BINARY = "BinaryClassification"
    MULTICLASS = "MulticlassClassification"
    REGRESSION = "Regression"


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """Rows of a classification as codes into `classes`; of a binary one, code 1 is the positive class."""

    classes: tuple[str, ...]
    predicted: Codes
    """Of every usable prediction, shape (n,)."""
    probabilities: Floats | None
    """Of every usable prediction and class, shape (n, classes)."""
    has_label: npt.NDArray[np.bool_]
    """Shape (n,)."""
    actual: Codes
    """Of the labelled predictions, shape (has_label.sum(),)."""

    @property
    def confusion(self) -> Floats:
        """Labelled rows by actual class (first axis) and predicted class, shape (classes, classes)."""
        size = len(self.classes)
        cells = np.bincount(self.actual * size + self.predicted[self.has_label], minlength=size * size)
        return cells.reshape(size, size).astype(np.float64)


def binary(joined: Joined, positive: str, threshold: float | None) -> Classified:
    """Two classes, of which `positive` is code 1.

    Args:
        threshold: if given, a row is predicted positive from this probability on, and a column of predictions is not
            looked at.

    Raises:
        DatasetError: more than two classes are seen, or there is more than one probability.
    """
    labels = class_names(joined.labels)
    predictions = pa.chunked_array([[]], pa.string()) if joined.predictions is None else class_names(joined.predictions)
    seen = sorted(set(pc.unique(labels).to_pylist()) | set(pc.unique(predictions).to_pylist()) - {None})
    others = [name for name in seen if name != positive]
    if len(others) > 1:
        raise DatasetError(
            f"the classes are {', '.join(map(repr, seen[:5]))} and the positive one is {positive!r}; a binary "
            f"classification has two: name the positive one (--positive-label, or positive_label in a monitoring job's "
            f"Environment), or ask for {ProblemType.MULTICLASS}"
        )
    if joined.probabilities.shape[1] > 1:
        raise DatasetError("a binary classification has one probability, that of the positive class")
    share = joined.probabilities[:, 0] if joined.probabilities.shape[1] else None
    if threshold is not None and share is not None:
        predicted = (share >= threshold).astype(np.int64)
    else:
        predicted = _codes(predictions, (positive,)) + 1
    return Classified(
        classes=(others[0] if others else f"not {positive}", positive),
        predicted=predicted,
        probabilities=None if share is None else np.column_stack([1 - share, share]),
        has_label=joined.has_label,
        actual=_codes(labels, (positive,)) + 1,
    )


def multiclass(joined: Joined, probability_classes: Sequence[str]) -> Classified:
    """Any number of classes; the probabilities' columns are those of `probability_classes`.

    Raises:
        DatasetError: there are over 1,000 classes, a class has no probability, or a row's probabilities do not sum to
            1.
    """
    if joined.predictions is None:
        raise DatasetError(f"{ProblemType.MULTICLASS} takes a column of predictions, and none is named")
    labels, predictions = class_names(joined.labels), class_names(joined.predictions)
    seen = set(pc.unique(labels).to_pylist()) | set(pc.unique(predictions).to_pylist()) | set(probability_classes)
    classes = tuple(sorted(seen))
    if len(classes) > MAX_CLASSES:
        raise DatasetError(
            f"there are {len(classes)} classes (at most {MAX_CLASSES}); numbers are a {ProblemType.REGRESSION}"
        )
    return Classified(
        classes=classes,
        predicted=_codes(predictions, classes),
        probabilities=_by_class(joined.probabilities, probability_classes, classes) if probability_classes else None,
        has_label=joined.has_label,
        actual=_codes(labels, classes),
    )


def classification(rows: Classified, *, binary: bool, confidence: float = CONFIDENCE) -> dict[str, Measure]:
    """The metrics of the labelled rows; empty without any."""
    confusion = rows.confusion
    scores = BINARY_SCORES if binary else WEIGHTED_SCORES
    measured = {name: wilson(*cells(confusion), confidence) for name, cells in _proportions(binary).items()}
    for name, score in scores.items():
        measured[name] = bootstrap_counts(confusion, score, confidence=confidence)
    if rows.probabilities is not None:
        known = rows.probabilities[rows.has_label]
        if binary:
            measured["auc"] = auc(known[:, 1], rows.actual == 1, confidence)
        truth = np.eye(len(rows.classes))[rows.actual]
        losses = {"log_loss": _log_losses(known, rows.actual), "brier": _brier_terms(known, truth, binary)}
        for name, terms in losses.items():
            measured[name] = bootstrap_sums(_counted(terms), _mean, confidence=confidence)
    return {name: found for name, found in measured.items() if found}


def regression(predicted: Floats, actual: Floats, confidence: float = CONFIDENCE) -> dict[str, Measure]:
    """`mae`, `mse`, `rmse` and `r2` of the labelled rows; in the label's unit, its square, its unit, and none.

    Args:
        predicted, actual: shape (n,).
    """
    if not len(actual):
        return {}
    error, centred = predicted - actual, actual - actual.mean()
    terms = np.column_stack([np.ones_like(error), np.abs(error), error**2, centred, centred**2])
    statistics: dict[str, Callable[[Floats], Floats]] = {
        "mae": lambda s: ratio(s[:, 1], s[:, 0]),
        "mse": lambda s: ratio(s[:, 2], s[:, 0]),
        "rmse": lambda s: np.sqrt(ratio(s[:, 2], s[:, 0])),
        "r2": lambda s: 1 - ratio(s[:, 2], s[:, 4] - ratio(s[:, 3] ** 2, s[:, 0])),
    }
    measured = {name: bootstrap_sums(terms, of, confidence=confidence) for name, of in statistics.items()}
    return {name: found for name, found in measured.items() if found}


def numbers(column: pa.ChunkedArray, what: str) -> Floats:
    """A column of finite numbers; DatasetError if it is anything else."""
    try:
        found: Floats = column.cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise DatasetError(f"the {what} of a {ProblemType.REGRESSION} must be numbers: {error}") from error
    if not np.isfinite(found).all():
        raise DatasetError(
            f"the {what} hold {found[~np.isfinite(found)][0]}; write infinite values as empty cells instead"
        )
    return found


# --- scores of confusion matrices: from tables of shape (r, classes, classes), actual class first, to shape (r,)


def f_score(tables: Floats, *, beta: float) -> Floats:
    """The F score of a binary confusion matrix: recall counts `beta` times as much as precision."""
    square = beta * beta
    hits = (1 + square) * tables[:, 1, 1]
    return ratio(hits, hits + square * tables[:, 1, 0] + tables[:, 0, 1])


def weighted_score(tables: Floats, *, recall: float, precision: float) -> Floats:
    """An F score (or recall, or precision) of each class, averaged by the classes' labelled rows.

    A class that was never predicted counts with precision 0, as in scikit-learn and Spark.
    """
    hits = np.diagonal(tables, axis1=1, axis2=2)
    support, predicted = tables.sum(axis=2), tables.sum(axis=1)
    of_class = np.nan_to_num(ratio((recall + precision) * hits, recall * support + precision * predicted))
    return ratio((of_class * support).sum(axis=1), support.sum(axis=1))


BINARY_SCORES: Mapping[str, Callable[[Floats], Floats]] = {
    "f0_5": partial(f_score, beta=0.5),
    "f1": partial(f_score, beta=1.0),
    "f2": partial(f_score, beta=2.0),
}
WEIGHTED_SCORES: Mapping[str, Callable[[Floats], Floats]] = {
    "weighted_recall": partial(weighted_score, recall=1.0, precision=0.0),
    "weighted_precision": partial(weighted_score, recall=0.0, precision=1.0),
    # F-beta is (1 + b²) hits / (b² support + predicted).
    "weighted_f0_5": partial(weighted_score, recall=0.25, precision=1.0),
    "weighted_f1": partial(weighted_score, recall=1.0, precision=1.0),
    "weighted_f2": partial(weighted_score, recall=4.0, precision=1.0),
}


def _proportions(binary: bool) -> Mapping[str, Callable[[Floats], tuple[float, float]]]:
    """Metrics that are so many of so many rows of a confusion matrix."""
    every: dict[str, Callable[[Floats], tuple[float, float]]] = {"accuracy": lambda c: (np.trace(c), c.sum())}
    if not binary:
        return every
    return every | {
        "precision": lambda c: (c[1, 1], c[:, 1].sum()),
        "recall": lambda c: (c[1, 1], c[1].sum()),
        "true_positive_rate": lambda c: (c[1, 1], c[1].sum()),
        "true_negative_rate": lambda c: (c[0, 0], c[0].sum()),
        "false_positive_rate": lambda c: (c[0, 1], c[0].sum()),
        "false_negative_rate": lambda c: (c[1, 0], c[1].sum()),
    }


def _log_losses(probabilities: Floats, actual: Codes) -> Floats:
    """Of each row, in nats; a probability of 0 counts as the smallest that a double tells from 1."""
    tiny = np.finfo(np.float64).eps
    losses: Floats = -np.log(np.clip(probabilities[np.arange(len(actual)), actual], tiny, 1 - tiny))
    return losses


def _brier_terms(probabilities: Floats, truth: Floats, binary: bool) -> Floats:
    """Squared errors of each row: of the positive class alone, as usual for two classes, or over all classes."""
    squares = (probabilities - truth) ** 2
    terms: Floats = squares[:, 1] if binary else squares.sum(axis=1)
    return terms


def _counted(terms: Floats) -> Floats:
    return np.column_stack([np.ones_like(terms), terms])


def _mean(sums: Floats) -> Floats:
    return ratio(sums[:, 1], sums[:, 0])


def class_names(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Classes as text; a whole number is the same class with and without a decimal point."""
    if pa.types.is_boolean(column.type):
        column = pc.if_else(column, "True", "False")
    return pc.replace_substring_regex(column.cast(pa.string()), r"^(-?\d+)\.0+$", r"\1")


def _codes(column: pa.ChunkedArray, classes: Sequence[str]) -> Codes:
    """Where each value stands among the classes; -1 if it is none of them."""
    found: Codes = pc.fill_null(pc.index_in(column, pa.array(classes, pa.string())), -1).to_numpy().astype(np.int64)
    return found


def _by_class(probabilities: Floats, given: Sequence[str], classes: tuple[str, ...]) -> Floats:
    lacking = sorted(set(classes) - set(given))
    if lacking:
        raise DatasetError(
            f"class {lacking[0]!r} has no column of probabilities; name one for every class, or none at all"
        )
    sums = probabilities.sum(axis=1)
    if len(sums) and np.abs(sums - 1).max() > 0.01:
        raise DatasetError(f"a row's probabilities sum to {sums[np.abs(sums - 1).argmax()]:.4g}; they must sum to 1")
    order = [list(given).index(name) for name in classes]
    ordered: Floats = probabilities[:, order] / sums[:, np.newaxis]
    return ordered
