"""Data capture of endpoints, driven by real boto3 clients: what was asked and answered lies in S3, line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import botocore.exceptions
import pytest

from tests.runtime.jobs import Jobs
from tests.runtime.process import RuntimeProcess, until
from tests.runtime.test_endpoints import ANSWERS, Endpoint

TYPES = {"CsvContentTypes": ["text/csv", "text/plain"], "JsonContentTypes": ["application/json"]}


def capture(destination: str, *modes: str, percentage: int = 100, **changes: Any) -> dict[str, Any]:
    return {
        "EnableCapture": True,
        "InitialSamplingPercentage": percentage,
        "DestinationS3Uri": destination,
        "CaptureOptions": [{"CaptureMode": mode} for mode in modes or ("Input", "Output")],
        "CaptureContentTypeHeader": TYPES,
        **changes,
    }


def lines(jobs: Jobs, prefix: str) -> list[dict[str, Any]]:
    listed = jobs.s3.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", [])
    bodies = [jobs.s3.get_object(Bucket="bucket", Key=item["Key"])["Body"].read() for item in listed]
    return [json.loads(line) for body in bodies for line in body.splitlines()]


def when_captured(jobs: Jobs, prefix: str, count: int) -> list[dict[str, Any]]:
    def look() -> list[dict[str, Any]] | None:
        found = lines(jobs, prefix)
        return found if len(found) >= count else None

    return until(look, 30, f"{count} captured lines below {prefix}")


@pytest.fixture
def endpoint(jobs: Jobs) -> Iterator[Endpoint]:
    """Deleted again, for others count the servers of this runtime."""
    made = Endpoint(jobs)
    yield made
    made.delete()


def test_requests_and_answers_are_captured_and_described(jobs: Jobs, endpoint: Endpoint) -> None:
    model = jobs.model(ANSWERS.format(answer="one"))
    asked = capture("s3://bucket/captured/both/", KmsKeyId="key")
    config = jobs.endpoint_config(model, capture=asked)
    assert jobs.sagemaker.describe_endpoint_config(EndpointConfigName=config)["DataCaptureConfig"] == asked
    created = endpoint.create(config)
    assert created["DataCaptureConfig"] == {
        "EnableCapture": True, "CaptureStatus": "Started", "CurrentSamplingPercentage": 100,
        "DestinationS3Uri": "s3://bucket/captured/both/", "KmsKeyId": "key",
    }  # fmt: skip
    before = datetime.now(UTC).replace(microsecond=0)
    assert endpoint.ask("1,2", InferenceId="mine") == "one:1,2"
    with pytest.raises(botocore.exceptions.ClientError, match="ModelError"):
        endpoint.ask("boom")
    endpoint.ask("3,4")
    first, second = when_captured(jobs, f"captured/both/{endpoint.name}/v0/{before:%Y/%m/%d/}", 2)
    assert first["captureData"]["endpointInput"] == {
        "observedContentType": "text/plain", "mode": "INPUT", "data": "1,2", "encoding": "CSV",
    }  # fmt: skip
    assert first["captureData"]["endpointOutput"]["mode"] == "OUTPUT"
    assert first["eventMetadata"]["inferenceId"] == "mine"
    assert before <= datetime.fromisoformat(first["eventMetadata"]["inferenceTime"]) <= datetime.now(UTC)
    assert second["captureData"]["endpointInput"]["data"] == "3,4"
    assert "inferenceId" not in second["eventMetadata"]


def test_update_changes_what_is_captured(jobs: Jobs, endpoint: Endpoint) -> None:
    model = jobs.model(ANSWERS.format(answer="one"))
    assert "DataCaptureConfig" not in endpoint.create(jobs.endpoint_config(model))
    endpoint.ask("not captured")
    endpoint.update(jobs.endpoint_config(model, capture=capture("s3://bucket/captured/none", percentage=0)))
    endpoint.ask("not captured")
    described = endpoint.update(jobs.endpoint_config(model, capture=capture("s3://bucket/captured/input", "Input")))
    assert described["DataCaptureConfig"]["DestinationS3Uri"] == "s3://bucket/captured/input"
    endpoint.ask("captured")
    (line,) = when_captured(jobs, "captured/input/", 1)
    assert list(line["captureData"]) == ["endpointInput"]
    assert line["captureData"]["endpointInput"]["data"] == "captured"
    assert lines(jobs, "captured/none/") == []


def test_what_was_captured_last_is_stored_when_the_runtime_stops_in_order(own_runtime: RuntimeProcess) -> None:
    jobs = Jobs(own_runtime)
    endpoint = Endpoint(jobs)
    config = jobs.endpoint_config(jobs.model(ANSWERS.format(answer="one")), capture=capture("s3://bucket/last"))
    endpoint.create(config)
    for number in range(20):
        endpoint.ask(str(number))
    own_runtime.stop()
    assert not list((own_runtime.data_dir / "captured").iterdir())
    own_runtime.start()
    found = [line["captureData"]["endpointInput"]["data"] for line in lines(jobs, "last/")]
    assert found == [str(number) for number in range(20)]


def test_what_was_written_before_a_kill_is_stored_by_the_next_life(own_runtime: RuntimeProcess) -> None:
    jobs = Jobs(own_runtime)
    endpoint = Endpoint(jobs)
    config = jobs.endpoint_config(jobs.model(ANSWERS.format(answer="one")), capture=capture("s3://bucket/killed"))
    endpoint.create(config)
    endpoint.ask("kept")
    folder = own_runtime.data_dir / "captured"
    until(lambda: any(path.stat().st_size for path in folder.iterdir()) or lines(jobs, "killed/"), 10, "the record")
    own_runtime.kill()
    own_runtime.start()
    (line,) = when_captured(jobs, "killed/", 1)
    assert line["captureData"]["endpointInput"]["data"] == "kept"


@pytest.mark.parametrize("uri", ["https://bucket/x", "s3:///x"])
def test_destination_that_is_no_bucket_is_refused(jobs: Jobs, uri: str) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match=r"must look like s3://bucket/prefix|constraint"):
        jobs.endpoint_config(jobs.model(ANSWERS.format(answer="one")), capture=capture(uri))
