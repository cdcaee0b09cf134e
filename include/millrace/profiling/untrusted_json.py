"""Read a JSON document that came from outside, field by field, with errors that name the field.

Baseline files lie in a bucket and are edited by hand, so nothing about them is taken on trust: size, syntax, types and
ranges are checked before use. It does not know any format; the `*_file` modules do.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from millrace.profiling.errors import FormatError

MAX_BYTES = 256 * 1024 * 1024


class Field:
    """A value inside a document, with the path that leads to it. Every accessor raises FormatError."""

    def __init__(self, value: Any, where: str) -> None:
        self.value = value
        self.where = where

    def __getitem__(self, key: str) -> Field:
        if key not in self.object():
            raise FormatError(f"{self.where} lacks {key!r}; write the file again with the `baseline` command")
        return Field(self.value[key], f"{self.where}.{key}")

    def get(self, key: str, default: object) -> Field:
        return Field(self.object().get(key, default), f"{self.where}.{key}")

    def has(self, key: str) -> bool:
        return self.object().get(key) is not None

    def object(self) -> dict[str, Any]:
        return self._typed(dict, "an object")  # type: ignore[no-any-return]

    def items(self) -> list[Field]:
        values = self._typed(list, "a list")
        return [Field(value, f"{self.where}[{index}]") for index, value in enumerate(values)]

    def text(self, *, one_of: tuple[str, ...] = ()) -> str:
        value: str = self._typed(str, "a string")
        if one_of and value not in one_of:
            raise FormatError(f"{self.where} is {value!r}; it must be one of {', '.join(one_of)}")
        return value

    def number(self, low: float = -math.inf, high: float = math.inf) -> float:
        value = self.value
        if not _is_finite(value):
            raise FormatError(f"{self.where} is {_short(value)}; it must be a finite number")
        if not low <= value <= high:
            raise FormatError(f"{self.where} is {value}; it must be from {low} to {high}")
        return float(value)

    def numbers(self) -> list[float]:
        """A list of finite numbers, looked at together: a sketch has thousands."""
        values: list[float] = self._typed(list, "a list")
        # One by one only to say which of them is none.
        return values if all(map(_is_finite, values)) else [item.number() for item in self.items()]

    def count(self) -> int:
        value = self.number(low=0)
        if value != int(value):
            raise FormatError(f"{self.where} is {value}; it must be a whole number")
        return int(value)

    def counts(self) -> dict[str, int]:
        """An object of whole numbers from 0, looked at together as `numbers`."""
        values: dict[str, int] = self.object()
        if all(type(value) is int and value >= 0 for value in values.values()):
            return values
        return {key: self[key].count() for key in values}

    def boolean(self) -> bool:
        return bool(self._typed(bool, "true or false"))

    def _typed(self, kind: type, words: str) -> Any:
        if not isinstance(self.value, kind):
            raise FormatError(f"{self.where} is {_short(self.value)}; it must be {words}")
        return self.value


def read_document(path: Path) -> Field:
    """The JSON object in `path`, at most 256 MiB.

    Raises:
        FormatError: the file is missing, too large, not UTF-8 JSON, or not an object.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise FormatError(f"{path} is {size} bytes; at most {MAX_BYTES} are read")
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise FormatError(f"{path} cannot be read ({error.strerror}); run the `baseline` command first") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path} is not JSON: {error}") from error
    field = Field(document, path.name)
    field.object()
    return field


def _is_finite(value: object) -> bool:
    """Whether it is a number, and one that a float can hold; true and false are none."""
    try:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:
        return False


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
