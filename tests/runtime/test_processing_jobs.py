"""Processing jobs, driven by a real boto3 client."""

from __future__ import annotations

import json
from typing import Any

from tests.runtime.jobs import Jobs

BASE = '"${SAGEMAKER_BASE_DIR:-/opt/ml}"'


def source(name: str, uri: str) -> dict[str, Any]:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": f"/opt/ml/processing/input/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        },
    }


def target(name: str, uri: str) -> dict[str, Any]:
    output = {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/output/{name}", "S3UploadMode": "EndOfJob"}
    return {"OutputName": name, "S3Output": output}


def test_inputs_become_outputs_with_content_types(jobs: Jobs) -> None:
    jobs.put("p1/in/a.txt", b"hello")
    script = f"cd {BASE}/processing && tr a-z A-Z < input/data/a.txt > output/result/page.html && cat ../config/*.json"
    name = jobs.processing(
        script, ProcessingInputs=[source("data", "s3://bucket/p1/in/")],
        ProcessingOutputConfig={"Outputs": [target("result", "s3://bucket/p1/out")]},
    )  # fmt: skip
    description = jobs.end("processing", name)
    assert description["ProcessingJobStatus"] == "Completed", description.get("FailureReason")
    written = jobs.s3.get_object(Bucket="bucket", Key="p1/out/page.html")
    assert (written["Body"].read(), written["ContentType"]) == (b"HELLO", "text/html")
    assert name in json.dumps(jobs.lines("processing", name))


def test_exit_message_and_code_reach_the_description(jobs: Jobs) -> None:
    name = jobs.processing(f"echo 'the source has no rows' > {BASE}/output/message; exit 3")
    description = jobs.end("processing", name)
    assert description["ProcessingJobStatus"] == "Failed"
    assert description["ExitMessage"] == "the source has no rows"
    assert "exit code 3" in description["FailureReason"]


def test_missing_input_names_the_uri(jobs: Jobs) -> None:
    description = jobs.end("processing", jobs.processing("true", ProcessingInputs=[source("data", "s3://gone/x")]))
    assert description["ProcessingJobStatus"] == "Failed"
    assert "s3://gone/x" in description["FailureReason"]


def test_links_planted_by_a_job_are_not_followed(jobs: Jobs) -> None:
    script = (
        f"cd {BASE}/processing/output && ln -s /etc/passwd plain/passwd && ln -s /etc plain/folder && "
        "echo ok > plain/ok && rm -r replaced && ln -s /etc replaced && ln -sf /etc/hostname ../../output/message"
    )
    name = jobs.processing(
        script,
        ProcessingOutputConfig={"Outputs": [target("plain", "s3://bucket/p2/plain"),
                                            target("replaced", "s3://bucket/p2/replaced")]},
    )  # fmt: skip
    description = jobs.end("processing", name)
    assert description["ProcessingJobStatus"] == "Completed", description.get("FailureReason")
    keys = [item["Key"] for item in jobs.s3.list_objects_v2(Bucket="bucket", Prefix="p2/")["Contents"]]
    assert keys == ["p2/plain/ok"]
    assert "ExitMessage" not in description


def test_listing_filters_pages_and_sorts(jobs: Jobs) -> None:
    marker = jobs.name("listed")
    names = [jobs.processing("true", name=f"{marker}-{index}") for index in range(5)]
    for name in names:
        jobs.end("processing", name)
    pages = jobs.sagemaker.get_paginator("list_processing_jobs").paginate(
        NameContains=marker, SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 2}
    )
    found = [summary["ProcessingJobName"] for page in pages for summary in page["ProcessingJobSummaries"]]
    assert found == names
    assert not jobs.sagemaker.list_processing_jobs(NameContains=marker, StatusEquals="Failed")["ProcessingJobSummaries"]
