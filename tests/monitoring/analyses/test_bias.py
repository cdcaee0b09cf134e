"""Bias drift as Model Monitor's contract starts it: captured requests, ground truth, and Clarify's configuration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.monitoring.analyses.tree import (
    CAPTURED,
    OUTPUT,
    SOURCE,
    TRUTH,
    analyze,
    message,
    metrics,
    put,
    truth,
    written,
)
from tests.profiling.captured import line

CONFIG = "processing/input/config/analysis_config.json"
MODEL_BIAS = {"analysis_type": "MODEL_BIAS", "analysis_config": f"/opt/ml/{CONFIG}"}
LABELLED = {"ground_truth_source": f"/opt/ml/{TRUTH}", "dataset_format": CAPTURED, "inference_attribute": "0"}
ASKED: dict[str, Any] = {
    "headers": ["region", "age", "income", "repaid"],
    "label": "repaid",
    "label_values_or_threshold": [1],
    "facet": [
        {"name_or_index": "region", "value_or_threshold": ["islands"]},
        {"name_or_index": 1, "value_or_threshold": [60]},
    ],
    "group_variable": "income",
}  # fmt: skip
Loan = tuple[str, int, str, int, int]


def draw(rows: int, seed: int, penalty: float = 0.0) -> list[Loan]:
    """Region, age, income, prediction and label; the model takes `penalty` off the score of islanders."""
    dice = np.random.default_rng(seed)
    found: list[Loan] = []
    for _ in range(rows):
        region, score = str(dice.choice(["north", "islands"], p=[0.7, 0.3])), dice.normal()
        granted = score - penalty * (region == "islands") > -0.3
        label = dice.random() < 1 / (1 + np.exp(-1 - score))
        found.append((region, int(dice.integers(20, 90)), str(dice.choice(["low", "high"])), int(granted), int(label)))
    return found


def put_config(ml: Path, **changes: Any) -> None:
    put(ml, CONFIG, [json.dumps({**ASKED, **changes})])


def put_window(ml: Path, loans: Sequence[Loan], labelled: int | None = None) -> None:
    lines = [line(f"{r},{age},{i}", str(p), inference_id=f"i{n}") for n, (r, age, i, p, _) in enumerate(loans)]
    put(ml, f"{SOURCE}/endpoint/AllTraffic/a.jsonl", lines)
    put(ml, f"{TRUTH}/a.jsonl", (truth(f"i{n}", str(loan[4])) for n, loan in enumerate(loans[:labelled])))


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The analysis.json of a dataset that holds labels and predictions."""
    ml = tmp_path_factory.mktemp("baseline")
    put_config(ml)
    put(
        ml,
        f"{SOURCE}/a.csv",
        ["region,age,income,predicted,repaid", *(",".join(map(str, loan)) for loan in draw(2000, 1))],
    )
    ended = analyze(ml, **MODEL_BIAS, inference_attribute="predicted")
    assert ended.returncode == 0, ended.stderr
    assert message(ml) == "Completed: Job completed successfully with no violations."
    return ml / OUTPUT / "analysis.json"


