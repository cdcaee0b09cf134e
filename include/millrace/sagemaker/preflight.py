"""Requests held against what SageMaker accepts, before they are sent: on parse with literals, on submit with all values.

The constraint table (`constraints.json`) is generated from botocore's service model by `python -m
millrace.sagemaker.constraints`; loading the model itself would cost every DAG parse 150 ms. A value that is still a
template is passed over. What it does not do: it asks no one whether a bucket, role or model exists.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("constraints.json")


class PreflightError(ValueError):
    """A request that SageMaker would refuse. Names the argument, its value and what would fit."""


@functools.cache
def table() -> dict[str, Any]:
    return dict(json.loads(TABLE.read_text(encoding="utf-8")))


def is_template(value: object) -> bool:
    """Whether a value is only known when the task runs."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def check(operation: str, request: dict[str, Any]) -> None:
    """Hold a request against the constraints of an operation and AWS's cross-field rules.

    Raises:
        PreflightError: it breaks one; all breaches are listed.
    """
    breaches = [*_breaches(table()["operations"][operation], request, ""), *_cross_field(operation, request)]
    if breaches:
        raise PreflightError(f"{operation} would be refused: " + "; ".join(breaches))


def _breaches(shape_name: str, value: Any, path: str) -> Iterator[str]:
    if is_template(value):
        return
    shape = table()["shapes"][shape_name]
    yield from _CHECKS[shape["type"]](shape, value, path)


def _structure(shape: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is {value!r} and must be a mapping"
        return
    for name in shape.get("required", ()):
        if value.get(name) is None:
            yield f"{_join(path, name)} is missing"
    for name, member in value.items():
        if name not in shape["members"]:
            yield f"{_join(path, name)} is unknown"
        elif member is not None:
            yield from _breaches(shape["members"][name], member, _join(path, name))


def _list(shape: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, (list, tuple)):
        yield f"{path} is {value!r} and must be a list"
        return
    yield from _size(shape, len(value), f"{path} has {len(value)} items", "items")
    for index, item in enumerate(value):
        yield from _breaches(shape["member"], item, f"{path}[{index}]")


def _map(shape: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is {value!r} and must be a mapping"
        return
    yield from _size(shape, len(value), f"{path} has {len(value)} entries", "entries")
    for key, item in value.items():
        yield from _breaches(shape["key"], key, f"the key {key!r} of {path}")
        yield from _breaches(shape["value"], item, f"{path}[{key!r}]")


def _string(shape: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{path} is {value!r} and must be a string"
        return
    yield from _size(shape, len(value), f"{path} is {value!r} ({len(value)} characters)", "characters")
    if "enum" in shape and value not in shape["enum"]:
        allowed = shape["enum"]
        shown = ", ".join(allowed[:8]) + (f" and {len(allowed) - 8} more" if len(allowed) > 8 else "")
        yield f"{path} is {value!r} and must be one of {shown}"
    elif "pattern" in shape and not re.fullmatch(shape["pattern"], value):
        yield f"{path} is {value!r} and must match {shape['pattern']}"


def _integer(shape: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, int):
        yield f"{path} is {value!r} and must be a whole number"
        return
    yield from _size(shape, value, f"{path} is {value}", "")


def _number(shape: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        yield f"{path} is {value!r} and must be a number"
        return
    yield from _size(shape, value, f"{path} is {value}", "")


def _boolean(_shape: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, bool):
        yield f"{path} is {value!r} and must be True or False"


def _size(shape: dict[str, Any], size: float, what: str, unit: str) -> Iterator[str]:
    if "min" in shape and size < shape["min"]:
        yield f"{what}; at least {shape['min']} {unit}".rstrip()
    if "max" in shape and size > shape["max"]:
        yield f"{what}; at most {shape['max']} {unit}".rstrip()


_CHECKS: dict[str, Callable[[dict[str, Any], Any, str], Iterator[str]]] = {
    "structure": _structure, "list": _list, "map": _map, "string": _string,
    "integer": _integer, "long": _integer, "float": _number, "double": _number, "boolean": _boolean,
}  # fmt: skip


def _cross_field(operation: str, request: dict[str, Any]) -> Iterator[str]:
    """Rules over several members, which no service model states."""
    if operation == "CreateTrainingJob":
        stopping = _mapping(request.get("StoppingCondition"))
        wait, run = stopping.get("MaxWaitTimeInSeconds"), stopping.get("MaxRuntimeInSeconds")
        if isinstance(wait, int) and isinstance(run, int) and wait < run:
            yield f"MaxWaitTimeInSeconds ({wait}) must be at least MaxRuntimeInSeconds ({run})"
        if request.get("EnableManagedSpotTraining") is True and wait is None:
            yield "EnableManagedSpotTraining needs StoppingCondition.MaxWaitTimeInSeconds"
        resources = _mapping(request.get("ResourceConfig"))
        if resources.get("InstanceCount") == 0 and not resources.get("InstanceGroups"):
            yield "ResourceConfig.InstanceCount is 0; at least 1, unless there are InstanceGroups"
        yield from _differ("channel", _names(request.get("InputDataConfig"), "ChannelName"))
    elif operation == "CreateProcessingJob":
        yield from _differ("input", _names(request.get("ProcessingInputs"), "InputName"))
        outputs = _mapping(request.get("ProcessingOutputConfig")).get("Outputs")
        yield from _differ("output", _names(outputs, "OutputName"))
    elif operation == "CreateTransformJob":
        payload, concurrent = request.get("MaxPayloadInMB", 6), request.get("MaxConcurrentTransforms", 1)
        if isinstance(payload, int) and isinstance(concurrent, int) and payload * concurrent > 100:
            yield f"MaxPayloadInMB ({payload}) times MaxConcurrentTransforms ({concurrent}) is over 100"
        source = request.get("TransformInput")
        split = _mapping(source).get("SplitType", "None")
        if request.get("BatchStrategy") == "MultiRecord" and split == "None" and not is_template(source):
            yield "BatchStrategy MultiRecord needs a SplitType"


def _mapping(value: Any) -> dict[str, Any]:
    """A member as a mapping; what is none (a template, a mistake reported elsewhere) is an empty one."""
    return value if isinstance(value, dict) else {}


def _names(items: Any, field: str) -> list[Any]:
    return [_mapping(item).get(field) for item in items] if isinstance(items, (list, tuple)) else []


def _differ(what: str, names: list[Any]) -> Iterator[str]:
    twice = sorted({str(name) for name in names if name is not None and names.count(name) > 1})
    if twice:
        yield f"{what} names must differ, and {', '.join(twice)} is used twice"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
