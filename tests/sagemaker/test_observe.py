"""Looking at real jobs over the wire: there, not there, and refused are three answers."""

from __future__ import annotations

from typing import Any

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from millrace.sagemaker import observe
from millrace.sagemaker.kinds import PROCESSING, Outcome
from tests.runtime.jobs import Jobs
from tests.runtime.process import REGION, free_port


def test_a_job_is_described_as_the_client_describes_it(jobs: Jobs, sagemaker: Any) -> None:
    name = jobs.processing("true")
    jobs.end("processing", name)
    found = observe.describe(sagemaker, PROCESSING, name)
    assert found is not None
    assert (found["ProcessingJobName"], found["ProcessingJobStatus"]) == (name, "Completed")


def test_a_lookup_that_is_refused_raises_and_is_never_taken_for_absence(sagemaker: Any) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match="regular expression"):
        observe.describe(sagemaker, PROCESSING, "no_such_name_can_be")


def test_a_lookup_that_reaches_nobody_raises_and_is_never_taken_for_absence() -> None:
    nobody: Any = boto3.client(
        "sagemaker", endpoint_url=f"http://127.0.0.1:{free_port()}", region_name=REGION, aws_access_key_id="any",
        aws_secret_access_key="any", config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip
    with pytest.raises(botocore.exceptions.EndpointConnectionError):
        observe.describe(nobody, PROCESSING, "job")


def test_all_tags_are_read_however_many(jobs: Jobs, sagemaker: Any) -> None:
    tags = {f"key-{number}": f"value {number}" for number in range(50)}
    name = jobs.processing("true", Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    found = observe.describe(sagemaker, PROCESSING, name)
    assert found is not None
    assert observe.tags(sagemaker, found["ProcessingJobArn"]) == tags


def test_stopping_is_asked_for_once_or_twice_and_the_job_ends_stopped(jobs: Jobs, sagemaker: Any) -> None:
    name = jobs.processing("sleep 100")
    assert observe.stop(sagemaker, PROCESSING, name) is True
    assert observe.stop(sagemaker, PROCESSING, name) in (True, False)  # it may have ended meanwhile
    assert PROCESSING.outcome(jobs.end("processing", name)) is Outcome.STOPPED


def test_stopping_what_has_ended_changes_nothing(jobs: Jobs, sagemaker: Any) -> None:
    name = jobs.processing("true")
    before = jobs.end("processing", name)
    assert observe.stop(sagemaker, PROCESSING, name) is False
    after = observe.describe(sagemaker, PROCESSING, name)
    assert after is not None
    assert after["ProcessingJobStatus"] == "Completed"
    assert after["LastModifiedTime"] == before["LastModifiedTime"]


def test_stopping_what_is_not_there_says_that_nothing_was_stopped(sagemaker: Any) -> None:
    assert observe.stop(sagemaker, PROCESSING, "never-made") is False
