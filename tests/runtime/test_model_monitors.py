"""Schedules of the kinds that look at a model, by a real boto3 client: an endpoint that captures, and ground truth."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.runtime.jobs import Jobs
from tests.runtime.process import RuntimeProcess, running, until
from tests.runtime.schedules import CLARIFY, INPUT, Schedules, definition_of, suggest_baseline
from tests.runtime.test_data_capture import capture, when_captured
from tests.runtime.test_endpoints import Endpoint

WINDOW = {"DataAnalysisStartTime": "-PT1H", "DataAnalysisEndTime": "-PT0H"}
SCORES = """
import json
def model_fn(model_dir):
    return None
def input_fn(body, content_type):
    return [[float(cell) for cell in line.split(",")] for line in body.decode().splitlines()]
def predict_fn(rows, model):
    return [3 * size + 0.5 * age for size, age, group in rows]
def output_fn(scores, accept):
    return "\\n".join(f"{int(score > 0)},{1 / (1 + 2.718281828 ** -score):.6f}" for score in scores)
"""
"""A model of three numbers, of which the first matters most and the last not at all; answers label and probability."""


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    with running(tmp_path_factory.mktemp("monitored")) as process:
        yield process


@pytest.fixture(scope="module")
def schedules(monitored: RuntimeProcess) -> Schedules:
    return Schedules(Jobs(monitored))


@pytest.fixture(scope="module")
def endpoint(schedules: Schedules) -> Endpoint:
    """It captures what it is asked and answers."""
    jobs = schedules.jobs
    made = Endpoint(jobs)
    made.create(jobs.endpoint_config(jobs.model(SCORES), capture=capture("s3://bucket/traffic")))
    return made


def draw(rows: int, seed: int) -> list[tuple[float, float, int]]:
    dice = random.Random(seed)
    return [(round(dice.gauss(0, 1), 4), round(dice.gauss(0, 1), 4), dice.randrange(2)) for _ in range(rows)]


def ask(endpoint: Endpoint, rows: Sequence[tuple[float, float, int]], name: str) -> list[str]:
    """Send the rows, ten a request, and wait until they are captured; the inference ids, one a request."""
    ids = [f"{name}-{first}" for first in range(0, len(rows), 10)]
    for index, inference_id in enumerate(ids):
        body = "\n".join(",".join(map(str, row)) for row in rows[10 * index : 10 * index + 10])
        endpoint.ask(body, InferenceId=inference_id)

    def are_captured() -> bool:
        lines = when_captured(endpoint.jobs, f"traffic/{endpoint.name}/", 1)
        return set(ids) <= {line["eventMetadata"]["inferenceId"] for line in lines}

    until(are_captured, 30, f"the capture of {name}")
    return ids


def put_truth(jobs: Jobs, ids: Sequence[str], labels: Sequence[int], prefix: str) -> str:
    """Ground truth, as Model Monitor takes it, of ten labels an id; by the hour in which it is put."""
    lines = [
        json.dumps(
            {
                "groundTruthData": {"data": "\n".join(map(str, labels[10 * n : 10 * n + 10])), "encoding": "CSV"},
                "eventMetadata": {"eventId": inference_id},
                "eventVersion": "0",
            }
        )
        for n, inference_id in enumerate(ids)
    ]
    jobs.put(f"{prefix}/{datetime.now(UTC):%Y/%m/%d/%H}/labels.jsonl", "\n".join(lines).encode())
    return f"s3://bucket/{prefix}"


def right(rows: Sequence[tuple[float, float, int]], seed: int, wrong: float) -> list[int]:
    """Labels that the model predicts, but for a share of `wrong`."""
    dice = random.Random(seed)
    return [int(3 * size + 0.5 * age > 0) ^ (dice.random() < wrong) for size, age, _ in rows]


def output(jobs: Jobs, prefix: str, name: str) -> Any:
    """A file of an execution's output."""
    listed = jobs.s3.list_objects_v2(Bucket="bucket", Prefix=prefix)["Contents"]
    (key,) = [item["Key"] for item in listed if item["Key"].endswith(f"/{name}")]
    return json.loads(jobs.s3.get_object(Bucket="bucket", Key=key)["Body"].read())


