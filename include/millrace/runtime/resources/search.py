"""Search over training jobs: filters, nested filters, sub-expressions, sorting and pages, as the API's Search has them.

Everything that Describe tells can be searched for, and `Metrics.<name>`, `HyperParameters.<name>` and `Tags.<key>`. Source:
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_Filter.html. What it does not do: other resources than
training jobs are refused by name, and properties that hold something else than text, numbers and times cannot be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from millrace.runtime.database import Database, Query, Resource
from millrace.runtime.errors import ValidationException

from .listing import offset_of, token_for

KIND, MEMBER = "training-job", "TrainingJob"
DEFAULT_PAGE, EVERYTHING = 10, 2**31
Document = dict[str, Any]


class SearchOperations:
    """Search, over what Describe says of each job."""

    def __init__(self, database: Database, describe: Callable[[Resource], Document]) -> None:
        """
        Args:
            describe: what DescribeTrainingJob answers for a job.
        """
        self._database = database
        self._describe = describe

    def table(self) -> dict[str, Callable[[dict[str, Any], str], dict[str, Any]]]:
        return {"Search": self.search}

    def search(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        if params["Resource"] != MEMBER:
            raise ValidationException(
                f"Search: Resource={params['Resource']!r} is not offered by the Millrace runtime yet (AWS takes it); "
                f"offered: {MEMBER}"
            )
        found = [
            document
            for job in self._database.each(KIND, _narrowed(params.get("SearchExpression") or {}))
            if _matches(document := self._document(job), params.get("SearchExpression") or {})
        ]
        sort_by = params.get("SortBy", "LastModifiedTime")
        with_value = [document for document in found if next(_values(document, sort_by), None) is not None]
        without = [document for document in found if next(_values(document, sort_by), None) is None]
        is_descending = params.get("SortOrder", "Descending") == "Descending"
        with_value.sort(key=lambda document: _sort_key(next(_values(document, sort_by))), reverse=is_descending)
        ordered = with_value + without
        offset, limit = offset_of(params.get("NextToken")), params.get("MaxResults", DEFAULT_PAGE)
        return {
            "Results": [{MEMBER: document} for document in ordered[offset : offset + limit]],
            "NextToken": token_for(offset + limit) if len(ordered) > offset + limit else None,
            "TotalHits": {"Value": len(ordered), "Relation": "EqualTo"},
        }

    def _document(self, job: Resource) -> Document:
        tags = [{"Key": key, "Value": value} for key, value in self._database.tags(job.arn).items()]
        return {**self._describe(job), "Tags": tags}


def _narrowed(expression: Mapping[str, Any]) -> Query:
    """What the database can leave out before a document is read. Every filter still holds for what is left."""
    if expression.get("Operator") == "Or":
        return Query(limit=EVERYTHING)
    rows = expression.get("Filters") or []
    wanted = {(row["Name"], row.get("Operator") or "Equals"): row.get("Value") for row in rows}
    return Query(
        name_contains_any_case=wanted.get((f"{MEMBER}Name", "Contains")) or wanted.get((f"{MEMBER}Name", "Equals")),
        status=wanted.get((f"{MEMBER}Status", "Equals")),
        limit=EVERYTHING,
    )


def _matches(document: Document, expression: Mapping[str, Any]) -> bool:
    parts = [
        *(_holds(list(_values(document, row["Name"])), row) for row in expression.get("Filters") or []),
        *(_nested(document, row) for row in expression.get("NestedFilters") or []),
        *(_matches(document, row) for row in expression.get("SubExpressions") or []),
    ]
    return any(parts) if expression.get("Operator") == "Or" and parts else all(parts)


def _nested(document: Document, nested: Mapping[str, Any]) -> bool:
    """Whether one element of a list holds all of the filters; their names begin with that of the list."""
    path = nested["NestedPropertyName"]
    for element in _elements(document, path.split(".")):
        filters = [{**row, "Name": row["Name"].removeprefix(f"{path}.")} for row in nested["Filters"]]
        if all(_holds(list(_values(element, row["Name"])), row) for row in filters):
            return True
    return False


def _elements(value: Any, path: list[str]) -> Iterator[Any]:
    """What lies at a path, each element of the lists on the way apart."""
    if isinstance(value, list):
        for element in value:
            yield from _elements(element, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _elements(value[path[0]], path[1:])


def _values(document: Document, name: str) -> Iterator[Any]:
    """The values of a property; `Metrics`, `HyperParameters` and `Tags` take the rest of the name as their key."""
    head, _, rest = name.partition(".")
    if head == "Metrics":
        rows = document.get("FinalMetricDataList") or []
        yield from (row["Value"] for row in rows if row["MetricName"] == rest)
    elif head == "Tags" and rest:
        yield from (row["Value"] for row in document.get("Tags") or [] if row["Key"] == rest)
    elif head in ("HyperParameters", "Environment") and rest:
        value = (document.get(head) or {}).get(rest)
        yield from () if value is None else (value,)
    else:
        yield from (value for value in _elements(document, name.split(".")) if value is not None)


def _holds(values: list[Any], row: Mapping[str, Any]) -> bool:
    operator = row.get("Operator") or "Equals"
    if operator in ("Exists", "NotExists"):
        return bool(values) == (operator == "Exists")
    wanted = row.get("Value")
    if wanted is None:
        raise ValidationException(f"Search: the filter on {row['Name']!r} with {operator} needs a Value")
    if operator == "NotEquals":
        return not any(COMPARISONS["Equals"](value, wanted, row["Name"]) for value in values)
    return any(COMPARISONS[operator](value, wanted, row["Name"]) for value in values)


def _order(value: Any, wanted: str, name: str) -> int:
    """-1, 0 or 1: as numbers or times where the value is one, else as texts.

    Raises:
        ValidationException: the property is a number or a time, and what it is compared with is none.
    """
    left: Any = value
    right: Any = wanted
    if isinstance(value, (dict, list)):
        raise ValidationException(f"Search: {name} is no single value; name a property of it, such as {name}.…")
    if name.endswith("Time"):
        left, right = float(value), _seconds(wanted, name)
    elif isinstance(value, bool):
        left, right = str(value).lower(), wanted.lower()
    elif isinstance(value, (int, float)) or (name.startswith("HyperParameters.") and _is_number(value)):
        if not _is_number(wanted):
            raise ValidationException(f"Search: {name} is a number, and the filter's Value is {wanted!r}")
        left, right = float(value), float(wanted)
    return int(left > right) - int(left < right)


COMPARISONS: dict[str, Callable[[Any, str, str], bool]] = {
    "Equals": lambda value, wanted, name: _order(value, wanted, name) == 0,
    "GreaterThan": lambda value, wanted, name: _order(value, wanted, name) > 0,
    "GreaterThanOrEqualTo": lambda value, wanted, name: _order(value, wanted, name) >= 0,
    "LessThan": lambda value, wanted, name: _order(value, wanted, name) < 0,
    "LessThanOrEqualTo": lambda value, wanted, name: _order(value, wanted, name) <= 0,
    "Contains": lambda value, wanted, _name: wanted.lower() in str(value).lower(),
    "In": lambda value, wanted, _name: str(value) in [part.strip() for part in wanted.split(",")],
}


def _is_number(text: Any) -> bool:
    try:
        return math.isfinite(float(text))
    except (ValueError, TypeError):
        return False


def _seconds(text: str, name: str) -> float:
    if _is_number(text):
        return float(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValidationException(
            f"Search: {name} is a time, and the filter's Value is {text!r}; write it as 2026-01-31T12:00:00Z"
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _sort_key(value: Any) -> tuple[int, float, str]:
    return (0, float(value), "") if _is_number(value) else (1, 0.0, str(value))
