"""What a processing job is asked for on behalf of an execution, for every kind of definition: pure, from what is in S3."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from millrace.runtime import monitoring_definition
from millrace.runtime.database import Database
from millrace.runtime.errors import JobFailed
from millrace.runtime.monitoring_definition import KINDS
from millrace.runtime.monitoring_execution import Execution, processing_request
from millrace.runtime.own_storage import OwnStorage
from millrace.runtime.s3.store import ObjectStore
from millrace.runtime.schedule_times import Window
from tests.runtime.schedules import OUTPUT, batch, definition

HOUR = 1_769_871_600.0  # 2026-01-31T15:00:00Z
EXECUTION = Execution(schedule="hourly", job_name="job", scheduled=HOUR, window=Window(HOUR - 5400, HOUR - 1800))


class World:
    """A database and a store to make requests from."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(folder / "runtime.sqlite")
        self.objects = ObjectStore(folder / "s3")
        self.objects.create_bucket("bucket")

    def put(self, *keys: str) -> None:
        for key in keys:
            self.objects.put_bytes("bucket", key, b"x")

    def request(self, kind: str, request: dict[str, Any], execution: Execution = EXECUTION) -> dict[str, Any]:
        found = monitoring_definition.of_kind(KINDS[kind], request)
        return processing_request(found, execution, self.database, OwnStorage(self.objects))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.database.close()
    made.objects.close()


def inputs(request: dict[str, Any]) -> dict[str, str]:
    """Local path to URI."""
    return {item["S3Input"]["LocalPath"]: item["S3Input"]["S3Uri"] for item in request["ProcessingInputs"]}


def test_hours_of_the_window_are_the_inputs(world: World) -> None:
    world.put(*(f"data/2026/01/31/{hour}/a.csv" for hour in (12, 13, 14, 15)), "data/README")
    asked = world.request("DataQuality", definition("d", batch("s3://bucket/data/"), "s3://bucket/out/", {}))
    assert inputs(asked) == {
        f"/opt/ml/processing/input/data/2026/01/31/{hour}": f"s3://bucket/data/2026/01/31/{hour}/" for hour in (13, 14)
    }
    assert asked["Environment"] == {
        "publish_cloudwatch_metrics": "Enabled", "analysis_type": "DATA_QUALITY",
        "dataset_format": '{"csv": {"header": true}}', "dataset_source": "/opt/ml/processing/input/data",
        "output_path": OUTPUT, "start_time": "2026-01-31T13:30:00Z", "end_time": "2026-01-31T14:30:00Z",
        "sagemaker_monitoring_schedule_name": "hourly",
    }  # fmt: skip
    (output,) = asked["ProcessingOutputConfig"]["Outputs"]
    assert output["S3Output"]["S3Uri"] == "s3://bucket/out/hourly/2026/01/31/15"


def test_prefix_without_dated_folders_is_taken_whole(world: World) -> None:
    world.put("data/a.csv", "data/b/c.csv")
    asked = world.request("DataQuality", definition("d", batch("s3://bucket/data"), "s3://bucket/out", {}))
    assert inputs(asked) == {"/opt/ml/processing/input/data": "s3://bucket/data/"}


@pytest.mark.parametrize("key", ["data/2026/01/31/12/a.csv", "database/a.csv", "data/"])
def test_window_without_data_fails_in_sagemakers_words(world: World, key: str) -> None:
    world.put(key)
    with pytest.raises(
        JobFailed, match=r'^No S3 objects found under S3 URL "s3://bucket/data" given in input data source'
    ):
        world.request("DataQuality", definition("d", batch("s3://bucket/data"), "s3://bucket/out", {}))


def test_baseline_is_what_is_given_or_what_a_baselining_job_has_written(world: World) -> None:
    world.put("data/a.csv")
    outputs = [{"OutputName": "o", "S3Output": {"S3Uri": "s3://bucket/baseline/", "LocalPath": OUTPUT}}]
    job = {"request": {"ProcessingOutputConfig": {"Outputs": outputs}}}
    world.database.insert("processing-job", "baselining", "arn", "Completed", job, {})
    given = {"BaseliningJobName": "baselining", "ConstraintsResource": {"S3Uri": "s3://bucket/edited.json"}}
    asked = world.request("DataQuality", definition("d", batch("s3://bucket/data"), "s3://bucket/out", given))
    found = inputs(asked)
    assert found["/opt/ml/processing/baseline/constraints"] == "s3://bucket/edited.json"
    assert found["/opt/ml/processing/baseline/statistics"] == "s3://bucket/baseline/statistics.json"
    variables = asked["Environment"]
    assert variables["baseline_constraints"] == "/opt/ml/processing/baseline/constraints/edited.json"
    assert variables["baseline_statistics"] == "/opt/ml/processing/baseline/statistics/statistics.json"
    gone = {"BaseliningJobName": "nowhere"}
    with pytest.raises(JobFailed, match="the baselining job nowhere is not there"):
        world.request("DataQuality", definition("d", batch("s3://bucket/data"), "s3://bucket/out", gone))


