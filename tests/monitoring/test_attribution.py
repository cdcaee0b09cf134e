"""Shapley values are exact where theory says so, and a changed ranking is told from chance."""

from __future__ import annotations

import json
import re
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import ndcg_score

from millrace import verdict
from millrace.monitoring.__main__ import main
from millrace.monitoring.attribution import Totals, compare, ndcg, totals
from millrace.monitoring.certainty import State
from millrace.monitoring.shapley import PredictError, load_predict, shapley_values
from millrace.profiling.errors import DatasetError
from millrace.profiling.summary import Floats

WEIGHTS = np.array([2.0, -1.0, 0.5, 0.0])


def linear(rows: Floats) -> Floats:
    scores: Floats = rows @ WEIGHTS
    return scores


def entangled(rows: Floats) -> Floats:
    scores: Floats = rows[:, 0] * rows[:, 1] + np.maximum(rows[:, 2], rows[:, 3]) ** 2
    return scores


def drawn(rows: int, seed: int = 1) -> Floats:
    values: Floats = np.random.default_rng(seed).normal(1, 2, size=(rows, 4))
    return values


# --- Shapley values


def test_a_linear_function_is_explained_exactly() -> None:
    rows, background = drawn(300), drawn(20, 2)
    expected = WEIGHTS * (rows - background.mean(axis=0))
    assert shapley_values(linear, rows, background) == pytest.approx(expected, abs=1e-9)


def test_attributions_sum_to_the_score_less_the_backgrounds() -> None:
    rows, background = drawn(300), drawn(20, 2)
    found = shapley_values(entangled, rows, background)
    assert found.sum(axis=1) == pytest.approx(entangled(rows) - entangled(background).mean(), abs=1e-9)


def test_features_that_act_in_pairs_are_explained_exactly() -> None:
    """An order and its reverse share what a pair does by half: of x0 x1, feature 0 has (x0 - z0) (x1 + z1) / 2."""
    rows, background = drawn(50), drawn(10, 2)
    found = shapley_values(lambda asked: asked[:, 0] * asked[:, 1], rows, background)
    pairs = (rows[:, np.newaxis, 0] - background[:, 0]) * (rows[:, np.newaxis, 1] + background[:, 1]) / 2
    assert found[:, 0] == pytest.approx(pairs.mean(axis=1), abs=1e-9)
    assert found[:, 2:] == pytest.approx(0)


def test_sampling_comes_close_to_all_permutations() -> None:
    (row,), background = drawn(1), drawn(3, 2)
    exact = np.zeros(4)
    orders = list(permutations(range(4)))
    for other in background:
        for order in orders:
            mixed = other.copy()
            for feature in order:
                before = entangled(mixed[np.newaxis])[0]
                mixed[feature] = row[feature]
                exact[feature] += (entangled(mixed[np.newaxis])[0] - before) / len(orders) / len(background)
    found = shapley_values(entangled, row[np.newaxis], background, rounds=300)[0]
    assert found == pytest.approx(exact, abs=0.15)
    assert np.abs(exact).max() > 2


def test_rows_are_asked_about_in_bounded_batches() -> None:
    asked = []

    def predict(rows: Floats) -> Floats:
        asked.append(len(rows))
        return linear(rows)

    rows = drawn(20_000)
    found = shapley_values(predict, rows, drawn(2, 2))
    assert max(asked) <= 65_536
    assert found == pytest.approx(WEIGHTS * (rows - drawn(2, 2).mean(axis=0)), abs=1e-9)


@pytest.mark.parametrize(
    ("name", "message"),
    [("numpy", "write module:function"), ("nowhere:f", "cannot be loaded"), ("numpy:pi", "is a float")],
)
def test_a_predict_function_that_is_not_there_is_refused(name: str, message: str) -> None:
    with pytest.raises(PredictError, match=message):
        load_predict(name)


@pytest.mark.parametrize(("name", "message"), [("numpy:transpose", "one score a row"), ("numpy:max", "of shape ")])
def test_an_answer_that_is_not_one_score_a_row_is_refused(name: str, message: str) -> None:
    with pytest.raises(PredictError, match=message):
        load_predict(name)(drawn(3))


# --- NDCG


def test_ndcg_is_clarifys() -> None:
    """The documentation's college admissions: SAT score, GPA and class rank; 0.69 there."""
    baseline, live = np.array([[0.70, 0.50, 0.05]]), np.array([[0.10, 0.20, 0.70]])
    assert round(float(ndcg(baseline, live)[0]), 2) == 0.69
    assert ndcg(baseline, baseline)[0] == 1


def test_ndcg_equals_sklearn() -> None:
    dice = np.random.default_rng(1)
    baseline, window = dice.random((50, 9)), dice.random((50, 9))
    expected = [ndcg_score(b[np.newaxis], w[np.newaxis]) for b, w in zip(baseline, window, strict=True)]
    assert ndcg(baseline, window) == pytest.approx(expected)