@pytest.mark.parametrize(("penalty", "violated"), [(0.0, set()), (1.0, {"DPPL", "DI"})])
def test_bias_that_the_model_took_on_is_a_violation_of_its_facet(
    tmp_path: Path, baseline: Path, penalty: float, violated: set[str]
) -> None:
    put_config(tmp_path)
    put_window(tmp_path, draw(1000, 2, penalty))
    ended = analyze(
        tmp_path, **MODEL_BIAS, **LABELLED, baseline_constraints=str(baseline), publish_cloudwatch_metrics="Enabled",
        sagemaker_endpoint_name="endpoint", sagemaker_monitoring_schedule_name="hourly",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found = written(tmp_path, "constraint_violations.json")["violations"]
    by_facet = {name: {one["metric_name"] for one in found if one["facet"] == name} for name in ("region", "age")}
    assert by_facet["region"] >= violated
    assert not by_facet["age"] & {"DPPL", "DI"}
    assert bool(found) is bool(violated)
    word = (
        f"CompletedWithViolations: Job completed successfully with {len(found)} violations." if found else "Completed:"
    )
    assert message(tmp_path).startswith(word)
    facets = written(tmp_path, "analysis.json")["post_training_bias_metrics"]["facets"]
    assert {name: entry["value_or_threshold"] for name, (entry,) in facets.items()} == {
        "region": "islands", "age": "(60.0, +inf)",
    }  # fmt: skip
    measured = {metric["name"]: metric for metric in facets["region"][0]["metrics"]}
    assert measured["CDDPL"]["value"] is not None
    (sent,) = [
        row for row in metrics(tmp_path)
        if row["MetricName"] == "bias_metric_DPPL" and {"Name": "Facet", "Value": "region"} in row["Dimensions"]
    ]  # fmt: skip
    assert sent["Value"] == measured["DPPL"]["value"]
    assert {dimension["Name"]: dimension["Value"] for dimension in sent["Dimensions"]} == {
        "Endpoint": "endpoint", "MonitoringSchedule": "hourly", "BiasStage": "Post-Training", "Label": "repaid",
        "LabelValue": "1", "Facet": "region", "FacetValue": "islands",
    }  # fmt: skip
    assert "age in (60.0, +inf)" in (tmp_path / OUTPUT / "report.html").read_text()


def test_named_metrics_of_every_value_that_a_facet_has(tmp_path: Path) -> None:
    methods = {"pre_training_bias": {"methods": ["CI"]}, "post_training_bias": {"methods": ["DPPL", "AD"]}}
    put_config(tmp_path, facet=[{"name_or_index": "region"}], methods=methods)
    put_window(tmp_path, draw(400, 3))
    ended = analyze(tmp_path, **MODEL_BIAS, **LABELLED)
    assert ended.returncode == 0, ended.stderr
    found = written(tmp_path, "analysis.json")
    entries = found["post_training_bias_metrics"]["facets"]["region"]
    assert [entry["value_or_threshold"] for entry in entries] == ["islands", "north"]
    assert {metric["name"] for entry in entries for metric in entry["metrics"]} == {"DPPL", "AD"}
    assert [m["name"] for m in found["pre_training_bias_metrics"]["facets"]["region"][0]["metrics"]] == ["CI"]


def test_probability_of_json_answers_and_features_in_a_list(tmp_path: Path) -> None:
    put_config(tmp_path, facet=[ASKED["facet"][0]])
    loans = draw(300, 4)
    asked = [json.dumps({"features": [region, age, income]}) for region, age, income, *_ in loans]
    lines = (
        line(body, json.dumps({"score": 0.7 if loan[3] else 0.65}), encoding="JSON", inference_id=str(n))
        for n, (body, loan) in enumerate(zip(asked, loans, strict=True))
    )
    put(tmp_path, f"{SOURCE}/a.jsonl", lines)
    put(tmp_path, f"{TRUTH}/a.jsonl", (truth(str(n), str(loan[4])) for n, loan in enumerate(loans)))
    ended = analyze(
        tmp_path, **MODEL_BIAS, **{**LABELLED, "inference_attribute": ""}, features_attribute="features",
        probability_attribute="score", probability_threshold_attribute="0.66",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    ((entry,),) = written(tmp_path, "analysis.json")["post_training_bias_metrics"]["facets"].values()
    measured = {metric["name"]: metric["value"] for metric in entry["metrics"]}
    shares = [np.mean([p for r, *_, p, _ in loans if (r == "islands") is side]) for side in (False, True)]
    assert measured["DPPL"] == pytest.approx(shares[0] - shares[1])


def test_label_with_a_threshold_is_held_against_the_predicted_number(tmp_path: Path) -> None:
    put_config(tmp_path, facet=[ASKED["facet"][0]], label_values_or_threshold=[0.5])
    loans = draw(300, 8)
    answers = [round(0.6 * loan[3] + n / 10_000, 4) for n, loan in enumerate(loans)]
    lines = (
        line(f"{r},{age},{i}", str(answer), inference_id=str(n))
        for n, ((r, age, i, *_), answer) in enumerate(zip(loans, answers, strict=True))
    )
    put(tmp_path, f"{SOURCE}/a.jsonl", lines)
    put(tmp_path, f"{TRUTH}/a.jsonl", (truth(str(n), str(loan[4] / 2 + 0.25)) for n, loan in enumerate(loans)))
    ended = analyze(tmp_path, **MODEL_BIAS, **{**LABELLED, "inference_attribute": ""})
    assert ended.returncode == 0, ended.stderr
    section = written(tmp_path, "analysis.json")["post_training_bias_metrics"]
    assert section["label_value_or_threshold"] == "(0.5, +inf)"
    measured = {metric["name"]: metric["value"] for metric in section["facets"]["region"][0]["metrics"]}
    shares = [np.mean([p for r, *_, p, _ in loans if (r == "islands") is side]) for side in (False, True)]
    assert measured["DPPL"] == pytest.approx(shares[0] - shares[1])


def test_window_without_a_facet_or_without_labels_is_not_measured_and_says_so(tmp_path: Path, baseline: Path) -> None:
    put_config(tmp_path)
    put_window(tmp_path, [loan for loan in draw(600, 5) if loan[0] == "north"])
    ended = analyze(tmp_path, **MODEL_BIAS, **LABELLED, baseline_constraints=str(baseline))
    assert ended.returncode == 0, ended.stderr
    assert "region in islands was not measured: no row's 'region' is among islands" in message(tmp_path)
    facets = written(tmp_path, "analysis.json")["post_training_bias_metrics"]["facets"]
    assert {metric["value"] for metric in facets["region"][0]["metrics"]} == {None}
    assert any(metric["value"] for metric in facets["age"][0]["metrics"])
    put_config(tmp_path, methods={"post_training_bias": {"methods": ["DI"]}})
    ended = analyze(tmp_path, **MODEL_BIAS, **LABELLED)
    assert "region in islands was not measured" in message(tmp_path), ended.stderr
    put_window(tmp_path, draw(300, 6), labelled=40)
    ended = analyze(tmp_path, **MODEL_BIAS, **LABELLED)
    assert ended.returncode == 0, ended.stderr
    assert "no violations. Not measured: 40 of 300 predictions have a label; 100 are needed." in message(tmp_path)
    assert written(tmp_path, "constraint_violations.json") == {"version": "1.0", "violations": []}


@pytest.mark.parametrize(
    ("changes", "variables", "why"),
    [
        ({}, {"analysis_config": ""}, "analysis_config is missing"),
        ({"label": None}, {}, "has no label; say the column of the label"),
        ({"facet": []}, {}, "facet is an empty list"),
        ({"facet": [{"name_or_index": 9}]}, {}, "is 9, and there are 4 headers"),
        ({"facet": [{"name_or_index": "sex"}]}, {}, "a record has no column 'sex' (it has region, age, income)"),
        ({"facet": [{"name_or_index": "age"}]}, {}, "and each would be a facet (at most 50)"),
        ({"methods": {"pre_training_bias": {"methods": ["DI"]}}}, {}, "is 'DI'; it must be one of CI"),
        ({"methods": {"shap": {}}}, {}, "methods names no metric"),
        ({"headers": ["a", "a"]}, {}, "headers names a column twice"),
        ({}, {"baseline_constraints": "/opt/ml/nowhere.json"}, "cannot be read"),
        ({}, {"inference_attribute": "", "probability_attribute": "word"}, "no answer has a 'word'"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_clear_line(
    tmp_path: Path, changes: dict[str, Any], variables: dict[str, str], why: str
) -> None:
    put_config(tmp_path, **changes)
    put_window(tmp_path, draw(150, 7))
    ended = analyze(tmp_path, **{**MODEL_BIAS, **LABELLED, **variables})
    assert ended.returncode == 1
    assert why in message(tmp_path)
    assert "Traceback" not in ended.stderr


HEADERLESS = json.dumps({"csv": {"header": False}})
ALONE: dict[str, Any] = {
    "label": 0,
    "facet": [{"name_or_index": 1, "value_or_threshold": ["islands"]}],
    "group_variable": None,
}
"""Of a dataset of label, region and prediction."""


def dpl(loans: Sequence[Loan]) -> float:
    shares = [np.mean([y for r, *_, y in loans if (r == "islands") is side]) for side in (False, True)]
    return float(shares[0] - shares[1])


def measured(ml: Path, stage: str) -> dict[str, float]:
    """The metrics of the only facet."""
    ((entry,),) = written(ml, "analysis.json")[f"{stage}_training_bias_metrics"]["facets"].values()
    return {metric["name"]: metric["value"] for metric in entry["metrics"]}


@pytest.mark.parametrize("headers", [None, ["repaid", "region", "predicted"]])
@pytest.mark.parametrize("attributes", [{}, {"ground_truth_attribute": "0"}])
def test_baseline_of_files_without_a_header_line_counts_the_label_among_its_columns(
    tmp_path: Path, headers: list[str] | None, attributes: dict[str, str]
) -> None:
    put_config(tmp_path, **{**ALONE, "headers": headers})
    loans = draw(400, 9)
    put(tmp_path, f"{SOURCE}/a.csv", (f"{y},{region},{p}" for region, _, _, p, y in loans))
    ended = analyze(tmp_path, **MODEL_BIAS, dataset_format=HEADERLESS, inference_attribute="2", **attributes)
    assert ended.returncode == 0, ended.stderr
    assert measured(tmp_path, "pre")["DPL"] == pytest.approx(dpl(loans))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"label": "paid"}, "Not measured: 0 of 400 predictions have a label; 100 are needed. A baseline needs labels"),
        (
            {"facet": [{"name_or_index": 1, "value_or_threshold": ["east"]}]},
            "no row's '_c1' is among east; both facets must have rows. A baseline",
        ),
    ],
)
def test_baseline_of_nothing_is_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    put_config(tmp_path, **{**ALONE, "headers": None, **changes})
    put(tmp_path, f"{SOURCE}/a.csv", (f"{y},{region},{p}" for region, _, _, p, y in draw(400, 9)))
    ended = analyze(tmp_path, **MODEL_BIAS, dataset_format=HEADERLESS, inference_attribute="2")
    assert ended.returncode == 1
    assert why in message(tmp_path)
    assert not (tmp_path / OUTPUT / "analysis.json").exists()


def test_number_means_in_a_window_of_few_values_what_it_means_in_the_baseline(tmp_path: Path) -> None:
    facet = [{"name_or_index": 1, "value_or_threshold": [40]}]
    put_config(tmp_path, label=0, headers=None, facet=facet, group_variable=None)
    ages = [20 + n % 50 for n in range(2000)]
    put(tmp_path, f"{SOURCE}/a.csv", (f"{n % 3 > 0:d},{age},{n % 3 > 0:d}" for n, age in enumerate(ages)))
    ended = analyze(tmp_path, **MODEL_BIAS, dataset_format=HEADERLESS, inference_attribute="2")
    assert ended.returncode == 0, ended.stderr
    baseline = (tmp_path / OUTPUT / "analysis.json").rename(tmp_path / "analysis.json")
    (tmp_path / SOURCE / "a.csv").unlink()
    few = [31 + n % 20 for n in range(800)]
    put(
        tmp_path,
        f"{SOURCE}/a.jsonl",
        (line(str(age), f"{age <= 40:d}", inference_id=str(n)) for n, age in enumerate(few)),
    )
    put(tmp_path, f"{TRUTH}/a.jsonl", (truth(str(n), f"{n % 3 > 0:d}") for n in range(800)))
    ended = analyze(tmp_path, **MODEL_BIAS, **LABELLED, baseline_constraints=str(baseline))
    assert ended.returncode == 0, ended.stderr
    assert message(tmp_path).startswith("CompletedWithViolations")
    assert measured(tmp_path, "post")["DPPL"] == 1.0


def put_table(ml: Path, rows: Sequence[str], columns: str = "repaid,region,predicted") -> None:
    put(ml, f"{SOURCE}/a.csv", [columns, *rows])


@pytest.mark.parametrize(
    ("variables", "shown", "why"),
    [
        ({}, 1.0, "inference_attribute and probability_attribute are missing; name the column of the prediction"),
        (
            {"probability_attribute": "predicted"},
            31.0,
            "a record's probability is 31.0, which is no number from 0 to 1",
        ),
        ({"probability_attribute": "predicted"}, -0.25, "a record's probability is -0.25, which is no number"),
    ],
)
def test_prediction_of_a_file_is_a_named_column_and_a_probability_one_from_0_to_1(
    tmp_path: Path, variables: dict[str, str], shown: float, why: str
) -> None:
    put_config(tmp_path, **{**ALONE, "label": "repaid", "facet": [ASKED["facet"][0]], "headers": None})
    put_table(tmp_path, [f"{y},{region},{p * shown}" for region, _, _, p, y in draw(200, 10)])
    ended = analyze(tmp_path, **MODEL_BIAS, **variables)
    assert ended.returncode == 1
    assert why in message(tmp_path)


def test_labels_alone_need_no_prediction(tmp_path: Path) -> None:
    methods = {"pre_training_bias": {"methods": ["DPL"]}}
    facet = [ASKED["facet"][0]]
    put_config(tmp_path, **{**ALONE, "label": "repaid", "facet": facet, "headers": None, "methods": methods})
    loans = draw(200, 10)
    put_table(tmp_path, [f"{y},{region},{p}" for region, _, _, p, y in loans])
    ended = analyze(tmp_path, **MODEL_BIAS)
    assert ended.returncode == 0, ended.stderr
    assert measured(tmp_path, "pre")["DPL"] == pytest.approx(dpl(loans))


def test_probability_says_on_which_side_of_the_labels_threshold_a_prediction_is(tmp_path: Path) -> None:
    config = {**ALONE, "label": "repaid", "facet": [ASKED["facet"][0]], "headers": None}
    put_config(tmp_path, **config, label_values_or_threshold=[0.5])
    loans = draw(300, 11)
    put_table(tmp_path, [f"{0.25 + y / 2},{region},{0.7 + p / 5}" for region, _, _, p, y in loans])
    named = {"probability_attribute": "predicted", "probability_threshold_attribute": "0.8"}
    ended = analyze(tmp_path, **MODEL_BIAS, **named)
    assert ended.returncode == 0, ended.stderr
    shares = [np.mean([p for r, *_, p, _ in loans if (r == "islands") is side]) for side in (False, True)]
    assert measured(tmp_path, "post")["DPPL"] == pytest.approx(shares[0] - shares[1])
    put_config(tmp_path, **config, label_values_or_threshold=[1.5])
    ended = analyze(tmp_path, **MODEL_BIAS, **named)
    assert ended.returncode == 1
    assert "label_values_or_threshold is a threshold of 1.5, and ProbabilityAttribute predicts 0 or 1" in message(
        tmp_path
    )


@pytest.mark.parametrize("inference", ["predicted", "3"])
@pytest.mark.parametrize("given", [["01"], None])
def test_codes_of_a_file_keep_their_zeros(tmp_path: Path, given: list[str] | None, inference: str) -> None:
    facet = {"name_or_index": "region"} if given is None else {"name_or_index": "region", "value_or_threshold": given}
    put_config(tmp_path, headers=None, facet=[facet], label_values_or_threshold=["07"])
    loans = draw(300, 12)
    region, outcome = {"islands": "01", "north": "02"}, ("06", "07")
    rows = [f"{outcome[y]},{region[r]},0{len(i)}, {outcome[p]}" for r, _, i, p, y in loans]
    put_table(tmp_path, rows, "repaid,region,income,predicted")
    ended = analyze(tmp_path, **MODEL_BIAS, inference_attribute=inference)
    assert ended.returncode == 0, ended.stderr
    entries = written(tmp_path, "analysis.json")["post_training_bias_metrics"]["facets"]["region"]
    assert [entry["value_or_threshold"] for entry in entries] == (given or ["01", "02"])
    shares = [np.mean([p for r, *_, p, _ in loans if (r == "islands") is side]) for side in (False, True)]
    found = {metric["name"]: metric["value"] for metric in entries[0]["metrics"]}
    assert found["DPPL"] == pytest.approx(shares[0] - shares[1])


def test_whole_numbers_with_a_decimal_point_are_the_same_facet(tmp_path: Path) -> None:
    put_config(tmp_path, headers=None, facet=[{"name_or_index": "region"}], group_variable=None)
    put_table(tmp_path, [f"{y},{float(r == 'islands')},{p}" for r, _, _, p, y in draw(300, 13)])
    ended = analyze(tmp_path, **MODEL_BIAS, inference_attribute="predicted")
    assert ended.returncode == 0, ended.stderr
    entries = written(tmp_path, "analysis.json")["post_training_bias_metrics"]["facets"]["region"]
    assert [entry["value_or_threshold"] for entry in entries] == ["0", "1"]
