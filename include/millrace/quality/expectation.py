"""One expectation of a suite, and the suite: what Great Expectations 1.x writes as JSON, as plain frozen records.

Nothing of Great Expectations is imported here, and a document is not trusted: its form is checked, while what an
expectation's arguments may be is checked by who evaluates it (`streaming`, or Great Expectations itself).

Format: `ExpectationSuite.to_json_dict()` of Great Expectations 1.x,
https://docs.greatexpectations.io/docs/reference/api/expectationsuite_class/
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from millrace.quality.errors import SuiteError

SEVERITIES = ("critical", "warning", "info")
MAX_EXPECTATIONS = 10_000
MAX_ARGUMENTS_CHARACTERS = 1024 * 1024
TYPE = re.compile(r"[a-z][a-z0-9_]{0,199}")
PARAMETER = "$PARAMETER"
"""A suite's placeholder for a value that is known when it runs: {"$PARAMETER": "name"}."""
SUITE_MEMBERS = frozenset({"name", "expectations", "id", "meta", "notes"})
EXPECTATION_MEMBERS = frozenset(
    {"type", "kwargs", "meta", "severity", "id", "notes", "description", "rendered_content", "expectation_context"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One thing that the data must satisfy."""

    type: str
    """Great Expectations' name for it, for example `expect_column_values_to_be_between`."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    severity: str = "critical"
    """`critical` blocks: the gate fails. `warning` and `info` are reported, and let the data pass."""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def blocks(self) -> bool:
        return self.severity == "critical"

    def to_json(self) -> dict[str, Any]:
        """As Great Expectations writes it."""
        return {
            "type": self.type, "kwargs": dict(self.kwargs), "meta": dict(self.meta), "severity": self.severity,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A named list of expectations, of which there is at least one."""

    name: str
    expectations: tuple[Expectation, ...]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "expectations": [expectation.to_json() for expectation in self.expectations]}


def suite_of(document: object, *, source: str, parameters: Mapping[str, Any] | None = None) -> Suite:
    """The suite in a document of Great Expectations' form.

    Args:
        document: what `json.loads` made of the file, or what a suite's function returned.
        source: where it comes from, for messages.
        parameters: values for the suite's `{"$PARAMETER": name}`.

    Raises:
        SuiteError: it is not of that form, has no expectation, or a parameter is missing or unknown.
    """
    members = _object(document, source)
    _known(members, SUITE_MEMBERS, source)
    name = members.get("name")
    if not isinstance(name, str) or not name.strip():
        raise SuiteError(f"{source}: name is {_short(name)}; a suite needs a name")
    items = members.get("expectations")
    if not isinstance(items, list):
        raise SuiteError(f"{source}: expectations is {_short(items)}; it must be a list")
    if not items:
        raise SuiteError(f"the suite {name!r} of {source} has no expectations; an empty gate proves nothing")
    if len(items) > MAX_EXPECTATIONS:
        raise SuiteError(f"{source} has {len(items)} expectations; at most {MAX_EXPECTATIONS} are taken")
    values, asked = dict(parameters or {}), set[str]()
    expectations = tuple(
        _expectation(item, f"{source}: expectations[{index}]", values, asked) for index, item in enumerate(items)
    )
    unused = sorted(values.keys() - asked)
    if unused:
        raise SuiteError(f"{source} has no parameter {unused[0]!r}; check the --set names")
    return Suite(name=name, expectations=expectations)


def _expectation(item: object, where: str, values: Mapping[str, Any], asked: set[str]) -> Expectation:
    members = _object(item, where)
    _known(members, EXPECTATION_MEMBERS, where)
    kind = members.get("type")
    if not isinstance(kind, str) or not TYPE.fullmatch(kind):
        raise SuiteError(f"{where}.type is {_short(kind)}; it must be a name such as expect_column_to_exist")
    # Great Expectations leaves out an expectation that it does not understand, with a line in the log: never here.
    severity = members.get("severity") or "critical"
    if severity not in SEVERITIES:
        raise SuiteError(f"{where}.severity is {_short(severity)}; it must be one of {', '.join(SEVERITIES)}")
    kwargs = _object(members.get("kwargs") or {}, f"{where}.kwargs")
    if len(json.dumps(kwargs, default=str)) > MAX_ARGUMENTS_CHARACTERS:
        raise SuiteError(
            f"{where}.kwargs is over {MAX_ARGUMENTS_CHARACTERS} characters; hold a set that large otherwise"
        )
    if "@" in str(kwargs.get("row_condition") or ""):
        # pandas evaluates the condition, and what follows an @ is looked up in the program's own variables
        raise SuiteError(f"{where}.kwargs.row_condition has an @; write a condition on the columns alone")
    return Expectation(
        type=kind,
        kwargs={name: _filled(value, f"{where}.kwargs.{name}", values, asked) for name, value in kwargs.items()},
        severity=severity,
        meta=_object(members.get("meta") or {}, f"{where}.meta"),
    )


def _filled(value: Any, where: str, values: Mapping[str, Any], asked: set[str]) -> Any:
    """The value with its parameter put in."""
    if not isinstance(value, dict) or PARAMETER not in value:
        return value
    name = value[PARAMETER]
    if not isinstance(name, str) or name not in values:
        raise SuiteError(f"{where} asks for the parameter {name!r}, which is not given; add --set {name}=value")
    asked.add(name)
    return values[name]


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise SuiteError(f"{where} is {_short(value)}; it must be an object")
    return value


def _known(members: Mapping[str, Any], names: frozenset[str], where: str) -> None:
    unknown = sorted(members.keys() - names)
    if unknown:
        raise SuiteError(f"{where} has the member {unknown[0]!r}, which no suite has; check its spelling")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
