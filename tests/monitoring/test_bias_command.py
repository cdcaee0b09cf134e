"""The command as a job runs it, on loans whose bias is planted."""

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
from millrace.monitoring.facets import Choice, Question, tally
from millrace.profiling.errors import DatasetError

QUESTION = ["--facet-column", "region", "--facet-value", "islands", "--label-column", "repaid", "--label-value", "1"]
MODEL = ["--prediction-column", "granted", "--group-column", "<script>", "--flip-column", "score"]


def write(folder: Path, seed: int, *, penalty: float = 0.0, rows: int = 6000) -> list[str]:
    """Loans; `penalty` is what the model takes off the score of islanders."""
    dice = np.random.default_rng(seed)
    region = dice.choice(["north", "south", "islands"], rows, p=[0.5, 0.3, 0.2])
    score = dice.normal(size=rows)
    repaid = dice.random(rows) < 1 / (1 + np.exp(-1 - score))
    granted = score - penalty * (region == "islands") > -0.3
    folder.mkdir(parents=True)
    table = {"region": region, "repaid": repaid.astype(int), "granted": granted.astype(int), "score": score}
    pq.write_table(pa.table({**table, "<script>": dice.choice(["x", "y"], rows)}), folder / "a.parquet")
    return ["bias", "--data", str(folder), *QUESTION, *MODEL]


def spoken(folder: Path) -> verdict.Verdict:
    return verdict.parse((folder / verdict.FILE_NAME).read_text())


def read(path: Path) -> Any:
    return json.loads(path.read_text(), parse_constant=pytest.fail)


def metrics(folder: Path, section: str) -> dict[str, Any]:
    (entry,) = read(folder / "analysis.json")[section]["facets"]["region"]
    assert entry["value_or_threshold"] == "islands"
    return {metric["name"]: metric for metric in entry["metrics"]}


@pytest.mark.parametrize(("penalty", "passed"), [(0.0, True), (0.8, False)])
def test_disparate_impact_is_held_to_four_fifths(tmp_path: Path, penalty: float, passed: bool) -> None:
    arguments = write(tmp_path / "data", 1, penalty=penalty)
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    said = spoken(tmp_path / "out")
    assert (said.gate, said.passed) == ("bias", passed)
    assert {finding.subject for finding in said.findings} == (set() if passed else {"DI"})
    found = metrics(tmp_path / "out", "post_training_bias_metrics")
    assert set(found) == {"DPPL", "DI", "DCAcc", "DCR", "SD", "RD", "DAR", "DRR", "AD", "TE", "CDDPL", "GE", "FT"}
    assert found["DI"]["value"] == pytest.approx(1.0 if passed else 0.49, abs=0.08)
    assert found["FT"]["value"] == pytest.approx(0.0 if passed else 0.3, abs=0.06)
    assert set(metrics(tmp_path / "out", "pre_training_bias_metrics")) == {
        "CI", "DPL", "KL", "JS", "LP", "TVD", "KS", "CDDL",
    }  # fmt: skip
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in page
    assert not re.search(r"(src|href)=|url\(", page)
    assert all((tmp_path / "out" / path).is_file() for path in said.artifacts.values())


def test_the_counts_are_those_of_the_rows(tmp_path: Path) -> None:
    main([*write(tmp_path / "data", 1, penalty=0.8), "--output", str(tmp_path / "out")])
    frame = pq.read_table(tmp_path / "data" / "a.parquet").to_pandas()
    islands = frame.region == "islands"
    rates = frame.granted[islands].mean(), frame.granted[~islands].mean()
    found = metrics(tmp_path / "out", "post_training_bias_metrics")
    assert found["DI"]["value"] == pytest.approx(rates[0] / rates[1])
    assert found["DPPL"]["value"] == pytest.approx(rates[1] - rates[0])


def test_bias_that_grows_is_held_against_the_baseline(tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "out"
    main([*write(tmp_path / "before", 1), "--output", str(base)])
    assert main([*write(tmp_path / "same", 2), "--baseline", str(base), "--output", str(out)]) == 0
    assert spoken(out).passed
    main([*write(tmp_path / "now", 3, penalty=0.4), "--baseline", str(base), "--output", str(out)])
    assert not spoken(out).passed
    violations = read(out / "constraint_violations.json")["violations"]
    assert {"DPPL", "DI"} <= {violation["metric_name"] for violation in violations}
    assert violations[0]["constraint_check_type"] == "bias_drift_check"
    assert (violations[0]["facet"], violations[0]["facet_value"]) == ("region", "islands")


def test_a_baseline_of_clarifys_own_is_read(tmp_path: Path) -> None:
    document = {
        "version": "1.0",
        "post_training_bias_metrics": {
            "label": "repaid",
            "label_value_or_threshold": "1",
            "facets": {
                "region": [
                    {"value_or_threshold": "islands", "metrics": [{"name": "DPPL", "description": "", "value": -0.05}]},
                    {"value_or_threshold": "north", "metrics": [{"name": "DI", "description": "", "value": 1.0}]},
                ]
            },
        },
    }
    (tmp_path / "analysis.json").write_text(json.dumps(document))
    main([*write(tmp_path / "now", 1, penalty=0.8), "--baseline", str(tmp_path), "--output", str(tmp_path / "out")])
    assert {finding.subject for finding in spoken(tmp_path / "out").findings} == {"DPPL"}


def test_a_range_that_is_asked_for_decides(tmp_path: Path) -> None:
    arguments = [*write(tmp_path / "data", 1, penalty=0.8), "--range", "DI=0.3:3", "--output", str(tmp_path / "out")]
    main(arguments)
    assert spoken(tmp_path / "out").passed
    with pytest.raises(SystemExit):
        main([*arguments, "--range", "DI=3"])


def test_facets_and_labels_may_be_thresholds(tmp_path: Path) -> None:
    table = pa.table({"age": [20, 50, 60, None, 30], "income": [5.0, 1.0, 9.0, 9.0, 7.0]})
    question = Question(facet=Choice(column="age", threshold=40), label=Choice(column="income", threshold=6))
    found = tally(table.to_batches(), question)
    assert (found.rows, found.left_out) == (5, 1)
    assert found.counts.cells.sum(axis=(0, 3)).tolist() == [[1, 1], [1, 1]]
    assert found.counts.positive.tolist() == [False, True]


@pytest.mark.parametrize(
    ("facet", "message"),
    [
        (Choice(column="age", values=("7",)), "no row's 'age' is among 7"),
        (Choice(column="word", threshold=1.0), "a threshold needs numbers"),
        (Choice(column="nowhere", values=("1",)), "no column 'nowhere'"),
    ],
)
def test_facets_that_cannot_be_told_are_refused(facet: Choice, message: str) -> None:
    table = pa.table({"age": [20, 50], "word": ["a", "b"], "y": [0, 1]})
    with pytest.raises(DatasetError, match=message):
        tally(table.to_batches(), Question(facet=facet, label=Choice(column="y", values=("1",))))


def test_values_and_threshold_together_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write(tmp_path / "data", 1)
    assert main([*arguments, "--facet-threshold", "3", "--output", str(tmp_path / "out")]) == 1
    assert "either --facet-value or --facet-threshold" in capsys.readouterr().err