def of_kind(kind: str, application: dict[str, Any], **truth: Any) -> dict[str, Any]:
    asked = definition("d", batch("s3://bucket/data"), "s3://bucket/out", {})
    request = {key.replace("DataQuality", kind): value for key, value in asked.items()}
    request[f"{kind}JobInput"] = {"BatchTransformInput": {
        **batch("s3://bucket/data")["BatchTransformInput"], "InferenceAttribute": "0",
    }, **truth}  # fmt: skip
    return request | {f"{kind}AppSpecification": application}


def test_ground_truth_and_configuration_come_with_the_kinds_that_have_them(world: World) -> None:
    world.put("data/a.csv", *(f"truth/2026/01/31/{hour}/a.jsonl" for hour in (12, 14, 16, 17)))
    truth = {"GroundTruthS3Input": {"S3Uri": "s3://bucket/truth"}}
    late = replace(EXECUTION, scheduled=HOUR + 7200)
    asked = world.request(
        "ModelQuality", of_kind("ModelQuality", {"ImageUri": "i", "ProblemType": "Regression"}, **truth), late
    )
    at = "/opt/ml/processing/groundtruth"
    found = {local: uri for local, uri in inputs(asked).items() if local.startswith(at)}
    # The date is that of the label: from the window's start to the execution.
    assert found == {f"{at}/2026/01/31/{hour}": f"s3://bucket/truth/2026/01/31/{hour}/" for hour in (14, 16)}
    told = {name: asked["Environment"][name] for name in ("analysis_type", "problem_type", "ground_truth_source")}
    assert told == {"analysis_type": "MODEL_QUALITY", "problem_type": "Regression", "ground_truth_source": at}
    assert asked["Environment"]["inference_attribute"] == "0"
    application = {"ImageUri": "i", "ConfigUri": "s3://bucket/config/analysis_config.json"}
    asked = world.request("ModelExplainability", of_kind("ModelExplainability", application))
    assert inputs(asked)["/opt/ml/processing/input/config"] == "s3://bucket/config/analysis_config.json"
    assert asked["Environment"]["analysis_config"] == "/opt/ml/processing/input/config/analysis_config.json"


@pytest.mark.parametrize(
    ("kind", "files"),
    [("ModelQuality", ["constraints/constraints.json"]), ("ModelBias", ["constraints/analysis.json"])],
)
def test_baselining_job_of_another_kind_has_written_its_own_files(world: World, kind: str, files: list[str]) -> None:
    world.put("data/a.csv", "truth/2026/01/31/14/a.jsonl")
    outputs = [{"OutputName": "o", "S3Output": {"S3Uri": "s3://bucket/baseline", "LocalPath": OUTPUT}}]
    job = {"request": {"ProcessingOutputConfig": {"Outputs": outputs}}}
    world.database.insert("processing-job", "baselining", "arn", "Completed", job, {})
    request = of_kind(kind, {"ImageUri": "i"}, GroundTruthS3Input={"S3Uri": "s3://bucket/truth"})
    asked = world.request(kind, request | {f"{kind}BaselineConfig": {"BaseliningJobName": "baselining"}})
    told = {name: value for name, value in asked["Environment"].items() if name.startswith("baseline_")}
    assert list(told.values()) == [f"/opt/ml/processing/baseline/{file}" for file in files]


def test_ground_truth_that_has_not_come_fails_in_the_same_words(world: World) -> None:
    world.put("data/a.csv")
    truth = {"GroundTruthS3Input": {"S3Uri": "s3://bucket/truth"}}
    with pytest.raises(JobFailed, match='No S3 objects found under S3 URL "s3://bucket/truth"'):
        world.request("ModelBias", of_kind("ModelBias", {"ImageUri": "i", "ConfigUri": "s3://bucket/c.json"}, **truth))
