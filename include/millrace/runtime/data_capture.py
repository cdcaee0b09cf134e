"""What an endpoint captures of its inferences, as its configuration's DataCaptureConfig says it.

The control plane hands this to the router inside the routing table. What it does not do: it captures nothing
(`capture_writer.py` and `capture_store.py` do).

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DataCaptureConfig.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PARTS = {
    "Input": ("endpointInput",), "Output": ("endpointOutput",), "InputAndOutput": ("endpointInput", "endpointOutput"),
}  # fmt: skip
"""What a line of captured data holds, by CaptureMode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCapture:
    """A DataCaptureConfig that is switched on."""

    destination: str
    """An S3 URI without a slash at its end."""
    percentage: int
    """Of the requests, 0 to 100."""
    parts: tuple[str, ...]
    """`endpointInput`, `endpointOutput` or both."""
    csv_types: tuple[str, ...] = ()
    json_types: tuple[str, ...] = ()
    """Content types whose bodies are written as text; others are as base64."""


def of_config(config: Mapping[str, Any] | None) -> DataCapture | None:
    """What a DataCaptureConfig captures; None where there is none, or it is switched off."""
    if not config or not config.get("EnableCapture", True):
        return None
    types = config.get("CaptureContentTypeHeader") or {}
    return DataCapture(
        destination=config["DestinationS3Uri"].rstrip("/"),
        percentage=config["InitialSamplingPercentage"],
        parts=tuple(sorted({part for option in config["CaptureOptions"] for part in PARTS[option["CaptureMode"]]})),
        csv_types=tuple(types.get("CsvContentTypes") or ()),
        json_types=tuple(types.get("JsonContentTypes") or ()),
    )


def from_document(document: Mapping[str, Any]) -> DataCapture:
    """What `dataclasses.asdict` and JSON have made of one."""
    lists = {name: tuple(document[name]) for name in ("parts", "csv_types", "json_types")}
    return DataCapture(destination=document["destination"], percentage=document["percentage"], **lists)


def summary(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What DescribeEndpoint says of it."""
    if not config:
        return None
    is_on = config.get("EnableCapture", True)
    return {
        "EnableCapture": is_on,
        "CaptureStatus": "Started" if is_on else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId", ""),
    }
