"""Model quality as Model Monitor's contract starts it: captured or written predictions, ground truth, and a baseline."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.monitoring.analyses.tree import (
    CAPTURED,
    CSV,
    OUTPUT,
    SOURCE,
    TRUTH,
    analyze,
    message,
    metrics,
    put,
    truth,
    violated,
    written,
)
from tests.profiling.captured import line

MODEL_QUALITY = {"analysis_type": "MODEL_QUALITY", "problem_type": "BinaryClassification"}
LABELLED = {"ground_truth_source": f"/opt/ml/{TRUTH}"}


def draw(rows: int, seed: int, flipped: float = 0.0) -> list[tuple[int, float, int]]:
    """Prediction, probability and label of a calibrated model; of `flipped` of the rows the label is the other."""
    dice = np.random.default_rng(seed)
    share = 1 / (1 + np.exp(-dice.normal(0, 2, rows)))
    labels = (dice.random(rows) < share) ^ (dice.random(rows) < flipped)
    return [(int(p > 0.5), round(float(p), 4), int(label)) for p, label in zip(share, labels, strict=True)]


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The constraints.json that the SDK's suggest_baseline leaves."""
    ml = tmp_path_factory.mktemp("baseline")
    put(ml, f"{SOURCE}/data.csv", ["prediction,probability,label", *(f"{a},{p},{y}" for a, p, y in draw(1500, 1))])
    ended = analyze(
        ml, **MODEL_QUALITY, inference_attribute="prediction", probability_attribute="probability",
        ground_truth_attribute="label",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert message(ml) == "Completed: Job completed successfully with no violations."
    constraints = written(ml, "constraints.json")["binary_classification_constraints"]
    assert constraints["accuracy"]["comparison_operator"] == "LessThanThreshold"
    assert (
        0.7
        < constraints["auc"]["threshold"]
        < written(ml, "statistics.json")["binary_classification_metrics"]["auc"]["value"]
    )
    return ml / OUTPUT / "constraints.json"


@pytest.mark.parametrize(("flipped", "word"), [(0.0, "Completed:"), (0.3, "CompletedWithViolations:")])
def test_captured_predictions_are_joined_by_inference_id_and_held_against_the_baseline(
    tmp_path: Path, baseline: Path, flipped: float, word: str
) -> None:
    rows = draw(600, 2, flipped)
    put(
        tmp_path,
        f"{SOURCE}/e/v/a.jsonl",
        (line("x", f"{a},{p}", inference_id=f"i{n}") for n, (a, p, _) in enumerate(rows)),
    )
    put(tmp_path, f"{TRUTH}/2026/01/31/15/a.jsonl", (truth(f"i{n}", str(y)) for n, (*_, y) in enumerate(rows[:500])))
    ended = analyze(
        tmp_path, **MODEL_QUALITY, **LABELLED, dataset_format=CAPTURED, inference_attribute="0", probability_attribute="1",
        baseline_constraints=str(baseline), publish_cloudwatch_metrics="Enabled",
        start_time="2026-01-31T15:00:00Z", end_time="2026-01-31T16:00:00Z", sagemaker_endpoint_name="endpoint",
        sagemaker_monitoring_schedule_name="hourly",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert message(tmp_path).startswith(word)
    assert ("accuracy" in violated(tmp_path)) is bool(flipped)
    coverage = written(tmp_path, "coverage.json")
    assert (coverage["predictions"], coverage["labelled"]) == (600, 500)
    assert written(tmp_path, "constraints.json") == json.loads(baseline.read_text())
    found = written(tmp_path, "statistics.json")["binary_classification_metrics"]
    sent = {row["MetricName"]: row for row in metrics(tmp_path)}
    assert sent["accuracy"]["Value"] == found["accuracy"]["value"] == np.mean([a == y for a, _, y in rows[:500]])
    assert sent["auc"]["Dimensions"] == [
        {"Name": "Endpoint", "Value": "endpoint"}, {"Name": "MonitoringSchedule", "Value": "hourly"},
    ]  # fmt: skip
    assert (tmp_path / OUTPUT / "report.html").is_file()


def test_event_ids_stand_in_for_inference_ids_and_the_records_of_one_request_for_themselves(tmp_path: Path) -> None:
    events = [json.loads(line("x", "\n".join("1001"[k] for k in range(4)))) for _ in range(30)]
    put(tmp_path, f"{SOURCE}/a.jsonl", map(json.dumps, events))
    ids = [event["eventMetadata"]["eventId"] for event in events]
    put(tmp_path, f"{TRUTH}/a.jsonl", [*(truth(name, "1\n0\n0\n0") for name in ids[:-1]), truth(ids[-1], "1")])
    ended = analyze(tmp_path, **MODEL_QUALITY, **LABELLED, dataset_format=CAPTURED, inference_attribute="0")
    assert ended.returncode == 0, ended.stderr
    coverage = written(tmp_path, "coverage.json")
    # One label for four records says of none of them which it is.
    assert (coverage["predictions"], coverage["labelled"], coverage["unknown_labels"]) == (120, 116, 1)
    found = written(tmp_path, "statistics.json")["binary_classification_metrics"]["confusion_matrix"]
    assert found == {"0": {"0": 58, "1": 29}, "1": {"0": 0, "1": 29}}


def test_probability_and_threshold_make_the_prediction_of_json_answers(tmp_path: Path) -> None:
    rows = draw(200, 3)
    answers = (json.dumps({"predictions": [{"score": p}]}) for _, p, _ in rows)
    lines = (line("{}", answer, encoding="JSON", inference_id=str(n)) for n, answer in enumerate(answers))
    put(tmp_path, f"{SOURCE}/a.jsonl", lines)
    labels = (truth(str(n), json.dumps({"label": y}), "JSON") for n, (*_, y) in enumerate(rows))
    put(tmp_path, f"{TRUTH}/a.jsonl", labels)
    ended = analyze(
        tmp_path, **MODEL_QUALITY, **LABELLED, dataset_format=CAPTURED, ground_truth_attribute="label",
        probability_attribute="predictions[*].score", probability_threshold_attribute="0.8",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found = written(tmp_path, "statistics.json")["binary_classification_metrics"]
    assert found["accuracy"]["value"] == pytest.approx(np.mean([(p >= 0.8) == y for _, p, y in rows]))


def test_outputs_of_batch_transform_have_their_ids_in_a_column(tmp_path: Path) -> None:
    dice = np.random.default_rng(4)
    actual = dice.normal(size=300)
    rows = [f"{value + 0.5},{n}" for n, value in enumerate(actual)]
    put(tmp_path, f"{SOURCE}/2026/01/31/15/a.csv.out", ["score,SageMakerInferenceId", *rows])
    put(tmp_path, f"{TRUTH}/a.jsonl", (truth(str(n), str(value)) for n, value in enumerate(actual)))
    asked = {**MODEL_QUALITY, "problem_type": "Regression", "inference_attribute": "score"}
    ended = analyze(tmp_path, **asked, **LABELLED, sagemaker_monitoring_schedule_name="s")
    assert ended.returncode == 0, ended.stderr
    assert written(tmp_path, "statistics.json")["regression_metrics"]["mae"]["value"] == pytest.approx(0.5)
    assert violated(tmp_path) == []


def test_several_classes_by_position_in_files_without_a_header(tmp_path: Path) -> None:
    names = ["red", "green", "blue"]
    put(tmp_path, f"{SOURCE}/a.csv", (f"{names[n % 3]},{n:04}" for n in range(150)))
    put(tmp_path, f"{TRUTH}/a.jsonl", (truth(f"{n:04}", names[n % 3 if n < 120 else 0]) for n in range(150)))
    ended = analyze(
        tmp_path, analysis_type="MODEL_QUALITY", problem_type="MulticlassClassification", **LABELLED,
        dataset_format='{"csv": {"header": false}}', inference_attribute="0", inference_id_attribute="1",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found = written(tmp_path, "statistics.json")["multiclass_classification_metrics"]
    assert found["accuracy"]["value"] == pytest.approx(130 / 150)


def test_too_few_labels_are_an_outcome_with_an_estimate_and_no_failure(tmp_path: Path, baseline: Path) -> None:
    rows = draw(200, 5)
    put(
        tmp_path, f"{SOURCE}/a.jsonl", (line("x", f"{a},{p}", inference_id=f"i{n}") for n, (a, p, _) in enumerate(rows))
    )
    put(
        tmp_path,
        f"{TRUTH}/a.jsonl",
        [*(truth(f"i{n}", "1") for n in range(20)), truth("i30", ",x"), truth("i31", ""), "spoilt"],
    )
    asked = {**MODEL_QUALITY, **LABELLED, "inference_attribute": "0", "probability_attribute": "1"}
    ended = analyze(tmp_path, **asked, dataset_format=CAPTURED, baseline_constraints=str(baseline))
    assert ended.returncode == 0, ended.stderr
    said = message(tmp_path)
    assert said.startswith(
        "Completed: Job completed successfully with no violations. Not measured: 20 of 200 predictions"
    )
    assert "Estimated, not measured: accuracy 0." in said
    assert "1 lines of ground truth hold no label." in said
    assert "2 lines could not be read, beside 20 rows" in said
    assert violated(tmp_path) == []
    ended = analyze(tmp_path, **asked, dataset_format=CAPTURED, least_labels="20")
    assert ended.returncode == 0, ended.stderr
    assert "accuracy" in written(tmp_path, "statistics.json")["binary_classification_metrics"]


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"problem_type": ""}, "problem_type is None; it must be one of BinaryClassification"),
        ({"inference_attribute": ""}, "inference_attribute is missing"),
        ({"inference_attribute": "nowhere"}, "none of 3 records has an id and 'nowhere'; the first one has the cells"),
        ({"ground_truth_attribute": ""}, "ground_truth_attribute is missing"),
        ({"probability_threshold_attribute": "half"}, "probability_threshold_attribute is 'half'"),
        ({"least_labels": "0"}, "least_labels is '0'"),
        ({"least_labels": "100"}, "3 of 3 predictions have a label; 100 are needed. A baseline needs labels"),
        ({"baseline_constraints": "/opt/ml/nowhere.json"}, "cannot be read"),
        ({"dataset_format": '{"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput"]}}'},
         "the endpoint captures no endpointOutput"),
        ({"ground_truth_source": "/opt/ml/nowhere"}, "holds no file"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_clear_line(tmp_path: Path, variables: dict[str, str], why: str) -> None:
    put(tmp_path, f"{SOURCE}/a.csv", ["prediction,label", "1,1", "0,0", "1,0"])
    asked = {
        **MODEL_QUALITY,
        "inference_attribute": "prediction",
        "ground_truth_attribute": "label",
        "least_labels": "3",
    }
    ended = analyze(tmp_path, **{**asked, "dataset_format": CSV, **variables})
    assert ended.returncode == 1
    assert why in message(tmp_path)
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("header", [True, False])
def test_ids_of_a_column_by_position_keep_their_zeros(tmp_path: Path, header: bool) -> None:
    rows = draw(200, 21)
    names = ["prediction,id"] if header else []
    put(tmp_path, f"{SOURCE}/a.csv", [*names, *(f"{a},{n:04d}" for n, (a, *_) in enumerate(rows))])
    put(tmp_path, f"{TRUTH}/a.jsonl", (truth(f"{n:04d}", str(y)) for n, (*_, y) in enumerate(rows)))
    ended = analyze(
        tmp_path, **MODEL_QUALITY, **LABELLED, dataset_format=json.dumps({"csv": {"header": header}}),
        inference_attribute="0", inference_id_attribute="1",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert written(tmp_path, "coverage.json")["labelled"] == 200


def test_column_of_whole_numbers_in_one_file_and_of_fractions_in_the_next(tmp_path: Path) -> None:
    for name, shown in (("a", "1"), ("b", "0.25")):
        rows = (f"{shown},{n % 2}" for n in range(100))
        put(tmp_path, f"{SOURCE}/{name}.csv", ["probability,label", *rows])
    ended = analyze(tmp_path, **MODEL_QUALITY, probability_attribute="probability", ground_truth_attribute="label")
    assert ended.returncode == 0, ended.stderr
    found = written(tmp_path, "statistics.json")["binary_classification_metrics"]["confusion_matrix"]
    assert found == {"0": {"0": 50, "1": 50}, "1": {"0": 50, "1": 50}}
