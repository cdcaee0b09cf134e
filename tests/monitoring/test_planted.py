"""Planted changes are of the stated size, and leave everything else as it was."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats

from millrace.monitoring.planted import CORRELATION, KINDS, MISSING, REGIONS, Change, Stream, UnknownChange

ROWS = 200_000
CHANGED: dict[str, set[str]] = {
    "none": set(),
    "mean": {"score", "repaid"},
    "variance": {"score", "repaid"},
    "shape": {"score", "income", "repaid"},
    "missing": {"income"},
    "category": {"region"},
    "correlation": {"income", "repaid"},
    "label": {"repaid"},
}
"""The columns whose rows differ from those of a world that stays."""
SIZES = {"mean": 0.3, "variance": 1.5, "shape": 0.8, "missing": 0.1, "category": 0.2, "correlation": 0.5, "label": 0.25}


def changed(kind: str, rows: int = ROWS) -> pa.Table:
    return Stream(1, Change(kind=kind, size=SIZES.get(kind, 0.0))).day(0, rows)


def numbers(table: pa.Table, name: str) -> Any:
    return table[name].drop_null().to_numpy()


def test_a_day_is_the_same_whenever_it_is_made() -> None:
    stream = Stream(7)
    assert stream.day(3, 100).equals(Stream(7).day(3, 100))
    assert not stream.day(3, 100).equals(stream.day(4, 100))
    assert not stream.day(3, 100).equals(Stream(8).day(3, 100))


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_begins_on_its_day_and_touches_its_columns_alone(kind: str) -> None:
    still, moving = Stream(1), Stream(1, Change(kind=kind, size=SIZES.get(kind, 0.0), day=2))
    assert moving.day(1, 500).equals(still.day(1, 500))
    before, after = still.day(2, 500), moving.day(2, 500)
    assert {name for name in before.column_names if not before[name].equals(after[name])} == CHANGED[kind]


def test_sizes_are_what_they_say() -> None:
    still = Stream(1).day(0, ROWS)
    assert numbers(changed("mean"), "score").mean() == pytest.approx(0.3, abs=0.01)
    assert numbers(changed("variance"), "score").std() == pytest.approx(1.5, abs=0.01)
    assert changed("missing")["income"].null_count / ROWS == pytest.approx(MISSING + 0.1, abs=0.01)
    assert still["income"].null_count / ROWS == pytest.approx(MISSING, abs=0.01)
    shares = {name: count / ROWS for name, count in Counter(changed("category")["region"].to_pylist()).items()}
    assert shares["north"] == pytest.approx(REGIONS["north"] - 0.2, abs=0.01)
    assert shares["islands"] == pytest.approx(REGIONS["islands"] + 0.2, abs=0.01)
    for table, expected in ((still, CORRELATION), (changed("correlation"), CORRELATION - 0.5)):
        has_income = table.filter(table["income"].is_valid())
        found = np.corrcoef(has_income["score"], np.log(has_income["income"]))[0, 1]
        assert found == pytest.approx(expected, abs=0.01)


def test_a_change_of_shape_keeps_mean_and_variance() -> None:
    score = numbers(changed("shape"), "score")
    assert score.mean() == pytest.approx(0, abs=0.01)
    assert score.std() == pytest.approx(1, abs=0.01)
    assert scipy.stats.kurtosis(score) < -0.5  # two modes


def test_a_change_of_labels_is_seen_in_nothing_but_the_labels() -> None:
    still, flipped = Stream(1).day(0, ROWS), changed("label")
    share = np.mean(still["repaid"].to_numpy() != flipped["repaid"].to_numpy())
    assert share == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("kind", "size", "says"),
    [
        ("sudden", 1.0, "must be one of none, mean"),
        ("category", 0.5, "between 0 and 0.4"),
        ("none", 1.0, "between 0 and 0"),
        ("mean", math.nan, "between -10 and 10"),
    ],
)
def test_a_change_that_cannot_be_planted_is_refused(kind: str, size: float, says: str) -> None:
    with pytest.raises(UnknownChange, match=says):
        Change(kind=kind, size=size)
