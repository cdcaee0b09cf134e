"""Nothing is lost silently on the way from predictions to their labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from millrace.monitoring.ground_truth import Columns, Coverage, Joined, join, read_labels
from millrace.profiling.errors import DatasetError

TIMED = Columns(probabilities=("p",), predicted_at="at", labelled_at="came")


def batch(**columns: Any) -> pa.RecordBatch:
    return pa.record_batch({name: pa.array(values) for name, values in columns.items()})


def joined(predictions: list[pa.RecordBatch], truth: list[pa.RecordBatch], columns: Columns | None = None) -> Joined:
    columns = columns or Columns()
    return join(predictions, read_labels(truth, columns), columns)


def test_labels_find_their_predictions_whatever_the_order_and_type_of_the_ids() -> None:
    found = joined(
        [batch(inference_id=[3, 1], prediction=["c", "a"]), batch(inference_id=[2, 4], prediction=["b", "d"])],
        [batch(inference_id=["1", "4"], label=["A", "D"]), batch(inference_id=["3"], label=["C"])],
    )
    assert found.has_label.tolist() == [True, True, False, True]
    assert found.predictions is not None
    assert found.predictions.to_pylist() == ["c", "a", "b", "d"]
    assert found.labels.to_pylist() == ["C", "A", "D"]
    assert found.coverage.share == 0.75


def test_what_is_left_out_is_counted() -> None:
    found = joined(
        [
            batch(inference_id=["a", "b", None, "c", "a"], prediction=["1", "1", "1", None, "0"]),
            batch(inference_id=["b", "d", "d"], prediction=["0", "1", "0"]),
        ],
        [batch(inference_id=["a", "b", "a", None, "e", "b2"], label=["0", "1", "1", "1", None, "0"])],
    )
    seen = found.coverage
    assert found.labels.to_pylist() == ["1", "1"], "the last label of a wins"
    assert found.predictions is not None
    assert found.predictions.to_pylist() == ["1", "1", "1", "0"], "the first prediction of a labelled id wins"
    expected = {
        "predictions": 4, "labelled": 2, "unusable": 2, "repeated_predictions": 2, "labels": 3, "unusable_labels": 2,
        "repeated_labels": 1, "unknown_labels": 1,
    }  # fmt: skip
    assert {name: getattr(seen, name) for name in expected} == expected


def test_the_label_that_came_last_wins_by_its_time_and_the_delay_is_reported() -> None:
    found = joined(
        [batch(inference_id=["a", "b", "c"], prediction=["1"] * 3, p=[0.5] * 3, at=["2026-01-01T00:00:00Z"] * 3)],
        [
            batch(
                inference_id=["a", "a", "b", "b"],
                label=["late", "early", "timed", "untimed"],
                came=["2026-01-03T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-01T12:00:00+00:00", None],
            )
        ],
        TIMED,
    )
    assert found.labels.to_pylist() == ["late", "timed"]
    delays = found.coverage.delay_seconds
    assert delays is not None
    assert (delays["p100"], delays["p50"]) == (2 * 86_400, 1.25 * 86_400)


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ([1.0, 11.0], 10.0),
        ([pa.scalar(1_000_000, pa.timestamp("us")), pa.scalar(11_000_000, pa.timestamp("us"))], 10.0),
    ],
)
def test_times_may_be_seconds_or_timestamps(times: list[Any], seconds: float) -> None:
    found = joined(
        [batch(inference_id=["a"], prediction=["1"], p=[0.5], at=times[:1])],
        [batch(inference_id=["a"], label=["1"], came=times[1:])],
        TIMED,
    )
    assert found.coverage.delay_seconds is not None
    assert found.coverage.delay_seconds["p50"] == seconds


def test_no_label_at_all_is_an_answer() -> None:
    found = joined([batch(inference_id=["a", "b"], prediction=["1", "0"])], [])
    assert (found.coverage.share, found.has_label.tolist(), len(found.labels)) == (0.0, [False, False], 0)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"inference_id": ["a"], "prediction": ["1"], "p": [1.5], "at": [0.0]}, "'p' holds 1.5"),
        ({"inference_id": ["a"], "prediction": ["1"], "p": ["x"], "at": [0.0]}, "must be numbers from 0 to 1"),
        ({"inference_id": ["a"], "prediction": ["1"], "p": [0.5], "at": ["noon"]}, "'at' holds a time"),
        ({"id": ["a"], "prediction": ["1"], "p": [0.5], "at": [0.0]}, "no column 'inference_id'"),
    ],
)
def test_unusable_predictions_are_refused(columns: dict[str, Any], message: str) -> None:
    truth = batch(inference_id=["a"], label=["1"], came=[1.0])
    with pytest.raises(DatasetError, match=message):
        joined([batch(**columns)], [truth], TIMED)


def test_a_large_join_in_many_batches_equals_a_dictionary() -> None:
    dice = np.random.default_rng(1)
    ids = dice.permutation(20_000).astype(str)
    truth = dict(
        zip(dice.permutation(20_000)[:12_000].astype(str), dice.integers(0, 9, 12_000).astype(str), strict=True)
    )
    parts = [batch(inference_id=part, prediction=part) for part in np.array_split(ids, 13)]
    found = joined(parts, [batch(inference_id=list(truth), label=list(truth.values()))])
    assert found.predictions is not None
    kept = np.array(found.predictions.to_pylist())[found.has_label]
    assert [truth[one] for one in kept] == found.labels.to_pylist()
    assert isinstance(found.coverage, Coverage)
    assert found.coverage.labelled == 12_000
