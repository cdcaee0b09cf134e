"""The command as a job runs it: folders in; files, a page and an exit status out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace import verdict
from millrace.monitoring.__main__ import main

ARGUMENTS = ["model-quality", "--probability-column", "p", "--prediction-time", "at", "--label-time", "came"]


def write(folder: Path, seed: int, *, rows: int = 3000, labelled: int = 3000, flipped: float = 0.0) -> list[str]:
    """Predictions as Parquet and ground truth as CSV, as they come from different systems; the arguments that name them."""
    dice = np.random.default_rng(seed)
    share = 1 / (1 + np.exp(-dice.normal(-0.5, 1.5, rows)))
    actual = (dice.random(rows) < share) ^ (dice.random(rows) < flipped)
    at = 1_800_000_000 + np.arange(rows)
    (folder / "predictions").mkdir(parents=True)
    (folder / "truth").mkdir()
    table = {"inference_id": np.arange(rows).astype(str), "prediction": (share > 0.5).astype(int), "p": share, "at": at}
    pq.write_table(pa.table(table), folder / "predictions" / "part.parquet")
    lines = [f"{i},{int(actual[i])},{at[i] + dice.exponential(7200):.0f}" for i in range(labelled)]
    (folder / "truth" / "labels.csv").write_text("\n".join(["inference_id,label,came", *lines]))
    return ["--predictions", str(folder / "predictions"), "--ground-truth", str(folder / "truth")]


def spoken(folder: Path) -> verdict.Verdict:
    return verdict.parse((folder / verdict.FILE_NAME).read_text())


def read(path: Path) -> Any:
    return json.loads(path.read_text(), parse_constant=pytest.fail)


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    data = write(tmp_path / "base", 1)
    folder = tmp_path / "baseline"
    assert main([*ARGUMENTS, *data, "--baseline-output", str(folder), "--output", str(tmp_path / "first")]) == 0
    assert spoken(tmp_path / "first").passed
    return folder


@pytest.mark.parametrize(("flipped", "passed"), [(0.0, True), (0.15, False)])
def test_a_window_with_labels_is_measured_and_judged(
    tmp_path: Path, baseline: Path, flipped: float, passed: bool
) -> None:
    data = write(tmp_path / "now", 2, labelled=2000, flipped=flipped)
    out = tmp_path / "out"
    assert main([*ARGUMENTS, *data, "--baseline", str(baseline), "--output", str(out)]) == 0
    said = spoken(out)
    assert (said.gate, said.passed) == ("model quality", passed)
    assert said.metrics["label_coverage"] == pytest.approx(2 / 3)
    assert all((out / path).is_file() for path in said.artifacts.values())
    statistics = read(out / "statistics.json")["binary_classification_metrics"]
    assert sum(sum(line.values()) for line in statistics["confusion_matrix"].values()) == 2000
    assert statistics["recall"]["confidence_interval"]["method"] == "Wilson"
    violations = read(out / "constraint_violations.json")["violations"]
    assert bool(violations) is not passed
    if violations:
        assert set(violations[0]) == {"constraint_check_type", "description", "metric_name"}
        assert violations[0]["description"].startswith(f"Metric {violations[0]['metric_name']} with 0.")
    coverage = read(out / "coverage.json")
    assert coverage["delay_seconds"]["p50"] == pytest.approx(7200 * np.log(2), rel=0.15)
    assert not (out / "estimate.json").exists()


def test_without_enough_labels_there_is_an_estimate_that_is_called_one(tmp_path: Path, baseline: Path) -> None:
    data = write(tmp_path / "now", 2, labelled=50, flipped=0.4)
    arguments = [*ARGUMENTS, *data, "--baseline", str(baseline), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    said = spoken(tmp_path / "out")
    assert said.passed
    assert said.summary.startswith("Not measured: 50 of 3,000 predictions have a label; 100 are needed.")
    assert "Estimated, not measured: accuracy" in said.summary
    assert "accuracy" not in said.metrics
    assert said.metrics["estimated_accuracy"] == pytest.approx(0.742, abs=0.01)
    assert read(tmp_path / "out" / "estimate.json")["kind"] == "estimate, not measured"
    assert read(tmp_path / "out" / "statistics.json")["binary_classification_metrics"] == {}
    assert read(tmp_path / "out" / "constraint_violations.json") == {"violations": []}
    assert "Estimate, not measured" in (tmp_path / "out" / "report.html").read_text()
    assert main([*arguments, "--require-labels"]) == 0
    assert not spoken(tmp_path / "out").passed


def test_predictions_without_any_ground_truth_are_estimated(tmp_path: Path) -> None:
    data = write(tmp_path / "now", 2, labelled=1)[:2]
    arguments = ["model-quality", "--probability-column", "p", "--probability-threshold", "0.5", *data]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    assert "estimated_f1" in spoken(tmp_path / "out").metrics


def test_several_classes_and_names_that_are_markup(tmp_path: Path) -> None:
    names = ["<script>alert(1)</script>", "b", "c"]
    dice = np.random.default_rng(1)
    actual = dice.integers(0, 3, 600)
    predicted = np.where(dice.random(600) < 0.8, actual, dice.integers(0, 3, 600))
    for side, column, values in (("predictions", "prediction", predicted), ("truth", "label", actual)):
        (tmp_path / side).mkdir()
        table = pa.table({"key": np.arange(600), column: [names[v] for v in values]})
        pq.write_table(table, tmp_path / side / "a.parquet")
    arguments = ["model-quality", "--problem-type", "MulticlassClassification", "--id-column", "key"]
    data = ["--predictions", str(tmp_path / "predictions"), "--ground-truth", str(tmp_path / "truth")]
    assert main([*arguments, *data, "--output", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert not re.search(r"(src|href)=|url\(", page)


def test_a_regression_against_its_baseline(tmp_path: Path) -> None:
    dice = np.random.default_rng(1)
    arguments = ["model-quality", "--problem-type", "Regression"]
    for name, noise in (("base", 1.0), ("now", 1.5)):
        actual = dice.normal(size=2000)
        for side, column, values in (("p", "prediction", actual + dice.normal(0, noise, 2000)), ("t", "label", actual)):
            (tmp_path / name / side).mkdir(parents=True)
            pq.write_table(
                pa.table({"inference_id": np.arange(2000), column: values}), tmp_path / name / side / "a.parquet"
            )
    base = ["--predictions", str(tmp_path / "base/p"), "--ground-truth", str(tmp_path / "base/t")]
    now = ["--predictions", str(tmp_path / "now/p"), "--ground-truth", str(tmp_path / "now/t")]
    kept, out = str(tmp_path / "baseline"), tmp_path / "out"
    assert main([*arguments, *base, "--baseline-output", kept, "--output", str(tmp_path / "first")]) == 0
    assert main([*arguments, *now, "--baseline", kept, "--output", str(out)]) == 0
    said = spoken(out)
    assert not said.passed
    assert {finding.subject for finding in said.findings} == {"mae", "mse", "rmse", "r2"}
    assert said.metrics["mae"] == pytest.approx(1.5 * np.sqrt(2 / np.pi), rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--probability-column", "p", "--baseline-output", "b", "--least-labels", "5000"], "A baseline needs labels"),
        (["--probability-column", "nowhere"], "no column 'nowhere'"),
        (["--baseline", "nowhere"], "nowhere/constraints.json cannot be read"),
        (["--probability-threshold", "0.5"], "needs one --probability-column"),
        (["--problem-type", "MulticlassClassification", "--probability-column", "p"], "CLASS=COLUMN"),
        (["--positive-label", "yes"], "the positive one is 'yes'"),
    ],
)
def test_unusable_input_exits_1_with_one_message(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    data = write(tmp_path / "now", 2)
    monkeypatch.chdir(tmp_path)
    assert main(["model-quality", *data, *arguments]) == 1
    assert message in capsys.readouterr().err
