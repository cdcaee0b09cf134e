"""Data quality as Model Monitor's contract starts it: told by environment variables, paths below /opt/ml."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.monitoring.analyses.tree import CAPTURED, OUTPUT, SOURCE, analyze, message, metrics
from tests.profiling.captured import line

from millrace.monitoring.violations_file import read_violations
from millrace.profiling.constraints_file import read_constraints


def table(rows: int, shift: float = 0.0, seed: int = 0) -> list[tuple[str, str, str]]:
    rng = np.random.default_rng(seed)
    return [(f"{rng.random():.4f}", f"{rng.normal(shift):.4f}", str(rng.choice(["x", "y"]))) for _ in range(rows)]


def write_csv(ml: Path, rows: list[tuple[str, str, str]], name: str = "data.csv", header: bool = True) -> None:
    path = ml / SOURCE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [*(["score,size,word"] if header else []), *(",".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a baselining job."""
    ml = tmp_path_factory.mktemp("baseline")
    write_csv(ml, table(500))
    ended = analyze(ml)
    assert ended.returncode == 0, ended.stderr
    assert message(ml) == "Completed: Job completed successfully with no violations."
    assert sorted(path.name for path in (ml / OUTPUT).iterdir()) == ["constraints.json", "statistics.json"]
    assert list(read_constraints(ml / OUTPUT).features) == ["score", "size", "word"]
    return ml / OUTPUT


def against(baseline: Path) -> dict[str, str]:
    return {
        "baseline_constraints": str(baseline / "constraints.json"),
        "baseline_statistics": str(baseline / "statistics.json"),
    }


@pytest.mark.parametrize(("shift", "violations"), [(0.0, 0), (3.0, 1)])
def test_captured_csv_is_held_against_the_baseline_by_position(
    tmp_path: Path, baseline: Path, shift: float, violations: int
) -> None:
    path = tmp_path / SOURCE / "endpoint/AllTraffic/2026/01/31/15/a.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(line(f"{size},{word}", score) for score, size, word in table(500, shift, 1)) + "spoilt\n")
    ended = analyze(
        tmp_path, dataset_format=CAPTURED, **against(baseline), publish_cloudwatch_metrics="Enabled",
        start_time="2026-01-31T15:00:00Z", end_time="2026-01-31T16:00:00Z", sagemaker_endpoint_name="endpoint",
        sagemaker_monitoring_schedule_name="hourly",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found = read_violations(tmp_path / OUTPUT)
    assert [v.feature_name for v in found] == ["size"][:violations]
    word = (
        f"CompletedWithViolations: Job completed successfully with {violations} violations."
        if violations
        else "Completed:"
    )
    assert message(tmp_path).startswith(word)
    assert "1 lines could not be read, beside 500 rows; line 501 of a.jsonl" in message(tmp_path)
    rows = {row["MetricName"]: row for row in metrics(tmp_path)}
    assert rows["feature_data_size"]["StatisticValues"]["SampleCount"] == 500
    assert rows["feature_non_null_word"]["Value"] == 1.0
    assert (rows["feature_baseline_drift_size"]["Value"] > 0.1) is bool(violations)
    dimensions = [{"Name": "Endpoint", "Value": "endpoint"}, {"Name": "MonitoringSchedule", "Value": "hourly"}]
    assert {json.dumps(row["Dimensions"]) for row in rows.values()} == {json.dumps(dimensions)}
    assert {row["Timestamp"] for row in rows.values()} == {"2026-01-31T16:00:00+00:00"}


def test_events_outside_of_the_window_leave_no_rows(tmp_path: Path, baseline: Path) -> None:
    path = tmp_path / SOURCE / "a.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(line("1,x", "0"))
    ended = analyze(tmp_path, dataset_format=CAPTURED, **against(baseline), start_time="2026-02-01T00:00:00Z")
    assert ended.returncode == 1
    assert "no rows" in message(tmp_path)


def test_capture_of_which_nothing_can_be_read_fails_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / SOURCE / "a.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("spoilt\nspoilt\n")
    ended = analyze(tmp_path, dataset_format=CAPTURED)
    assert ended.returncode == 1
    assert "none of 2 lines can be read; line 1 of a.jsonl" in message(tmp_path)


def test_batch_outputs_without_header_are_named_by_the_baseline(tmp_path: Path, baseline: Path) -> None:
    write_csv(tmp_path, table(500, 0.0, 2), "data.csv.out", header=False)
    ended = analyze(tmp_path, dataset_format='{"csv": {"header": "false"}}', **against(baseline))
    assert ended.returncode == 0, ended.stderr
    assert read_violations(tmp_path / OUTPUT) == []


def test_json_lines_are_held_against_constraints_alone(tmp_path: Path, baseline: Path) -> None:
    (tmp_path / SOURCE).mkdir(parents=True)
    rows = [{"score": 1.5, "size": "7", "word": "x"}, {"score": 2.5, "size": "8", "word": "z"}]
    (tmp_path / SOURCE / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    renamed = tmp_path / "edited.json"
    renamed.write_text((baseline / "constraints.json").read_text())
    ended = analyze(tmp_path, dataset_format='{"json": {"line": true}}', baseline_constraints=str(renamed))
    assert ended.returncode == 0, ended.stderr
    assert [(v.feature_name, v.constraint_check_type) for v in read_violations(tmp_path / OUTPUT)] == [
        ("word", "categorical_values_check")
    ]


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"dataset_format": ""}, "dataset_format is missing"),
        ({"dataset_format": "csv"}, "is not JSON"),
        ({"dataset_format": '{"xml": {}}'}, "known are csv, json, parquet"),
        ({"dataset_format": '{"csv": {"header": "maybe"}}'}, "must be true or false"),
        ({"dataset_format": '{"sagemakerCaptureJson": {"captureIndexNames": ["other"]}}'}, "captureIndexNames is"),
        ({"start_time": "yesterday"}, "start_time is 'yesterday'"),
        ({"end_time": "2026-01-31T15:00:00"}, "without a time zone"),
        ({"publish_cloudwatch_metrics": "yes"}, "must be one of Enabled, Disabled"),
        ({"record_preprocessor_script": "/opt/ml/processing/x.py"}, "runs no scripts"),
        ({"analysis_type": "DRIFT"}, "the analyzer does DATA_QUALITY, MODEL_QUALITY"),
        ({"baseline_statistics": "/opt/ml/processing/nowhere.json"}, "cannot be read"),
        ({}, "does not exist"),
    ],
)
def test_environment_that_cannot_be_used_is_one_clear_line(tmp_path: Path, variables: dict[str, str], why: str) -> None:
    ended = analyze(tmp_path, **variables)
    assert ended.returncode == 1
    assert why in message(tmp_path)
    assert "Traceback" not in ended.stderr


def test_execution_without_baseline_says_that_it_found_nothing(tmp_path: Path) -> None:
    write_csv(tmp_path, table(50))
    ended = analyze(tmp_path, sagemaker_monitoring_schedule_name="hourly")
    assert ended.returncode == 0, ended.stderr
    assert read_violations(tmp_path / OUTPUT) == []
