"""Hosting over the wire: models and configurations once by content, and an endpoint live only on what was asked for."""

from __future__ import annotations

from typing import Any

import botocore.exceptions
import pytest

from millrace.sagemaker.hosting import (
    EndpointState,
    endpoint_state,
    ensure_endpoint_config,
    ensure_model,
)
from millrace.sagemaker.kinds import ENDPOINT
from millrace.sagemaker.observe import describe
from millrace.sagemaker.preflight import PreflightError
from millrace.sagemaker.requests import EndpointConfigRequest, ModelRequest
from tests.runtime.jobs import Jobs, archive
from tests.runtime.process import IMAGE, ROLE, until

TAGS = [{"Key": "millrace:deployment", "Value": "test"}]
ECHO = "def model_fn(d): return 1\ndef transform_fn(model, body, content_type, accept): return body\n"
BROKEN = "def model_fn(d): raise OSError('weights are missing')\n"


def model_request(uri: str, **changes: Any) -> ModelRequest:
    arguments: dict[str, Any] = {"name": "digits", "role_arn": ROLE, "image": IMAGE, "model_data_uri": uri}
    return ModelRequest(**arguments | changes)


def config_of(jobs: Jobs, handlers: str) -> str:
    """An endpoint configuration for a stored model with these handlers."""
    uri = jobs.put(f"hosting/{jobs.name('model')}/model.tar.gz", archive({"code/inference.py": handlers}))
    model = ensure_model(jobs.sagemaker, "test", model_request(uri), TAGS)
    request = EndpointConfigRequest(name="digits", model_name=model, instance_type="ml.c5.large")
    return ensure_endpoint_config(jobs.sagemaker, "test", request, TAGS)


def test_an_equal_model_is_made_once_and_found_again(jobs: Jobs, sagemaker: Any) -> None:
    request = model_request("s3://bucket/once/model.tar.gz", environment={"A": "1"})
    name = ensure_model(sagemaker, "test", request, TAGS)
    made = sagemaker.describe_model(ModelName=name)
    assert ensure_model(sagemaker, "test", request, TAGS) == name
    assert sagemaker.describe_model(ModelName=name)["CreationTime"] == made["CreationTime"]
    assert made["PrimaryContainer"]["Environment"] == {"A": "1"}
    assert sagemaker.list_tags(ResourceArn=made["ModelArn"])["Tags"] == TAGS


