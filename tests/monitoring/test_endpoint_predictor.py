"""Values of any kind come back from their codes exactly; what an answer must be."""

from __future__ import annotations

import numpy as np
import pytest

from millrace.monitoring import shap_baseline
from millrace.monitoring.endpoint_predictor import Codes
from millrace.monitoring.record_cells import below, column_of, features_of, find
from millrace.profiling.errors import DatasetError
from millrace.profiling.payload import Cells


def test_values_come_back_as_they_were() -> None:
    codes = Codes(["a", "b"])
    first = codes.encode([{"a": 1, "b": "x"}, {"a": 1.0, "b": None}, {"a": "1"}, {"a": 1, "b": "x"}])
    assert [list(map(repr, row)) for row in codes.decode(first)] == [
        ["1", "'x'"], ["1.0", "None"], ["'1'", "None"], ["1", "'x'"],
    ]  # fmt: skip
    assert np.array_equal(first[0], first[3])
    later = codes.encode([{"a": 2, "b": "y"}])
    mixed = np.array([[later[0, 0], first[0, 1]]])
    assert list(codes.decode(mixed)) == [[2, "x"]]


def test_rows_of_a_baseline_are_lists_or_objects() -> None:
    features = ["size", "word"]
    wanted = [{"size": 1, "word": "x"}]
    assert shap_baseline.given([[1, "x"]], None, features) == wanted
    assert shap_baseline.given([[1, "x"]], "features", features) == wanted
    assert shap_baseline.given([{"features": [1, "x"]}], "features", features) == wanted
    assert shap_baseline.given([{"word": "x", "size": 1}], None, features) == wanted
    with pytest.raises(
        DatasetError, match="row 1 of the baseline of shap has the features size; it must have size, word"
    ):
        shap_baseline.given([[1, "x"], [1]], None, features)


def test_attributes_are_names_paths_or_positions() -> None:
    cells: Cells = [("scores.0", 0.1), ("scores.1", 0.9), ("2", "named")]
    assert [find(cells, name) for name in ("scores[1]", "$.scores[1]", "2", "0", "9", "nowhere")] == [
        0.9, 0.9, "named", 0.1, None, None,
    ]  # fmt: skip
    assert below(cells, "scores") == [(None, 0.1), (None, 0.9)]
    assert features_of(cells, "scores", ["low"]) == {"low": 0.1, "_c1": 0.9}
    assert [column_of(path) for path in ("predictions[*].a", "predictions[0].a", "predictions", "a.b")] == [
        "a", "a", "predictions", "a.b",
    ]  # fmt: skip
