"""Every metric agrees with scikit-learn on the same rows, and constraints alarm only when it is certain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics

from millrace.monitoring import model_quality_file as files
from millrace.monitoring.certainty import State
from millrace.monitoring.ground_truth import Columns, Joined, join, read_labels
from millrace.monitoring.interval import Measure
from millrace.monitoring.model_quality import ProblemType, binary, classification, multiclass, numbers, regression
from millrace.monitoring.model_quality_file import Constraint
from millrace.profiling.errors import DatasetError, FormatError


def joined(predictions: Any, labels: Any, **probabilities: Any) -> Joined:
    ids = [str(i) for i in range(len(labels))]
    columns = Columns(probabilities=tuple(probabilities))
    table = {"inference_id": ids, "prediction": list(predictions), **{k: list(v) for k, v in probabilities.items()}}
    truth = pa.record_batch({"inference_id": pa.array(ids), "label": pa.array(list(labels))})
    sent = pa.record_batch({name: pa.array(values) for name, values in table.items()})
    return join([sent], read_labels([truth], columns), columns)


def world(seed: int = 1, rows: int = 3000) -> tuple[Any, Any, Any]:
    """Labels, predictions and probabilities of a middling classifier."""
    dice = np.random.default_rng(seed)
    share = 1 / (1 + np.exp(-dice.normal(-0.5, 1.5, rows)))
    actual = (dice.random(rows) < share).astype(int)
    return actual, (share > 0.5).astype(int), share


def test_binary_metrics_equal_sklearn() -> None:
    actual, predicted, share = world()
    rows = binary(joined(predicted, actual, p=share), "1", None)
    found = {name: m.value for name, m in classification(rows, binary=True).items()}
    tn, fp, fn, tp = metrics.confusion_matrix(actual, predicted).ravel()
    expected = {
        "accuracy": metrics.accuracy_score(actual, predicted),
        "precision": metrics.precision_score(actual, predicted),
        "recall": metrics.recall_score(actual, predicted),
        "true_positive_rate": tp / (tp + fn),
        "true_negative_rate": tn / (tn + fp),
        "false_positive_rate": fp / (tn + fp),
        "false_negative_rate": fn / (tp + fn),
        "f0_5": metrics.fbeta_score(actual, predicted, beta=0.5),
        "f1": metrics.f1_score(actual, predicted),
        "f2": metrics.fbeta_score(actual, predicted, beta=2),
        "auc": metrics.roc_auc_score(actual, share),
        "log_loss": metrics.log_loss(actual, share),
        "brier": metrics.brier_score_loss(actual, share),
    }
    assert found == pytest.approx(expected)
    assert rows.confusion.tolist() == metrics.confusion_matrix(actual, predicted).tolist()


def test_multiclass_metrics_equal_sklearn() -> None:
    dice = np.random.default_rng(2)
    names = np.array(["ant", "bee", "cat", "dog"])
    shares = dice.dirichlet([1, 1, 1, 0.2], size=2000)
    actual = np.array([dice.choice(4, p=p) for p in shares])
    predicted = shares[:, :3].argmax(axis=1)  # dog is never predicted
    columns = {f"p_{name}": shares[:, i] for i, name in enumerate(names)}
    rows = multiclass(joined(names[predicted], names[actual], **columns), list(names))
    found = {name: m.value for name, m in classification(rows, binary=False).items()}
    weighted = {"average": "weighted", "zero_division": 0}
    expected = {
        "accuracy": metrics.accuracy_score(actual, predicted),
        "weighted_recall": metrics.recall_score(actual, predicted, **weighted),
        "weighted_precision": metrics.precision_score(actual, predicted, **weighted),
        "weighted_f0_5": metrics.fbeta_score(actual, predicted, beta=0.5, **weighted),
        "weighted_f1": metrics.f1_score(actual, predicted, **weighted),
        "weighted_f2": metrics.fbeta_score(actual, predicted, beta=2, **weighted),
        "log_loss": metrics.log_loss(actual, shares),
        "brier": metrics.brier_score_loss(actual, shares, scale_by_half=False),
    }
    assert found == pytest.approx(expected)
    assert rows.confusion.tolist() == metrics.confusion_matrix(actual, predicted).tolist()


def test_regression_metrics_equal_sklearn_and_hold_their_values() -> None:
    dice = np.random.default_rng(3)
    actual = dice.normal(1e6, 10, 5000)
    predicted = actual + dice.normal(1, 5, 5000)
    found = regression(predicted, actual)
    expected = {
        "mae": metrics.mean_absolute_error(actual, predicted),
        "mse": metrics.mean_squared_error(actual, predicted),
        "rmse": metrics.root_mean_squared_error(actual, predicted),
        "r2": metrics.r2_score(actual, predicted),
    }
    assert {name: m.value for name, m in found.items()} == pytest.approx(expected)
    assert all(m.lower < m.value < m.upper for m in found.values())
    assert "r2" not in regression(predicted[:2], np.ones(2)), "labels that do not vary have no variance to explain"


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    truth = classification(binary(joined(*world(0, 200_000)[1::-1]), "1", None), binary=True)
    held = {"accuracy": 0, "recall": 0, "f1": 0}
    for seed in range(1, 201):
        actual, predicted, _ = world(seed, 300)
        found = classification(binary(joined(predicted, actual), "1", None), binary=True, confidence=0.9)
        for name in held:
            held[name] += found[name].lower <= truth[name].value <= found[name].upper
    assert all(160 <= count <= 196 for count in held.values()), held


def test_a_probability_may_make_the_prediction() -> None:
    actual, _, share = world()
    rows = binary(joined(np.zeros(len(actual), int), actual, p=share), "1", 0.8)
    assert (rows.predicted == (share >= 0.8)).all()


def test_what_is_not_defined_is_left_out() -> None:
    found = classification(binary(joined([0, 0, 0], [0, 0, 1]), "1", None), binary=True)
    assert "precision" not in found
    assert found["recall"].value == 0


def test_classes_are_the_same_with_and_without_a_decimal_point() -> None:
    rows = binary(joined(["1", "0.0", "1.0"], ["1.0", "0", "0"]), "1", None)
    assert rows.confusion.tolist() == [[1, 1], [0, 1]]
    assert rows.classes == ("0", "1")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: binary(joined(["a", "b"], ["c", "a"]), "a", None), "'a', 'b', 'c' and the positive one is 'a'"),
        (lambda: multiclass(joined(["a", "b"], ["c", "a"], p=[0.5, 0.5]), ["a"]), "'b' has no column"),
        (lambda: multiclass(joined(["a"], ["b"], p=[0.5], q=[0.2]), ["a", "b"]), "sum to 0.7"),
        (lambda: numbers(pa.chunked_array([["x"]]), "labels"), "must be numbers"),
        (lambda: numbers(pa.chunked_array([[np.inf]]), "labels"), "hold inf"),
    ],
)
def test_rows_of_another_problem_are_refused(make: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        make()


# --- constraints


def measure(value: float, lower: float, upper: float) -> Measure:
    return Measure(value=value, lower=lower, upper=upper, standard_deviation=0.1, method="Wilson")


@pytest.mark.parametrize(
    ("operator", "threshold", "state"),
    [
        ("LessThanThreshold", 0.4, State.MET),
        ("LessThanThreshold", 0.65, State.WATCH),
        ("LessThanThreshold", 0.8, State.VIOLATED),
        ("GreaterThanThreshold", 0.8, State.MET),
        ("GreaterThanThreshold", 0.55, State.WATCH),
        ("GreaterThanThreshold", 0.4, State.VIOLATED),
    ],
)
def test_only_a_whole_interval_on_the_wrong_side_is_a_violation(operator: str, threshold: float, state: State) -> None:
    wanted = Constraint(metric="f1", threshold=threshold, operator=operator)
    assert files.judge([wanted], {"f1": measure(0.6, 0.5, 0.7)})[0].state is state


def test_a_constraint_on_something_not_measured_says_so() -> None:
    wanted = Constraint(metric="auc", threshold=0.5, operator="LessThanThreshold")
    (judged,) = files.judge([wanted], {})
    assert judged.state is State.NOT_MEASURED
    assert "not measured" in judged.words


def test_constraints_are_read_as_model_monitor_writes_them(tmp_path: Path) -> None:
    document = {
        "version": 0.0,
        "binary_classification_constraints": {
            "recall": {"threshold": 0.571, "comparison_operator": "LessThanThreshold", "additional_properties": None},
            "recall_best_constant_classifier": {"threshold": 1.0, "comparison_operator": "LessThanThreshold"},
        },
    }
    (tmp_path / "constraints.json").write_text(json.dumps(document))
    found = files.read_constraints(tmp_path, ProblemType.BINARY)
    assert found[0] == Constraint(metric="recall", threshold=0.571, operator="LessThanThreshold")
    files.write_constraints(tmp_path, ProblemType.BINARY, found)
    assert files.read_constraints(tmp_path, ProblemType.BINARY) == found
    with pytest.raises(FormatError, match="has no regression_constraints"):
        files.read_constraints(tmp_path, ProblemType.REGRESSION)


def test_a_window_like_the_baseline_is_not_accused() -> None:
    """Each window is held against nine constraints; of 20 such windows at most one may alarm."""
    alarms = 0
    for seed in range(20):
        actual, predicted, share = world(2 * seed, 1000)
        base = classification(binary(joined(predicted, actual, p=share), "1", None), binary=True)
        actual, predicted, share = world(2 * seed + 1, 500)
        now = classification(binary(joined(predicted, actual, p=share), "1", None), binary=True)
        alarms += any(j.state is State.VIOLATED for j in files.judge(files.suggest(base), now))
    assert alarms <= 1
