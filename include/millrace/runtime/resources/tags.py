"""ListTags, AddTags and DeleteTags on any resource of this runtime, by ARN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace.runtime.database import Database
from millrace.runtime.errors import ValidationException

MAX_TAGS = 50


class TagOperations:
    def __init__(self, database: Database) -> None:
        self._database = database

    def table(self) -> dict[str, Callable[[dict[str, Any], str], dict[str, Any] | None]]:
        return {"ListTags": self.list, "AddTags": self.add, "DeleteTags": self.delete}

    def list(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        arn = self._known(params)
        return {"Tags": [{"Key": key, "Value": value} for key, value in self._database.tags(arn).items()]}

    def add(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        arn = self._known(params)
        added = {tag["Key"]: tag["Value"] for tag in params["Tags"]}
        count = len(self._database.tags(arn) | added)
        if count > MAX_TAGS:
            raise ValidationException(f"{arn} would have {count} tags; at most {MAX_TAGS} are allowed")
        self._database.tag(arn, added)
        return self.list(params, region)

    def delete(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        self._database.untag(self._known(params), params["TagKeys"])
        return {}

    def _known(self, params: dict[str, Any]) -> str:
        arn = str(params["ResourceArn"])
        if not self._database.exists_arn(arn):
            raise ValidationException(f"Could not find resource {arn}")
        return arn