@pytest.fixture(scope="module")
def quality_baseline(schedules: Schedules) -> dict[str, Any]:
    """The baselining job of the SDK's ModelQualityMonitor, on predictions of which one in twenty is wrong."""
    rows = draw(1000, 1)
    labels = right(rows, 2, 0.05)
    lines = [f"{int(3 * size + 0.5 * age > 0)},{label}" for (size, age, _), label in zip(rows, labels, strict=True)]
    data = schedules.jobs.put("quality/train.csv", "\n".join(["prediction,label", *lines]).encode())
    ended = suggest_baseline(
        schedules.jobs, data, "s3://bucket/quality/baseline", analysis_type="MODEL_QUALITY",
        problem_type="BinaryClassification", inference_attribute="prediction", ground_truth_attribute="label",
    )  # fmt: skip
    assert ended["ProcessingJobStatus"] == "Completed", ended.get("FailureReason")
    return {"BaseliningJobName": ended["ProcessingJobName"]}


@pytest.mark.parametrize(("wrong", "status"), [(0.05, "Completed"), (0.4, "CompletedWithViolations")])
def test_model_quality_of_an_endpoint_by_the_labels_that_came(
    schedules: Schedules, endpoint: Endpoint, quality_baseline: dict[str, Any], wrong: float, status: str
) -> None:
    jobs, name = schedules.jobs, f"quality-{wrong}"
    rows = draw(300, 3)
    ids = ask(endpoint, rows, name)
    truth = put_truth(jobs, ids, right(rows, 4, wrong), f"truth/{name}")
    source = {
        "EndpointInput": {"EndpointName": endpoint.name, "LocalPath": INPUT, "InferenceAttribute": "0"},
        "GroundTruthS3Input": {"S3Uri": truth},
    }
    application = {"ProblemType": "BinaryClassification"}
    defined = definition_of("ModelQuality", jobs, source, f"s3://bucket/{name}", quality_baseline, application)
    schedule = schedules.create(defined, "NOW", kind="ModelQuality", **WINDOW)
    (execution,) = schedules.ended(schedule)
    assert execution["MonitoringExecutionStatus"] == status, execution.get("FailureReason")
    assert execution["MonitoringType"] == "ModelQuality"
    found = output(jobs, f"{name}/{endpoint.name}/{schedule}/", "statistics.json")["binary_classification_metrics"]
    assert found["accuracy"]["value"] == pytest.approx(1 - wrong, abs=0.06)
    violations = output(jobs, f"{name}/", "constraint_violations.json")["violations"]
    assert ("accuracy" in {violation["metric_name"] for violation in violations}) is (status != "Completed")
    assert output(jobs, f"{name}/", "coverage.json")["labelled"] == 300
    cloudwatch, now = jobs.runtime.client("cloudwatch"), execution["ScheduledTime"]

    def sent() -> list[float]:
        points = cloudwatch.get_metric_statistics(
            Namespace="aws/sagemaker/Endpoints/model-metrics", MetricName="accuracy", Period=60, Statistics=["Average"],
            StartTime=now - timedelta(minutes=5), EndTime=now + timedelta(minutes=5),
            Dimensions=[{"Name": "Endpoint", "Value": endpoint.name}, {"Name": "MonitoringSchedule", "Value": schedule}],
        )["Datapoints"]  # fmt: skip
        return [point["Average"] for point in points]

    assert until(sent, 60, "the accuracy in CloudWatch") == [pytest.approx(found["accuracy"]["value"])]


@pytest.fixture(scope="module")
def bias_config(schedules: Schedules) -> str:
    config = {
        "headers": ["size", "age", "group", "label"], "label": "label", "label_values_or_threshold": [1],
        "facet": [{"name_or_index": "group", "value_or_threshold": [1]}],
    }  # fmt: skip
    return schedules.jobs.put("bias/analysis_config.json", json.dumps(config).encode())


@pytest.fixture(scope="module")
def bias_baseline(schedules: Schedules) -> dict[str, Any]:
    """Constraints as Clarify's baselining job writes them: its analysis.json."""
    metrics = [{"name": name, "description": name, "value": 0.1} for name in ("DPPL", "AD")]
    facets = {"group": [{"value_or_threshold": "1", "metrics": metrics}]}
    section = {"label": "label", "label_value_or_threshold": "1", "facets": facets}
    document = json.dumps({"version": "1.0", "post_training_bias_metrics": section})
    return {"ConstraintsResource": {"S3Uri": schedules.jobs.put("bias/analysis.json", document.encode())}}


