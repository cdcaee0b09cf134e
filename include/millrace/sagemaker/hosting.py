"""Models, endpoint configurations and endpoints over the wire: asked for once by content, and believed only when live.

Models and configurations carry a hash of their content in their name, so asking again finds them. What it does not do:
it waits for nothing; who calls looks again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

from . import preflight
from .kinds import ALREADY_EXISTS_TEXT, ENDPOINT, Outcome
from .names import content_name
from .requests import EndpointConfigRequest, ModelRequest

DEPLOYED_TAG = "millrace:deployed"
"""An endpoint's tag: the configuration that was last proven to answer."""
WANTED_TAG = "millrace:wanted"
"""An endpoint's tag: the configuration that the latest deployment asked for."""


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
    outcome = ENDPOINT.outcome(description)
    if outcome is Outcome.ACTIVE:
        return EndpointState.CHANGING
    if outcome is Outcome.SUCCEEDED:
        return EndpointState.LIVE if description.get("EndpointConfigName") == wanted_config else EndpointState.OTHER
    # After a failed rollback it still serves: an update may mend it, its deletion would be an outage.
    still_serves = description.get("EndpointStatus") == "UpdateRollbackFailed"
    return EndpointState.OTHER if still_serves else EndpointState.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """A deployment that was begun: what was asked for, and what the endpoint served until then."""

    wanted: str
    """The endpoint configuration that was asked for."""
    previous: str
    """The one that was served before, or nothing where no endpoint was."""
    was_live: bool
    """Whether the wanted one was served already: then it is not this deployment's to take away."""
    requested: bool = False
    """Whether SageMaker has been asked."""
    failed: str = ""
    """Why it was given up, once what was served before has been asked for again."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Before:
        return cls(**document)


def put_back(sagemaker: Any, endpoint: str, description: dict[str, Any] | None, before: Before) -> str:
    """Leave no half-made deployment serving: ask for the configuration before, or for nothing where nothing was.

    `description` is what the endpoint is now, and it must not be changing. Returns what was done, in words; it waits for
    nothing.

    Raises:
        botocore.exceptions.ClientError: SageMaker refused it.
    """
    state = endpoint_state(description, before.wanted)
    if state is EndpointState.ABSENT:
        return "there is none"
    if (
        state is EndpointState.OTHER and (description or {}).get("EndpointStatus") == "InService"
    ):  # as before, or what somebody else has deployed since
        return f"it serves {(description or {}).get('EndpointConfigName')}"
    if before.was_live:
        return f"{before.wanted} was served before this deployment, and is left alone"
    if before.previous and state is not EndpointState.FAILED:
        sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=before.previous)
        return f"being put back on {before.previous}"
    # A failed endpoint takes nothing but its deletion; a new one has nothing to go back to.
    sagemaker.delete_endpoint(EndpointName=endpoint)
    return "being deleted: it was new, and does not serve" if not before.previous else "being deleted: it has failed"


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
    # With the endpoint's name in it: two endpoints of equal content must not share what a teardown deletes.
    content = json.dumps(request.to_api(), sort_keys=True)
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
