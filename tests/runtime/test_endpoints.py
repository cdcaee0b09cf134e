"""Endpoints, driven by real boto3 clients: created, asked, updated, failed, deleted, and found again after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import botocore.exceptions
import pytest

from tests.runtime.jobs import Jobs
from tests.runtime.process import RuntimeProcess, until

ANSWERS = """
def model_fn(model_dir):
    return {answer!r}
def input_fn(body, content_type):
    if body == b"boom":
        raise RuntimeError("the model broke on this")
    return body
def predict_fn(data, model):
    return model + ":" + data.decode()
def output_fn(prediction, accept):
    return prediction
"""
BROKEN = "def model_fn(model_dir):\n    raise OSError('weights are missing')\n"


class Endpoint:
    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.name = jobs.name("endpoint")
        self.client = jobs.runtime.client("sagemaker-runtime")

    def create(self, config: str) -> dict[str, Any]:
        self.jobs.sagemaker.create_endpoint(EndpointName=self.name, EndpointConfigName=config)
        return self.settled()

    def update(self, config: str) -> dict[str, Any]:
        self.jobs.sagemaker.update_endpoint(EndpointName=self.name, EndpointConfigName=config)
        return self.settled()

    def settled(self) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.jobs.sagemaker.describe_endpoint(EndpointName=self.name)
            return found if found["EndpointStatus"] not in ("Creating", "Updating") else None

        return until(look, 60, f"{self.name} settles")

    def ask(self, body: str, **options: Any) -> str:
        answer = self.client.invoke_endpoint(EndpointName=self.name, Body=body, ContentType="text/plain", **options)
        return str(answer["Body"].read().decode())

    def delete(self) -> None:
        self.jobs.sagemaker.delete_endpoint(EndpointName=self.name)
        self.jobs.sagemaker.get_waiter("endpoint_deleted").config.delay = 0.1
        until(self._is_gone, 40, f"{self.name} is gone")

    def _is_gone(self) -> bool:
        try:
            self.jobs.sagemaker.describe_endpoint(EndpointName=self.name)
        except botocore.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "ValidationException"
            return True
        return False


@pytest.fixture
def endpoint(jobs: Jobs) -> Endpoint:
    return Endpoint(jobs)


def test_endpoint_answers_is_updated_without_a_gap_and_goes(
    jobs: Jobs, endpoint: Endpoint, runtime: RuntimeProcess
) -> None:
    first, second = (jobs.endpoint_config(jobs.model(ANSWERS.format(answer=a))) for a in ("one", "two"))
    assert endpoint.create(first)["EndpointStatus"] == "InService"
    assert endpoint.ask("x") == "one:x"
    jobs.sagemaker.update_endpoint(EndpointName=endpoint.name, EndpointConfigName=second)
    with pytest.raises(botocore.exceptions.ClientError, match="Cannot update in-progress endpoint"):
        jobs.sagemaker.update_endpoint(EndpointName=endpoint.name, EndpointConfigName=first)
    answers: list[str] = []
    while not answers or answers[-1] != "two:y":
        answers.append(endpoint.ask("y"))
    assert set(answers) == {"one:y", "two:y"} or answers == ["two:y"]
    description = endpoint.settled()
    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("InService", second)
    until(lambda: len(runtime.find("server.py")) <= 4, 30, "old stops")
    endpoint.delete()
    with pytest.raises(botocore.exceptions.ClientError, match=f"Endpoint {endpoint.name} of account"):
        endpoint.ask("z")


def test_model_that_does_not_load_fails_a_new_endpoint_with_its_traceback(jobs: Jobs, endpoint: Endpoint) -> None:
    description = endpoint.create(jobs.endpoint_config(jobs.model(BROKEN)))
    assert description["EndpointStatus"] == "Failed"
    assert "weights are missing" in description["FailureReason"]
    with pytest.raises(botocore.exceptions.ClientError, match="not found"):
        endpoint.ask("x")
    endpoint.delete()


def test_failed_update_stays_in_service_on_the_old_configuration(jobs: Jobs, endpoint: Endpoint) -> None:
    good = jobs.endpoint_config(jobs.model(ANSWERS.format(answer="good")))
    endpoint.create(good)
    description = endpoint.update(jobs.endpoint_config(jobs.model(BROKEN)))
    assert (description["EndpointStatus"], description["EndpointConfigName"]) == ("InService", good)
    assert "weights are missing" in description["FailureReason"]
    assert endpoint.ask("x") == "good:x"


def test_error_of_the_model_is_a_model_error_with_what_it_said(jobs: Jobs, endpoint: Endpoint) -> None:
    endpoint.create(jobs.endpoint_config(jobs.model(ANSWERS.format(answer="a"))))
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        endpoint.ask("boom")
    error: Any = caught.value.response
    assert error["Error"]["Code"] == "ModelError"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert error["OriginalStatusCode"] == 500
    assert "the model broke on this" in error["OriginalMessage"]
    with pytest.raises(botocore.exceptions.ClientError, match="larger than 6291456 bytes"):
        endpoint.ask("x" * 6_291_457)


def test_variants_share_traffic_and_can_be_chosen(jobs: Jobs, endpoint: Endpoint) -> None:
    models = [jobs.model(ANSWERS.format(answer=answer)) for answer in ("left", "right")]
    endpoint.create(jobs.endpoint_config(*models))
    assert {endpoint.ask("x") for _ in range(60)} == {"left:x", "right:x"}
    assert {endpoint.ask("x", TargetVariant="v1") for _ in range(5)} == {"right:x"}


def test_endpoint_outlives_a_killed_runtime_and_a_killed_server(own_runtime: RuntimeProcess) -> None:
    jobs = Jobs(own_runtime)
    endpoint = Endpoint(jobs)
    endpoint.create(jobs.endpoint_config(jobs.model(ANSWERS.format(answer="same"))))
    own_runtime.kill()
    own_runtime.start()
    assert endpoint.ask("x") == "same:x"
    assert endpoint.settled()["EndpointStatus"] == "InService"
    for process in own_runtime.find("shim.py"):
        process.kill()
    until(lambda: _asks(endpoint) == "same:y", 20, "the server comes back")


def _asks(endpoint: Endpoint) -> str:
    try:
        return endpoint.ask("y")
    except botocore.exceptions.ClientError:
        return ""


def test_unknown_names_and_duplicates_are_refused_in_the_words_of_aws(jobs: Jobs, endpoint: Endpoint) -> None:
    sagemaker = jobs.sagemaker
    config = jobs.endpoint_config(jobs.model(ANSWERS.format(answer="a")))
    endpoint.create(config)
    refusals: list[tuple[Callable[[], Any], str]] = [
        (lambda: sagemaker.describe_endpoint(EndpointName="none"), "Could not find endpoint"),
        (lambda: sagemaker.describe_model(ModelName="none"), "Could not find model"),
        (lambda: sagemaker.describe_endpoint_config(EndpointConfigName="none"), "Could not find endpoint configuration"),
        (lambda: sagemaker.create_endpoint(EndpointName=endpoint.name, EndpointConfigName=config),
         "Cannot create already existing endpoint"),
        (lambda: sagemaker.create_endpoint(EndpointName=jobs.name(), EndpointConfigName="none"),
         "Could not find endpoint configuration"),
        (lambda: sagemaker.create_model(ModelName="m", ExecutionRoleArn="arn:aws:iam::123456789012:role/jobs",
                                        Containers=[{"Image": "a"}, {"Image": "b"}]), "not offered"),
    ]  # fmt: skip
    for call, text in refusals:
        with pytest.raises(botocore.exceptions.ClientError, match=text) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_endpoint_log_is_readable(jobs: Jobs, endpoint: Endpoint) -> None:
    endpoint.create(jobs.endpoint_config(jobs.model(ANSWERS.format(answer="a"))))
    group = f"/aws/sagemaker/Endpoints/{endpoint.name}"
    streams = jobs.logs.describe_log_streams(logGroupName=group)["logStreams"]
    events = jobs.logs.get_log_events(
        logGroupName=group, logStreamName=streams[0]["logStreamName"], startFromHead=True
    )["events"]
    assert any("serving inference.py" in event["message"] for event in events), json.dumps(events)
