"""Where a request goes: one reading of its path, its X-Amz-Target and the credential scope of its signature.

The control plane dispatches by it and the authenticator checks access by it, so that no request can be let in as one
thing and carried out as another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from starlette.datastructures import Headers
from starlette.types import Scope

from .routes import INVOCATION

SCOPE = re.compile(r"Credential=[^/]+/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
DEFAULT_REGION = "us-east-1"
Place = Literal["health", "console", "router", "nowhere", "sagemaker", "logs", "s3", "other"]


@dataclass(frozen=True, slots=True)
class Destination:
    """Who answers a request."""

    place: Place
    region: str
    service: str | None
    """What the Authorization header is signed for; None without one."""
    target: str
    operation: str = ""
    """The operation of SageMaker or of logs."""


def destination(scope: Scope) -> Destination:
    headers = Headers(scope=scope)
    target = headers.get("x-amz-target", "")
    authorization = SCOPE.search(headers.get("authorization", ""))
    service = authorization["service"] if authorization else None
    region = authorization["region"] if authorization else DEFAULT_REGION
    place, operation = _place(scope["method"], scope["path"], service, target)
    return Destination(place, region, service, target, operation)


def _place(method: str, path: str, service: str | None, target: str) -> tuple[Place, str]:
    if path == "/health" and service is None:
        return "health", ""
    if service is None and not target and method == "GET" and path.split("/")[1] == "console":
        return "console", ""
    if path.startswith("/endpoints/") and service in (None, "sagemaker"):
        return ("router" if INVOCATION.match(path) else "nowhere"), ""
    if target.startswith("SageMaker."):
        return "sagemaker", target.removeprefix("SageMaker.")
    if target.startswith("Logs_20140328."):
        return "logs", target.removeprefix("Logs_20140328.")
    # A request without signature and target is S3's: presigned and anonymous ones carry no scope in their headers.
    return ("s3" if service in (None, "s3") and not target else "other"), ""
