"""Create, Describe, List and Delete of the four kinds of monitoring job definition: records that schedules run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace.runtime import monitoring_definition
from millrace.runtime.config import ACCOUNT
from millrace.runtime.database import AlreadyExists, Database, Resource
from millrace.runtime.errors import ResourceInUse, ResourceNotFound
from millrace.runtime.monitoring_definition import DefinitionKind

from .listing import page

ENDPOINT = "$.endpoint"


class JobDefinitions:
    """The operations on one kind."""

    def __init__(self, kind: DefinitionKind, database: Database) -> None:
        self._kind = kind
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
        kind, name = self._kind.kind, params["JobDefinitionName"]
        arn = f"arn:aws:sagemaker:{region}:{ACCOUNT}:{kind}/{name.lower()}"
        definition = monitoring_definition.of_kind(self._kind, params)
        monitoring_definition.check(f"Create{self._kind.prefix}", definition)
        tags = {tag["Key"]: tag["Value"] for tag in params.get("Tags") or []}
        document = {"request": params, "endpoint": definition.endpoint}
        try:
            self._database.insert(kind, name, arn, "Created", document, tags)
        except AlreadyExists as clash:
            raise ResourceInUse(
                f"Job definition names must be unique within an AWS account and region, and one with this name already "
                f"exists ({clash.resource.arn})"
            ) from clash
        return {"JobDefinitionArn": arn}

    def describe(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        found = self._find(params)
        request = {name: value for name, value in found.document["request"].items() if name != "Tags"}
        return {**request, "JobDefinitionArn": found.arn, "CreationTime": found.created}

    def list(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        found, token = page(self._database, self._kind.kind, params, {"EndpointName": ENDPOINT}, {"endpoint": ENDPOINT})
        rows = [
            {
                "MonitoringJobDefinitionName": resource.name,
                "MonitoringJobDefinitionArn": resource.arn,
                "CreationTime": resource.created,
                "EndpointName": resource.document["endpoint"],
            }
            for resource in found
        ]
        return {"JobDefinitionSummaries": rows, "NextToken": token}

    def delete(self, params: dict[str, Any], region: str) -> None:
        self._database.delete(self._kind.kind, self._find(params).name)

    def _find(self, params: dict[str, Any]) -> Resource:
        name = params["JobDefinitionName"]
        found = self._database.get(self._kind.kind, name)
        if found is None:
            raise ResourceNotFound(f'Could not find job definition "{name}".')
        return found