@pytest.mark.parametrize(
    "change", [{"image": "local/python"}, {"environment": {"A": "2"}}, {"model_data_uri": "s3://bucket/b/model.tar.gz"}]
)
def test_a_model_of_other_content_has_another_name(sagemaker: Any, change: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {
        "name": "digits",
        "role_arn": ROLE,
        "image": IMAGE,
        "model_data_uri": "s3://bucket/a/model.tar.gz",
    }
    one, other = ModelRequest(**arguments), ModelRequest(**arguments | change)
    assert ensure_model(sagemaker, "test", one, TAGS) != ensure_model(sagemaker, "test", other, TAGS)


def test_two_deployments_never_share_a_model_or_a_configuration(sagemaker: Any) -> None:
    request = model_request("s3://bucket/shared/model.tar.gz")
    models = [ensure_model(sagemaker, deployment, request, TAGS) for deployment in ("dev", "prod")]
    assert [name.split("-")[0] for name in models] == ["dev", "prod"]
    config = EndpointConfigRequest(name="digits", model_name=models[0], instance_type="ml.c5.large")
    configs = {ensure_endpoint_config(sagemaker, deployment, config, TAGS) for deployment in ("dev", "prod")}
    assert len(configs) == 2


def test_an_equal_configuration_is_made_once_and_another_instance_type_is_another(jobs: Jobs, sagemaker: Any) -> None:
    model = ensure_model(sagemaker, "test", model_request("s3://bucket/c/model.tar.gz"), TAGS)
    names = [
        ensure_endpoint_config(
            sagemaker, "test", EndpointConfigRequest(name="digits", model_name=model, instance_type=kind), TAGS
        )
        for kind in ("ml.c5.large", "ml.c5.large", "ml.m5.large")
    ]
    assert names[0] == names[1] != names[2]
    (variant,) = sagemaker.describe_endpoint_config(EndpointConfigName=names[2])["ProductionVariants"]
    assert (variant["InstanceType"], variant["ModelName"], variant["InitialVariantWeight"]) == (
        "ml.m5.large",
        model,
        1.0,
    )


def test_what_sagemaker_would_refuse_is_refused_before_it_is_sent(sagemaker: Any) -> None:
    with pytest.raises(PreflightError, match=r"PrimaryContainer\.Image"):
        ensure_model(sagemaker, "test", model_request("s3://bucket/d/model.tar.gz", image="an image"), TAGS)
    config = EndpointConfigRequest(name="digits", model_name="m", instance_type="ml.c5.huge")
    with pytest.raises(PreflightError, match=r"InstanceType is 'ml\.c5\.huge'"):
        ensure_endpoint_config(sagemaker, "test", config, TAGS)


def test_a_refusal_that_is_not_about_existing_reaches_the_caller(sagemaker: Any) -> None:
    config = EndpointConfigRequest(name="digits", model_name="never-made", instance_type="ml.c5.large")
    with pytest.raises(botocore.exceptions.ClientError, match="Could not find model"):
        ensure_endpoint_config(sagemaker, "test", config, TAGS)


def test_an_endpoint_that_is_not_there_is_absent_and_another_refusal_raises(sagemaker: Any) -> None:
    assert describe(sagemaker, ENDPOINT, "never-made") is None
    assert endpoint_state(None, "config") is EndpointState.ABSENT
    with pytest.raises(botocore.exceptions.ClientError, match="regular expression"):
        describe(sagemaker, ENDPOINT, "no_such_name_can_be")


def test_an_endpoint_is_live_on_its_configuration_and_after_a_rollback_only_on_the_old_one(jobs: Jobs) -> None:
    name, good, bad = jobs.name("endpoint"), config_of(jobs, ECHO), config_of(jobs, BROKEN)

    def state(config: str) -> EndpointState:
        return endpoint_state(describe(jobs.sagemaker, ENDPOINT, name), config)

    def settle(config: str) -> EndpointState:
        until(lambda: state(config) is not EndpointState.CHANGING, 60, "the endpoint settles")
        return state(config)

    jobs.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=good)
    assert state(good) in (EndpointState.CHANGING, EndpointState.LIVE)
    assert settle(good) is EndpointState.LIVE
    assert state(bad) is EndpointState.OTHER
    jobs.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=bad)
    assert settle(bad) is EndpointState.OTHER
    assert state(good) is EndpointState.LIVE
    jobs.sagemaker.delete_endpoint(EndpointName=name)
    until(lambda: state(good) is EndpointState.ABSENT, 40, "the endpoint is gone")


def test_a_new_endpoint_whose_model_does_not_load_has_failed(jobs: Jobs) -> None:
    name, bad = jobs.name("endpoint"), config_of(jobs, BROKEN)
    jobs.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=bad)

    def settled() -> EndpointState | None:
        state = endpoint_state(describe(jobs.sagemaker, ENDPOINT, name), bad)
        return None if state is EndpointState.CHANGING else state

    assert until(settled, 60, "the endpoint settles") is EndpointState.FAILED


def test_every_status_that_sagemaker_knows_has_a_meaning_and_an_unknown_one_has_failed(sagemaker: Any) -> None:
    shape: Any = sagemaker.meta.service_model.shape_for("EndpointStatus")
    means = {s: endpoint_state({"EndpointStatus": s, "EndpointConfigName": "c"}, "c") for s in [*shape.enum, "New"]}
    assert {status for status, state in means.items() if state is EndpointState.CHANGING} == ENDPOINT.active
    assert {status for status, state in means.items() if state is EndpointState.LIVE} == {"InService"}
    assert {status for status, state in means.items() if state is EndpointState.FAILED} == {
        "OutOfService", "Failed", "New",
    }  # fmt: skip
