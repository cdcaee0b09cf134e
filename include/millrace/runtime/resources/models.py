"""Models and endpoint configurations: records that hosting reads; nothing runs because of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from millrace.runtime.config import ACCOUNT
from millrace.runtime.database import AlreadyExists, Database, Resource
from millrace.runtime.errors import ValidationException
from millrace.runtime.refuse import unless_offered, unless_value

from .listing import page

MODEL_OFFERED = (
    "ModelName", "PrimaryContainer", "Containers", "ExecutionRoleArn", "Tags", "VpcConfig", "EnableNetworkIsolation",
)  # fmt: skip
CONFIG_OFFERED = (
    "EndpointConfigName", "ProductionVariants", "Tags", "KmsKeyId", "ExecutionRoleArn", "VpcConfig", "DataCaptureConfig",
)  # fmt: skip
S3_BUCKET = re.compile(r"s3://[^/]+")
VARIANT_OFFERED = (
    "VariantName", "ModelName", "InitialInstanceCount", "InstanceType", "InitialVariantWeight", "VolumeSizeInGB",
    "ContainerStartupHealthCheckTimeoutInSeconds", "ModelDataDownloadTimeoutInSeconds",
)  # fmt: skip


def check_model(params: dict[str, Any], _database: Database) -> None:
    unless_offered("CreateModel", params, MODEL_OFFERED)
    if not params["ModelName"]:
        raise ValidationException("CreateModel: ModelName is empty")
    containers = params.get("Containers") or []
    if containers and params.get("PrimaryContainer"):
        raise ValidationException("CreateModel: give PrimaryContainer or Containers, not both")
    if len(containers) > 1:
        raise ValidationException(
            f"CreateModel: {len(containers)} Containers (an inference pipeline) are not offered by the Millrace runtime "
            "yet (AWS takes them)"
        )
    if containers:
        params["PrimaryContainer"] = containers[0]
    container = params.get("PrimaryContainer")
    if not container:
        raise ValidationException("CreateModel: PrimaryContainer is needed")
    if params.get("EnableNetworkIsolation"):
        raise ValidationException(
            "CreateModel: EnableNetworkIsolation is not offered by the Millrace runtime yet: the router could not reach "
            "the server"
        )
    unless_offered(
        "CreateModel", container, ("Image", "ModelDataUrl", "Environment", "Mode", "ContainerHostname", "ImageConfig"),
        "PrimaryContainer.",
    )  # fmt: skip
    unless_value("CreateModel", "PrimaryContainer.Mode", container.get("Mode"), ("SingleModel",))
    if not container.get("Image"):
        raise ValidationException("CreateModel: PrimaryContainer.Image is needed")


def check_endpoint_config(params: dict[str, Any], database: Database) -> None:
    operation = "CreateEndpointConfig"
    unless_offered(operation, params, CONFIG_OFFERED)
    capture = params.get("DataCaptureConfig")
    if capture and not S3_BUCKET.match(capture["DestinationS3Uri"]):
        raise ValidationException(
            f"{operation}: DataCaptureConfig.DestinationS3Uri={capture['DestinationS3Uri']!r} must look like "
            "s3://bucket/prefix"
        )
    names = [variant["VariantName"] for variant in params["ProductionVariants"]]
    if len(set(names)) != len(names):
        raise ValidationException(f"{operation}: variant names must differ, and they are {names}")
    for variant in params["ProductionVariants"]:
        path = f"ProductionVariants[{variant['VariantName']}]."
        unless_offered(operation, variant, VARIANT_OFFERED, path)
        if not variant.get("ModelName") or not variant.get("InstanceType"):
            raise ValidationException(f"{operation}: {path}ModelName and InstanceType are needed")
        if database.get("model", variant["ModelName"]) is None:
            raise ValidationException(f'Could not find model "{variant["ModelName"]}".')


@dataclass(frozen=True, slots=True)
class RecordKind:
    """A kind of resource that is only a record."""

    kind: str
    prefix: str
    """The word in operations and fields, for example `EndpointConfig`."""
    noun: str
    """AWS's word for it in errors."""
    list_field: str
    check: Callable[[dict[str, Any], Database], None]


MODEL = RecordKind("model", "Model", "model", "Models", check_model)
ENDPOINT_CONFIG = RecordKind(
    "endpoint-config", "EndpointConfig", "endpoint configuration", "EndpointConfigs", check_endpoint_config
)


class RecordOperations:
    """Create, Describe, List and Delete of one record kind."""

    def __init__(self, record_kind: RecordKind, database: Database) -> None:
        self._kind = record_kind
        self._database = database

    def table(self) -> dict[str, Callable[[dict[str, Any], str], dict[str, Any] | None]]:
        prefix = self._kind.prefix
        return {
            f"Create{prefix}": self.create,
            f"Describe{prefix}": self.describe,
            f"List{prefix}s": self.list,
            f"Delete{prefix}": self.delete,
        }

    def create(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        kind = self._kind
        name = params[f"{kind.prefix}Name"]
        arn = f"arn:aws:sagemaker:{region}:{ACCOUNT}:{kind.kind}/{name.lower()}"
        existing = self._database.get(kind.kind, name)
        if existing is None:
            kind.check(params, self._database)
            tags = {tag["Key"]: tag["Value"] for tag in params.get("Tags") or []}
            try:
                created = self._database.insert(kind.kind, name, arn, "Created", {"request": params}, tags)
                return {f"{kind.prefix}Arn": created.arn}
            except AlreadyExists as clash:
                existing = clash.resource
        raise ValidationException(f'Cannot create already existing {kind.noun} "{existing.arn}".')

    def describe(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        found = self._find(params)
        return {
            **{k: v for k, v in found.document["request"].items() if k != "Tags"},
            f"{self._kind.prefix}Arn": found.arn,
            "CreationTime": found.created,
            "EnableNetworkIsolation": False if self._kind is MODEL else None,
        }

    def list(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        prefix = self._kind.prefix
        found, token = page(self._database, self._kind.kind, params)
        rows = [{f"{prefix}Name": r.name, f"{prefix}Arn": r.arn, "CreationTime": r.created} for r in found]
        return {self._kind.list_field: rows, "NextToken": token}

    def delete(self, params: dict[str, Any], region: str) -> None:
        self._database.delete(self._kind.kind, self._find(params).name)

    def _find(self, params: dict[str, Any]) -> Resource:
        name = params[f"{self._kind.prefix}Name"]
        found = self._database.get(self._kind.kind, name)
        if found is None:
            raise ValidationException(f'Could not find {self._kind.noun} "{name}".')
        return found