@pytest.mark.parametrize(("shift", "status"), [(0.0, "Completed"), (1.5, "CompletedWithViolations")])
def test_bias_of_an_endpoint_by_clarifys_configuration(
    schedules: Schedules, endpoint: Endpoint, bias_config: str, bias_baseline: dict[str, Any], shift: float, status: str
) -> None:
    jobs, name = schedules.jobs, f"bias-{shift}"
    rows = [(size - shift * group, age, group) for size, age, group in draw(400, 6)]
    ids = ask(endpoint, rows, name)
    source = {
        "EndpointInput": {"EndpointName": endpoint.name, "LocalPath": INPUT, "InferenceAttribute": "0"},
        "GroundTruthS3Input": {"S3Uri": put_truth(jobs, ids, right(rows, 7, 0.05), f"truth/{name}")},
    }
    application = {"ImageUri": CLARIFY, "ConfigUri": bias_config}
    defined = definition_of("ModelBias", jobs, source, f"s3://bucket/{name}", bias_baseline, application)
    schedule = schedules.create(defined, "NOW", kind="ModelBias", **WINDOW)
    (execution,) = schedules.ended(schedule)
    assert execution["MonitoringExecutionStatus"] == status, execution.get("FailureReason")
    violations = output(jobs, f"{name}/{endpoint.name}/{schedule}/", "constraint_violations.json")["violations"]
    assert [violation["metric_name"] for violation in violations] == (["DPPL"] if shift else [])
    (entry,) = output(jobs, f"{name}/", "analysis.json")["post_training_bias_metrics"]["facets"]["group"]
    accepted = {g: [3 * size + 0.5 * age > 0 for size, age, group in rows if group == g] for g in (0, 1)}
    measured = {metric["name"]: metric["value"] for metric in entry["metrics"]}
    assert measured["DPPL"] == pytest.approx(sum(accepted[0]) / len(accepted[0]) - sum(accepted[1]) / len(accepted[1]))


def shap_config(jobs: Jobs, name: str, model: str, **shap: Any) -> str:
    config = {
        "headers": ["size", "age", "group"],
        "methods": {"shap": {"baseline": [[0, 0, 0]], "num_samples": 16, "agg_method": "mean_abs", **shap}},
        "predictor": {"model_name": model, "instance_type": "ml.c5.large", "initial_instance_count": 1},
    }
    return jobs.put(f"shap/{name}/analysis_config.json", json.dumps(config).encode())


def shap_baseline(jobs: Jobs, name: str, values: dict[str, float]) -> dict[str, Any]:
    """Constraints as Clarify's baselining job writes them: its analysis.json."""
    explanations = {"kernel_shap": {"label0": {"global_shap_values": values, "expected_value": 0.5}}}
    document = json.dumps({"version": "1.0", "explanations": explanations}).encode()
    return {"ConstraintsResource": {"S3Uri": jobs.put(f"shap/{name}/analysis.json", document)}}


def shadows(jobs: Jobs) -> list[str]:
    """What is left of shadow endpoints."""
    endpoints = jobs.sagemaker.list_endpoints(NameContains="sm-clarify")["Endpoints"]
    configs = jobs.sagemaker.list_endpoint_configs(NameContains="sm-clarify")["EndpointConfigs"]
    return [row["EndpointName"] for row in endpoints] + [row["EndpointConfigName"] for row in configs]


def explain(schedules: Schedules, endpoint: Endpoint, name: str, config: str, baseline: dict[str, Any]) -> str:
    """Schedule the explanation of what the endpoint was asked, now; the schedule's name."""
    ask(endpoint, draw(50, 8), name)
    source = {"EndpointInput": {"EndpointName": endpoint.name, "LocalPath": INPUT, "ProbabilityAttribute": "1"}}
    application = {"ImageUri": CLARIFY, "ConfigUri": config}
    kind = "ModelExplainability"
    defined = definition_of(kind, schedules.jobs, source, f"s3://bucket/{name}", baseline, application)
    return schedules.create(defined, "NOW", kind=kind, **WINDOW)


AS_THE_MODEL = {"size": 0.4, "age": 0.05, "group": 0.0}
ANOTHER = {"group": 0.4, "age": 0.05, "size": 0.0}


