"""List operations: SageMaker's filters and pages, the same for every kind."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from millrace.runtime.database import Database, Query, Resource
from millrace.runtime.errors import ValidationException

DEFAULT_PAGE = 10


def page(database: Database, kind: str, params: dict[str, Any]) -> tuple[list[Resource], str | None]:
    """One page of a kind, and the token of the next page or None.

    Raises:
        ValidationException: the token is not one that this runtime gave.
    """
    offset = _offset(params.get("NextToken"))
    limit = params.get("MaxResults", DEFAULT_PAGE)
    found = database.list(
        kind,
        Query(
            name_contains=params.get("NameContains"),
            status=params.get("StatusEquals"),
            created_after=params.get("CreationTimeAfter"),
            created_before=params.get("CreationTimeBefore"),
            modified_after=params.get("LastModifiedTimeAfter"),
            modified_before=params.get("LastModifiedTimeBefore"),
            sort_by=params.get("SortBy", "CreationTime"),
            descending=params.get("SortOrder", "Descending") == "Descending",
            offset=offset,
            limit=limit + 1,
        ),
    )
    token = base64.urlsafe_b64encode(b"%d" % (offset + limit)).decode() if len(found) > limit else None
    return found[:limit], token


def _offset(token: str | None) -> int:
    if token is None:
        return 0
    try:
        offset = int(base64.urlsafe_b64decode(token))
        if not 0 <= offset < 2**53:
            raise ValueError(offset)
        return offset
    except (binascii.Error, ValueError) as error:
        raise ValidationException(f"NextToken {token!r} was not given by a listing; start again without it") from error