def summed(scales: list[float], rows: int, seed: int) -> Totals:
    values = np.random.default_rng(seed).normal(size=(rows, len(scales))) * scales
    table = pa.table({name: values[:, i] for i, name in enumerate("abcdef"[: len(scales)])})
    return totals(table.to_batches(max_chunksize=700))


@pytest.mark.parametrize("rows", [50, 5000])
def test_totals_are_the_means_of_absolute_values(rows: int) -> None:
    values = np.random.default_rng(1).normal(size=(rows, 3)) * [1.0, 2.0, 3.0]
    found = summed([1.0, 2.0, 3.0], rows, 1)
    assert found.rows == rows
    assert found.means == pytest.approx(np.abs(values).mean(axis=0))


def test_the_same_ranking_with_noise_is_no_drift() -> None:
    for seed in range(10):
        drift = compare(summed([5, 3, 2, 1], 1000, seed), summed([5, 3, 2, 1], 300, seed + 100))
        assert drift.state is State.MET


def test_a_turned_ranking_is_drift_when_there_are_rows_enough_to_know() -> None:
    before = summed([5, 3, 2, 0.1], 1000, 1)
    many = compare(before, summed([0.1, 2, 3, 5], 1000, 2))
    assert many.state is State.VIOLATED
    assert many.ndcg.upper < 0.9
    assert [(f.name, f.baseline_rank, f.rank) for f in many.features] == [
        ("a", 1, 4),
        ("b", 2, 3),
        ("c", 3, 2),
        ("d", 4, 1),
    ]
    few = compare(before, summed([1, 1, 1, 1.2], 5, 3))
    assert few.ndcg.lower < 0.9 < few.ndcg.upper


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": ["x"]}, "attributions are numbers"),
        ({"a": [1.0, None]}, "missing or infinite"),
        ({"a": pa.array([], pa.float64())}, "no attributions"),
    ],
)
def test_attributions_that_cannot_be_ranked_are_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        totals(pa.table(table).to_batches())


def test_other_features_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"differ in features \(c\)"):
        compare(summed([1, 2], 10, 1), summed([1, 2, 3], 10, 1))


# --- the command


def write(folder: Path, values: Floats, names: str = "abcd") -> str:
    folder.mkdir(parents=True)
    pq.write_table(pa.table({name: values[:, i] for i, name in enumerate(names)}), folder / "a.parquet")
    return str(folder)


def spoken(folder: Path) -> verdict.Verdict:
    return verdict.parse((folder / verdict.FILE_NAME).read_text())


def test_attributions_from_elsewhere(tmp_path: Path) -> None:
    dice = np.random.default_rng(1)
    base = write(tmp_path / "base", dice.normal(size=(800, 4)) * [5, 3, 2, 0.1])
    same = write(tmp_path / "same", dice.normal(size=(800, 4)) * [5, 3, 2, 0.1])
    turned = write(tmp_path / "turned", dice.normal(size=(800, 4)) * [0.1, 2, 3, 5])
    first, out = tmp_path / "first", tmp_path / "out"
    assert main(["attribution-drift", "--baseline", base, "--data", same, "--output", str(first)]) == 0
    assert spoken(first).passed
    # What the first run wrote is a baseline too, in Clarify's form.
    assert main(["attribution-drift", "--baseline", str(first), "--data", turned, "--output", str(out)]) == 0
    said = spoken(out)
    assert (said.gate, said.passed) == ("attribution drift", False)
    assert {finding.subject for finding in said.findings} == set("abcd")
    (violation,) = json.loads((out / "constraint_violations.json").read_text())["violations"]
    assert violation["constraint_check_type"] == "feature_attribution_drift_check"
    page = (out / "report.html").read_text()
    assert "<script" not in page
    assert not re.search(r"(src|href)=|url\(", page)


def test_attributions_that_are_made_from_a_predict_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_model.py").write_text(
        "import numpy as np\n\ndef score(rows):\n    return np.where(rows[:, 3] > 0, rows[:, 0], 5 * rows[:, 1])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    rows, later = drawn(400), drawn(400, 3)
    rows[:, 3], later[:, 3] = np.abs(rows[:, 3]), -np.abs(later[:, 3])
    base, now = write(tmp_path / "base", rows), write(tmp_path / "now", later)
    out = tmp_path / "out"
    arguments = [
        "attribution-drift",
        "--predict",
        "a_model:score",
        "--explain",
        "200",
        "--baseline",
        base,
        "--data",
        now,
    ]
    assert main([*arguments, "--output", str(out)]) == 0
    said = spoken(out)
    assert not said.passed
    attributions = pq.read_table(out / said.artifacts["attributions"])
    assert (attributions.num_rows, attributions.column_names) == (200, list("abcd"))
    sys.modules.pop("a_model")


@pytest.mark.parametrize("explain", ["0", "-5"])
def test_no_rows_to_explain_are_refused(explain: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["attribution-drift", "--predict", "a_model:score", f"--explain={explain}"])
    assert f"argument --explain: {explain} rows are none; give 1 or more" in capsys.readouterr().err
