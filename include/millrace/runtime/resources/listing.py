"""List operations: SageMaker's filters and pages, the same for every kind."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from millrace.runtime.database import Database, Query, Resource
from millrace.runtime.errors import ValidationException

DEFAULT_PAGE = 10


def page(
    database: Database,
    kind: str,
    params: dict[str, Any],
    filters: Mapping[str, str] = {},
    excerpt: Mapping[str, str] = {},
    times: Mapping[str, str] = {},
) -> tuple[list[Resource], str | None]:
    """One page of a kind, and the token of the next page or None.

    Args:
        filters: parameters of this kind's own, with the JSON path in the document that each is compared with.
        excerpt: what the rows need of each document, as in a Query.
        times: words that parameters ending in After and Before begin with, with the JSON path of the time they bound.

    Raises:
        ValidationException: the token is not one that this runtime gave.
    """
    offset = offset_of(params.get("NextToken"))
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
            document_equals={path: params[name] for name, path in filters.items() if name in params},
            document_after={path: params[f"{word}After"] for word, path in times.items() if f"{word}After" in params},
            document_before={
                path: params[f"{word}Before"] for word, path in times.items() if f"{word}Before" in params
            },
            excerpt=excerpt,
            offset=offset,
            limit=limit + 1,
        ),
    )
    return found[:limit], token_for(offset + limit) if len(found) > limit else None


def token_for(offset: int) -> str:
    """The NextToken of the page that begins there."""
    return base64.urlsafe_b64encode(b"%d" % offset).decode()


def offset_of(token: str | None) -> int:
    """Where the page of a NextToken begins.

    Raises:
        ValidationException: the token is not one that this runtime gave.
    """
    if token is None:
        return 0
    try:
        offset = int(base64.urlsafe_b64decode(token))
        if not 0 <= offset < 2**53:
            raise ValueError(offset)
        return offset
    except (binascii.Error, ValueError) as error:
        raise ValidationException(f"NextToken {token!r} was not given by a listing; start again without it") from error
