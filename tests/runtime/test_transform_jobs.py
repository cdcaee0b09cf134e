"""Batch transform over a real served model: order, joins, filters, bad records."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runtime.jobs import CLUSTER, Jobs

DOUBLES = """
import json
calls = []
def model_fn(model_dir):
    return 2
def input_fn(body, content_type):
    text = body.decode()
    if content_type == "text/csv":
        return [float(line.split(",")[0]) for line in text.splitlines()]
    return [json.loads(line)["x"] for line in text.splitlines()]
def predict_fn(data, model):
    print("batch of", len(data), flush=True)
    return [value * model for value in data]
def output_fn(prediction, accept):
    return "".join(f"{value}\\n" for value in prediction)
"""


def transform(jobs: Jobs, prefix: str, **changes: Any) -> tuple[str, dict[str, Any]]:
    name = jobs.name("transform")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://bucket/{prefix}"}}
    content_type = changes.pop("content_type", "text/csv")
    request: dict[str, Any] = {
        "TransformJobName": name,
        "ModelName": jobs.model(DOUBLES),
        "BatchStrategy": "MultiRecord",
        "TransformInput": {"DataSource": source, "ContentType": content_type, "SplitType": "Line"},
        "TransformOutput": {"S3OutputPath": f"s3://bucket/out-{name}", "Accept": content_type, "AssembleWith": "Line"},
        "TransformResources": {"InstanceType": CLUSTER["InstanceType"], "InstanceCount": 1},
    }
    jobs.sagemaker.create_transform_job(**request | changes)
    return name, jobs.end("transform", name)


def output(jobs: Jobs, name: str) -> dict[str, str]:
    listed = jobs.s3.list_objects_v2(Bucket="bucket", Prefix=f"out-{name}/").get("Contents", [])
    return {
        item["Key"].removeprefix(f"out-{name}/"): jobs.s3.get_object(Bucket="bucket", Key=item["Key"])["Body"]
        .read()
        .decode()
        for item in listed
    }


def test_every_object_gets_an_output_in_order_with_predictions_joined(jobs: Jobs) -> None:
    jobs.put("t1/a.csv", b"1,one\n2,two\n")
    jobs.put("t1/deep/b.csv", b"3,three\n")
    name, description = transform(jobs, "t1/", DataProcessing={"JoinSource": "Input"})
    assert description["TransformJobStatus"] == "Completed", description.get("FailureReason")
    assert output(jobs, name) == {"a.csv.out": "1,one,2.0\n2,two,4.0\n", "deep/b.csv.out": "3,three,6.0\n"}


def test_json_lines_gain_sagemaker_output_and_filters_choose(jobs: Jobs) -> None:
    jobs.put("t2/a.jsonl", b'{"x": 1, "id": "p"}\n{"x": 5, "id": "q"}\n')
    name, description = transform(
        jobs, "t2/", content_type="application/jsonlines",
        DataProcessing={"JoinSource": "Input", "OutputFilter": "$['id']"},
    )  # fmt: skip
    assert description["TransformJobStatus"] == "Completed", description.get("FailureReason")
    assert output(jobs, name) == {"a.jsonl.out": '"p"\n"q"\n'}


@pytest.mark.parametrize(("strategy", "batches"), [("MultiRecord", 1), ("SingleRecord", 3)])
def test_batch_strategy_decides_how_often_the_model_is_asked(jobs: Jobs, strategy: str, batches: int) -> None:
    jobs.put(f"t3-{strategy}/a.csv", b"1\n2\n3\n")
    name, _ = transform(jobs, f"t3-{strategy}/", BatchStrategy=strategy)
    assert len([line for line in jobs.lines("transform", name) if line.startswith("batch of")]) == batches
    assert output(jobs, name) == {"a.csv.out": "2.0\n4.0\n6.0\n"}


def test_object_with_a_bad_record_has_no_output_and_fails_the_job_while_others_go_on(jobs: Jobs) -> None:
    jobs.put("t4/good.csv", b"1\n")
    jobs.put("t4/bad.csv", b"x\n")
    name, description = transform(jobs, "t4/")
    assert description["TransformJobStatus"] == "Failed"
    assert "bad.csv" in description["FailureReason"]
    assert output(jobs, name) == {"good.csv.out": "2.0\n"}
