"""Processing jobs, driven by a real boto3 client."""

from __future__ import annotations

import http.client
import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import botocore.exceptions
import pytest

from tests.runtime.jobs import Jobs
from tests.runtime.process import RuntimeProcess

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


@pytest.mark.parametrize(
    "path", ["/opt/ml//etc/cron.d", "/opt/ml/", "/opt/ml/config", "/opt/ml/processing/../../x", "/etc"]
)
def test_local_path_outside_of_the_jobs_tree_is_refused(jobs: Jobs, path: str) -> None:
    outside = source("data", "s3://bucket/p1/in/")
    outside["S3Input"]["LocalPath"] = path
    with pytest.raises(botocore.exceptions.ClientError, match="must be a path below /opt/ml/processing/"):
        jobs.processing("true", ProcessingInputs=[outside])


def test_variables_of_a_job_act_inside_its_box_only(jobs: Jobs) -> None:
    name = jobs.processing("echo own PATH is $PATH", Environment={"PATH": "/bin:/nowhere", "LD_PRELOAD": "/nowhere.so"})
    description = jobs.end("processing", name)
    assert description["ProcessingJobStatus"] == "Completed", description.get("FailureReason")
    assert "own PATH is /bin:/nowhere" in jobs.lines("processing", name)


def test_carriage_returns_of_a_progress_bar_do_not_end_the_log(jobs: Jobs) -> None:
    name = jobs.processing("printf '10%%\\r20%%\\r30%%\\n'; echo after")
    jobs.end("processing", name)
    assert jobs.lines("processing", name) == ["10%\r20%\r30%", "after"]


def test_burst_of_jobs_all_complete(jobs: Jobs) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: jobs.processing("true"), range(40)))
    assert {jobs.end("processing", name)["ProcessingJobStatus"] for name in names} == {"Completed"}


def test_stray_path_under_endpoints_is_answered_at_once_by_both_processes(jobs: Jobs, runtime: RuntimeProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", runtime.port, timeout=5)
    for path in ("/endpoints/foo", "/health", "/endpoints/foo/", "/endpoints/none/invocations", "/health"):
        connection.request("POST" if "invocations" in path else "GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == {"/health": 200, "/endpoints/none/invocations": 400}.get(path, 404)
    connection.close()


def test_page_of_a_job_shows_its_log_escaped(jobs: Jobs, runtime: RuntimeProcess) -> None:
    name = jobs.processing("echo '<script>alert(1)</script>'")
    jobs.end("processing", name)
    with urllib.request.urlopen(f"{runtime.url}/console/processing-jobs/{name}") as page:
        text = page.read().decode()
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>" not in text
    with urllib.request.urlopen(f"{runtime.url}/console") as page:
        assert name in page.read().decode()
