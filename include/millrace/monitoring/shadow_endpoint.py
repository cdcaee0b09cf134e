"""An endpoint of a model for the time of one analysis, as Clarify makes it: created, asked, and deleted however it ends.

It is deleted when the work is done, when it fails, and when the job is stopped. Only a job that is killed outright leaves
its endpoint; the next execution of the same schedule finds it by its name and deletes it, since executions of one schedule
never run beside one another.

What it does not do: it shows nobody's traffic to the model, and the endpoint captures nothing.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-processing-job-configure-parameters.html
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from millrace.job_exit import InputError
from millrace.monitoring.shap_config import PredictorConfig

PREFIX = "sm-clarify"
LOOK_SECONDS = 0.5
START_SECONDS = 1800.0
"""An endpoint that is not in service by then is given up."""
DELETE_SECONDS = 900.0
CHANGING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
STOPPED = 143
"""The exit status of a program that SIGTERM has ended."""


class ShadowEndpointError(InputError):
    """The model cannot be asked: it is not there, does not start, or SageMaker cannot be reached."""


def client(service: str) -> Any:
    """A boto3 client, as the job's environment makes it.

    Raises:
        ShadowEndpointError: the environment does not say enough.
    """
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        return boto3.client(service, region_name=os.environ.get("AWS_REGION"))  # type: ignore[call-overload]
    except BotoCoreError as error:
        raise ShadowEndpointError(f"the job cannot call {service}: {error}") from error


@contextmanager
def shadow_endpoint(sagemaker: Any, predictor: PredictorConfig, owner: str | None) -> Iterator[str]:
    """The name of an endpoint that serves the model, and is gone afterwards.

    Args:
        sagemaker: a boto3 client.
        owner: the schedule whose endpoint it is, and whose earlier ones are deleted if any were left; None for a job of its
            own.

    Raises:
        ShadowEndpointError: the endpoint cannot be made.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    owner = owner or uuid.uuid4().hex
    prefix = f"{PREFIX}-{hashlib.sha256(owner.encode()).hexdigest()[:16]}"
    name = f"{prefix}-{uuid.uuid4().hex[:8]}"
    with _stopped_in_order():
        try:
            _sweep(sagemaker, prefix)
            try:
                _create(sagemaker, predictor, name)
                yield name
            finally:
                _delete(sagemaker, name)
        except (BotoCoreError, ClientError) as error:
            raise ShadowEndpointError(
                f"a shadow endpoint of the model {predictor.model} cannot be had: {error}"
            ) from error


@contextmanager
def _stopped_in_order() -> Iterator[None]:
    """SIGTERM ends the program as an error does, so that what was begun is taken back."""

    def leave(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not end the deletion
        sys.exit(STOPPED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _create(sagemaker: Any, predictor: PredictorConfig, name: str) -> None:
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": predictor.model,
        "InstanceType": predictor.instance_type,
        "InitialInstanceCount": predictor.instances,
    }
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    print(f"created the shadow endpoint {name} of the model {predictor.model}")
    description = _settled(sagemaker, name, START_SECONDS)
    if description is None or description["EndpointStatus"] != "InService":
        reason = (
            "it is gone" if description is None else description.get("FailureReason", description["EndpointStatus"])
        )
        raise ShadowEndpointError(
            f"the shadow endpoint of the model {predictor.model} did not come into service: {reason}"
        )


def _sweep(sagemaker: Any, prefix: str) -> None:
    """Delete what an analysis that was killed has left."""
    for page in sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=prefix):
        for config in page["EndpointConfigs"]:
            print(f"deleting {config['EndpointConfigName']}, which an earlier execution has left")
            _delete(sagemaker, config["EndpointConfigName"])


def _delete(sagemaker: Any, name: str) -> None:
    """Delete an endpoint and its configuration, as far as they are there; one that is on its way up first gets there."""
    from botocore.exceptions import ClientError

    if _settled(sagemaker, name, DELETE_SECONDS) is not None:
        sagemaker.delete_endpoint(EndpointName=name)
        _settled(sagemaker, name, DELETE_SECONDS)
        print(f"deleted the shadow endpoint {name}")
    try:
        sagemaker.delete_endpoint_config(EndpointConfigName=name)
    except ClientError as error:
        if not _is_gone(error):
            raise


def _settled(sagemaker: Any, name: str, seconds: float) -> dict[str, Any] | None:
    """An endpoint's description when nothing happens to it any more, or the time is up; None when there is none."""
    from botocore.exceptions import ClientError

    deadline = time.monotonic() + seconds
    while True:
        try:
            description: dict[str, Any] = sagemaker.describe_endpoint(EndpointName=name)
        except ClientError as error:
            if _is_gone(error):
                return None
            raise
        if description["EndpointStatus"] not in CHANGING or time.monotonic() > deadline:
            return description
        time.sleep(LOOK_SECONDS)


def _is_gone(error: Any) -> bool:
    """Whether SageMaker says that it has no such thing."""
    return "could not find" in error.response["Error"].get("Message", "").lower()
