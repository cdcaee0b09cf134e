"""Models, endpoint configurations and endpoints over the wire: asked for once by content, and believed only when live.

Models and configurations carry a hash of their content in their name, so asking again finds them. What it does not do:
it waits for nothing; who calls looks again.
"""

from __future__ import annotations

import json
from dataclasses import replace
from enum import Enum
from typing import Any

from . import preflight
from .kinds import ALREADY_EXISTS_TEXT
from .names import content_name
from .requests import EndpointConfigRequest, ModelRequest

CHANGING = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})


class EndpointState(Enum):
    """What an endpoint's description means for a deployment of one configuration."""

    ABSENT = "absent"
    CHANGING = "changing"
    LIVE = "live"
    """InService on the wanted configuration."""
    OTHER = "other"
    """InService on another configuration: before an update, or after one that was rolled back."""
    FAILED = "failed"


def endpoint_state(description: dict[str, Any] | None, wanted_config: str) -> EndpointState:
    """What a DescribeEndpoint answer (None: there is no endpoint) means."""
    if description is None:
        return EndpointState.ABSENT
    status = description.get("EndpointStatus")
    if status in CHANGING:
        return EndpointState.CHANGING
    if status == "InService":
        return EndpointState.LIVE if description.get("EndpointConfigName") == wanted_config else EndpointState.OTHER
    return EndpointState.FAILED


def describe_endpoint(sagemaker: Any, name: str) -> dict[str, Any] | None:
    """The DescribeEndpoint answer, or None when there is no endpoint of that name.

    Raises:
        botocore.exceptions.ClientError: anything else than "not there".
    """
    from botocore.exceptions import ClientError

    try:
        return dict(sagemaker.describe_endpoint(EndpointName=name))
    except ClientError as error:
        if "could not find" in error.response["Error"].get("Message", "").lower():
            return None
        raise


def ensure_model(sagemaker: Any, deployment: str, request: ModelRequest, tags: list[dict[str, str]]) -> str:
    """Create the model unless its equal exists, and return its name.

    Raises:
        PreflightError: SageMaker would refuse it.
        botocore.exceptions.ClientError: SageMaker refused it.
    """
    content = json.dumps(replace(request, name="").to_api(), sort_keys=True)
    named = replace(request, name=content_name(deployment, request.name, content)).to_api()
    preflight.check("CreateModel", named)
    _create_once(sagemaker.create_model, {**named, "Tags": tags})
    return str(named["ModelName"])


def ensure_endpoint_config(
    sagemaker: Any, deployment: str, request: EndpointConfigRequest, tags: list[dict[str, str]]
) -> str:
    """Create the endpoint configuration unless its equal exists, and return its name.

    Raises:
        PreflightError: SageMaker would refuse it.
        botocore.exceptions.ClientError: SageMaker refused it.
    """
    content = json.dumps(replace(request, name="").to_api(), sort_keys=True)
    named = replace(request, name=content_name(deployment, request.name, content)).to_api()
    preflight.check("CreateEndpointConfig", named)
    _create_once(sagemaker.create_endpoint_config, {**named, "Tags": tags})
    return str(named["EndpointConfigName"])


def _create_once(create: Any, request: dict[str, Any]) -> None:
    from botocore.exceptions import ClientError

    try:
        create(**request)
    except ClientError as error:
        if ALREADY_EXISTS_TEXT not in error.response["Error"].get("Message", ""):
            raise
