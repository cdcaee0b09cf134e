"""AWS JSON 1.1, held against botocore's own service model.

`parse` turns a body into parameters after checking what AWS checks and botocore does not send-check: maxima, patterns,
enumerations. `serialise` writes an answer. What it does not do: cross-field rules and the existence of resources are
the business of `resources/`.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import Any

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

from .errors import SerializationException, UnknownOperation, ValidationException

MAX_BODY_BYTES = 4 * 1024 * 1024
# The service model's patterns are Java's; these Unicode classes have no name in Python's `re`.
JAVA_CLASSES = {
    r"\p{L}": r"\w",
    r"\p{Alnum}": "a-zA-Z0-9",
    r"\p{M}": "\u0300-\u036f",
    r"\p{Z}": r"\s",
    r"\p{N}": r"\d",
    r"\p{P}": r"!-/:-@\[-`{-~",
    r"\p{S}": r"$+<=>^`|~",
}


@functools.cache
def service_model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    for java, python in JAVA_CLASSES.items():
        pattern = pattern.replace(java, python)
    pattern = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")
    # `${1,128}` in tag patterns is a quantified anchor, which Python refuses; the lengths are checked apart.
    try:
        return re.compile(re.sub(r"\$\{\d+,\d+\}", "", pattern))
    except re.error:
        return re.compile(".*", re.DOTALL)  # a few of Java's cannot be said in Python: then only AWS can tell


def operation(service: str, name: str) -> OperationModel:
    """The model of one operation.

    Raises:
        UnknownOperation: the service has no operation of that name.
    """
    model = service_model(service)
    if name not in model.operation_names:
        raise UnknownOperation(f"{service} has no operation {name!r}")
    return model.operation_model(name)


def parse(service: str, name: str, body: bytes) -> dict[str, Any]:
    """The parameters of a call, checked against the service model.

    Raises:
        SerializationException: the body is not a JSON object, or a member has the wrong type.
        ValidationException: one or more members break a constraint; the text lists all of them, as AWS does.
    """
    shape = operation(service, name).input_shape
    try:
        params = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise SerializationException(f"the body of {name} is not JSON: {error}") from error
    if b"\\u0000" in body and _holds_nul(params):
        raise ValidationException(f"{name}: a text of the request holds a NUL character; take it out")
    if not isinstance(params, dict):
        raise SerializationException(f"the body of {name} is a JSON {type(params).__name__}; it must be an object")
    if shape is None:
        return {}
    breaches = list(_breaches(shape, params, ""))
    if breaches:
        plural = "" if len(breaches) == 1 else "s"
        raise ValidationException(f"{len(breaches)} validation error{plural} detected: {'; '.join(breaches)}")
    return _known_members(shape, params)  # type: ignore[no-any-return]


def _holds_nul(value: Any) -> bool:
    """Whether a text in a document holds a NUL, which ends arguments and variables of programs."""
    if isinstance(value, dict):
        return any(_holds_nul(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(map(_holds_nul, value))
    return isinstance(value, str) and "\0" in value


def serialise(service: str, name: str, result: dict[str, Any] | None) -> bytes:
    """The body of an answer: only members that the operation's output has, without those that are None."""
    shape = operation(service, name).output_shape
    if shape is None or result is None:
        return b""
    return json.dumps(_known_members(shape, result), separators=(",", ":")).encode()


def _known_members(shape: Shape, value: Any) -> Any:
    """AWS ignores members it does not know; so nothing behind this point ever sees one."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        members = shape.members
        return {k: _known_members(members[k], v) for k, v in value.items() if k in members and v is not None}
    if isinstance(shape, ListShape):
        return [_known_members(shape.member, v) for v in value]
    if isinstance(shape, MapShape):
        return {k: _known_members(shape.value, v) for k, v in value.items()}
    return value


def _breaches(shape: Shape, value: Any, path: str) -> Iterator[str]:
    """One sentence, in AWS's words, for each constraint that `value` breaks."""
    if isinstance(shape, StructureShape):
        _require_type(value, dict, path)
        for name in shape.required_members:
            if value.get(name) is None:
                yield f"Value null at '{_join(path, name)}' failed to satisfy constraint: Member must not be null"
        for name, member in shape.members.items():
            if value.get(name) is not None:
                yield from _breaches(member, value[name], _join(path, name))
    elif isinstance(shape, ListShape):
        _require_type(value, list, path)
        yield from _range_breaches(shape, len(value), value, path, "length")
        for index, item in enumerate(value):
            yield from _breaches(shape.member, item, f"{path}.{index + 1}.member")
    elif isinstance(shape, MapShape):
        _require_type(value, dict, path)
        yield from _range_breaches(shape, len(value), value, path, "length")
        for key, item in value.items():
            yield from _breaches(shape.key, key, f"{path}.key")
            yield from _breaches(shape.value, item, f"{path}.{key}.member")
    else:
        yield from _scalar_breaches(shape, value, path)


def _scalar_breaches(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if shape.type_name == "string":
        _require_type(value, str, path)
        yield from _range_breaches(shape, len(value), value, path, "length")
        pattern = shape.metadata.get("pattern")
        if pattern and not _compiled(pattern).fullmatch(value):
            yield _breach(value, path, f"Member must satisfy regular expression pattern: {pattern}")
        allowed = shape.metadata.get("enum")
        if allowed and value not in allowed:
            yield _breach(value, path, f"Member must satisfy enum value set: [{', '.join(allowed)}]")
    elif shape.type_name in ("integer", "long"):
        _require_type(value, int, path)
        yield from _range_breaches(shape, value, value, path, "value")
    elif shape.type_name in ("float", "double"):
        _require_type(value, (int, float), path)
        yield from _range_breaches(shape, value, value, path, "value")
    elif shape.type_name == "boolean":
        _require_type(value, bool, path)


def _range_breaches(shape: Shape, size: float, value: Any, path: str, what: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low:
        yield _breach(value, path, f"Member must have {what} greater than or equal to {low}")
    if high is not None and size > high:
        yield _breach(value, path, f"Member must have {what} less than or equal to {high}")


def _breach(value: Any, path: str, rule: str) -> str:
    shown = value if isinstance(value, (str, int, float)) else json.dumps(value)
    shown = str(shown)
    if len(shown) > 200:
        shown = shown[:200] + "…"
    return f"Value '{shown}' at '{path}' failed to satisfy constraint: {rule}"


def _require_type(value: Any, kind: type | tuple[type, ...], path: str) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        wanted = kind.__name__ if isinstance(kind, type) else " or ".join(k.__name__ for k in kind)
        raise SerializationException(f"{path or 'the request'} is {value!r}; it must be a {wanted}")


def _join(path: str, name: str) -> str:
    camel = name[0].lower() + name[1:]
    return f"{path}.{camel}" if path else camel