@pytest.mark.parametrize(("values", "status"), [(AS_THE_MODEL, "Completed"), (ANOTHER, "CompletedWithViolations")])
def test_attributions_of_an_endpoint_by_a_shadow_endpoint_that_is_gone_afterwards(
    schedules: Schedules, endpoint: Endpoint, values: dict[str, float], status: str
) -> None:
    jobs, name = schedules.jobs, f"shap-{next(iter(values))}"
    model = jobs.sagemaker.describe_endpoint_config(
        EndpointConfigName=jobs.sagemaker.describe_endpoint(EndpointName=endpoint.name)["EndpointConfigName"]
    )["ProductionVariants"][0]["ModelName"]
    schedule = explain(schedules, endpoint, name, shap_config(jobs, name, model), shap_baseline(jobs, name, values))
    (execution,) = schedules.ended(schedule)
    assert execution["MonitoringExecutionStatus"] == status, execution.get("FailureReason")
    found = output(jobs, f"{name}/{endpoint.name}/{schedule}/", "analysis.json")
    label = found["explanations"]["kernel_shap"]["label0"]
    assert label["global_shap_values"]["size"] > label["global_shap_values"]["age"] > 0.01
    assert label["global_shap_values"]["group"] == 0
    assert label["expected_value"] == pytest.approx(0.5)
    violations = output(jobs, f"{name}/", "constraint_violations.json")["violations"]
    assert [violation["constraint_check_type"] for violation in violations] == (
        ["feature_attribution_drift_check"] if values is ANOTHER else []
    )
    assert shadows(jobs) == []


def test_model_that_does_not_load_fails_the_execution_and_leaves_no_endpoint(
    schedules: Schedules, endpoint: Endpoint
) -> None:
    jobs = schedules.jobs
    model = jobs.model("def model_fn(model_dir):\n    raise OSError('weights are missing')\n")
    schedule = explain(schedules, endpoint, "broken", shap_config(jobs, "broken", model), {})
    (execution,) = schedules.ended(schedule)
    assert execution["MonitoringExecutionStatus"] == "Failed"
    assert "did not come into service" in execution["FailureReason"]
    assert "weights are missing" in execution["FailureReason"]
    assert shadows(jobs) == []


SLOW = """
import time
def model_fn(model_dir):
    return None
def input_fn(body, content_type):
    return body
def predict_fn(data, model):
    time.sleep(30)
def output_fn(prediction, accept):
    return "0,0"
"""


def test_stopped_job_takes_its_shadow_endpoint_with_it_and_a_killed_one_leaves_it_to_the_next(
    schedules: Schedules, endpoint: Endpoint, monitored: RuntimeProcess
) -> None:
    jobs = schedules.jobs
    schedule = explain(schedules, endpoint, "slow", shap_config(jobs, "slow", jobs.model(SLOW)), {})

    def in_service() -> str | None:
        rows = jobs.sagemaker.list_endpoints(NameContains="sm-clarify", StatusEquals="InService")["Endpoints"]
        return rows[0]["EndpointName"] if rows else None

    killed = until(in_service, 60, "the shadow endpoint")
    for process in monitored.find("monitoring/analyzer.py"):
        process.kill()
    (first,) = schedules.ended(schedule)
    assert first["MonitoringExecutionStatus"] == "Failed"
    assert killed in shadows(jobs)
    schedules.sagemaker.start_monitoring_schedule(MonitoringScheduleName=schedule)
    until(lambda: in_service() not in (None, killed), 60, "the next shadow endpoint")
    assert killed not in shadows(jobs)
    running_job = schedules.executions(schedule, StatusEquals="InProgress")[0]["ProcessingJobArn"]
    schedules.sagemaker.stop_processing_job(ProcessingJobName=running_job.rpartition("/")[2])
    assert [row["MonitoringExecutionStatus"] for row in schedules.ended(schedule, 2)] == ["Failed", "Stopped"]
    assert shadows(jobs) == []


def test_window_whose_labels_have_not_come_fails_in_sagemakers_words(schedules: Schedules, endpoint: Endpoint) -> None:
    ask(endpoint, draw(10, 5), "early")
    source = {
        "EndpointInput": {"EndpointName": endpoint.name, "LocalPath": INPUT, "InferenceAttribute": "0"},
        "GroundTruthS3Input": {"S3Uri": "s3://bucket/no-truth"},
    }
    application = {"ProblemType": "BinaryClassification"}
    defined = definition_of("ModelQuality", schedules.jobs, source, "s3://bucket/early", {}, application)
    (execution,) = schedules.ended(schedules.create(defined, "NOW", kind="ModelQuality", **WINDOW))
    assert execution["MonitoringExecutionStatus"] == "Failed"
    assert execution["FailureReason"].startswith('No S3 objects found under S3 URL "s3://bucket/no-truth"')
