"""Clarify's own processing job, as the SageMaker SDK asks for it: the baselines of its monitors of bias and explanations."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.runtime.jobs import CLUSTER, Jobs
from tests.runtime.process import ROLE, running
from tests.runtime.schedules import CLARIFY, OUTPUT

SCORE = """
def model_fn(model_dir):
    return None
def input_fn(body, content_type):
    return [[float(cell) for cell in line.split(",")] for line in body.decode().splitlines()]
def predict_fn(rows, model):
    return [1 / (1 + 2.718281828 ** -(3 * size - 2 * group)) for size, group in rows]
def output_fn(scores, accept):
    return "\\n".join(f"{score:.6f}" for score in scores)
"""
"""A model of two numbers, that answers probabilities."""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    with running(tmp_path_factory.mktemp("clarify")) as process:
        yield Jobs(process)


@pytest.fixture(scope="module")
def rows(jobs: Jobs) -> list[tuple[float, int, int]]:
    """Size, group and label of the dataset."""
    dice = random.Random(1)
    found = []
    for _ in range(200):
        size, group = round(dice.gauss(0, 1), 4), dice.randrange(2)
        found.append((size, group, int(dice.random() < 0.5)))
    jobs.put("clarify/data/train.csv", "".join(f"{size},{label},{group}\n" for size, group, label in found).encode())
    return found


def clarify(jobs: Jobs, config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The ended job, and its analysis.json if it has completed."""
    name = jobs.name("clarify")
    config_uri = jobs.put(f"clarify/{name}/analysis_config.json", json.dumps(config).encode())
    inputs = {"analysis_config": (config_uri, "config"), "dataset": ("s3://bucket/clarify/data", "data")}
    output = {"S3Uri": f"s3://bucket/clarify/{name}/output", "LocalPath": OUTPUT, "S3UploadMode": "EndOfJob"}
    jobs.sagemaker.create_processing_job(
        ProcessingJobName=name,
        RoleArn=ROLE,
        AppSpecification={"ImageUri": CLARIFY},
        ProcessingInputs=[
            {
                "InputName": what,
                "S3Input": {
                    "S3Uri": uri, "LocalPath": f"/opt/ml/processing/input/{folder}", "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
            for what, (uri, folder) in inputs.items()
        ],
        ProcessingOutputConfig={"Outputs": [{"OutputName": "analysis_result", "S3Output": output}]},
        ProcessingResources={"ClusterConfig": CLUSTER},
    )  # fmt: skip
    ended = jobs.end("processing", name)
    if ended["ProcessingJobStatus"] != "Completed":
        return ended, None
    body = jobs.s3.get_object(Bucket="bucket", Key=f"clarify/{name}/output/analysis.json")["Body"].read()
    return ended, json.loads(body)


def asked(jobs: Jobs, **changes: Any) -> dict[str, Any]:
    """What the SDK writes into analysis_config.json for run()."""
    model = jobs.model(SCORE)
    return {
        "dataset_type": "text/csv",
        "headers": ["size", "label", "group"],
        "label": "label",
        "label_values_or_threshold": [1],
        "facet": [{"name_or_index": "group", "value_or_threshold": [1]}],
        "probability_threshold": 0.8,
        "methods": {
            "report": {"name": "report", "title": "Analysis Report"},
            "pre_training_bias": {"methods": "all"},
            "post_training_bias": {"methods": "all"},
            "shap": {"baseline": [[0.0, 0]], "num_samples": 20, "agg_method": "mean_abs"},
        },
        "predictor": {"model_name": model, "instance_type": "ml.c5.large", "initial_instance_count": 1},
        **changes,
    }


def test_bias_and_explanations_of_a_dataset_whose_predictions_are_asked_of_the_model(
    jobs: Jobs, rows: list[tuple[float, int, int]]
) -> None:
    ended, found = clarify(jobs, asked(jobs))
    assert found is not None, ended.get("FailureReason")
    (entry,) = found["post_training_bias_metrics"]["facets"]["group"]
    measured = {metric["name"]: metric["value"] for metric in entry["metrics"]}
    accepted = {
        side: [1 / (1 + 2.718281828 ** -(3 * size - 2 * group)) > 0.8 for size, group, _ in rows if group == side]
        for side in (0, 1)
    }
    assert measured["DPPL"] == pytest.approx(sum(accepted[0]) / len(accepted[0]) - sum(accepted[1]) / len(accepted[1]))
    (labels,) = found["pre_training_bias_metrics"]["facets"]["group"]
    shares = {side: [label for _, group, label in rows if group == side] for side in (0, 1)}
    dpl = sum(shares[0]) / len(shares[0]) - sum(shares[1]) / len(shares[1])
    assert {metric["name"]: metric["value"] for metric in labels["metrics"]}["DPL"] == pytest.approx(dpl)
    values = found["explanations"]["kernel_shap"]["label0"]["global_shap_values"]
    assert list(values) == ["size", "group"]
    assert values["size"] > values["group"] > 0.05
    assert jobs.sagemaker.list_endpoints(NameContains="sm-clarify")["Endpoints"] == []


def test_bias_of_labels_alone_asks_no_model(jobs: Jobs, rows: list[tuple[float, int, int]]) -> None:
    config = asked(jobs, methods={"pre_training_bias": {"methods": ["CI", "DPL"]}})
    del config["predictor"]
    ended, found = clarify(jobs, config)
    assert found is not None, ended.get("FailureReason")
    assert list(found) == ["version", "pre_training_bias_metrics"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"methods": {"pdp": {}}}, "methods names 'pdp'; offered are pre_training_bias, post_training_bias, shap"),
        ({"methods": {"report": {}}}, "methods names no method"),
        ({"excluded_columns": ["size"]}, "excluded_columns is not offered"),
        ({"headers": None, "label": 1}, "label is a position, and there are no headers"),
        ({"dataset_type": "application/x-image"}, "must be one of text/csv"),
        ({"predictor": {"model_name": "nowhere"}}, 'Could not find model "nowhere"'),
    ],
)
def test_configuration_that_is_not_offered_fails_with_one_clear_line(
    jobs: Jobs, rows: list[tuple[float, int, int]], changes: dict[str, Any], why: str
) -> None:
    ended, _ = clarify(jobs, asked(jobs, **changes))
    assert ended["ProcessingJobStatus"] == "Failed"
    assert why in ended["ExitMessage"]
