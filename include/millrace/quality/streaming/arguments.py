"""The arguments of one expectation, read by name and checked, so that a misspelled or impossible one ends the gate.

Great Expectations leaves such an expectation out of the suite and goes on; a gate must not. Every accessor raises
SuiteError. A value of a kind that is only evaluated in memory (a date as a bound) raises NotStreamed.
"""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

from millrace.quality.errors import SuiteError
from millrace.quality.expectation import Expectation
from millrace.quality.streaming.answers import NotStreamed

NOT_ASKED = frozenset({"batch_id", "catch_exceptions", "result_format"})
"""Arguments that Great Expectations writes into a suite and that say nothing about the data."""
CONDITIONS = ("row_condition", "condition_parser")


class Arguments:
    """What one expectation was told. `check` says afterwards whether it was told more than was asked."""

    def __init__(self, expectation: Expectation) -> None:
        self.type = expectation.type
        self.values = {name: value for name, value in expectation.kwargs.items() if name not in NOT_ASKED}
        self.asked = set(CONDITIONS)
        if self.values.get("row_condition") is not None:
            raise NotStreamed("it has a row condition")

    def check(self) -> None:
        unknown = sorted(self.values.keys() - self.asked)
        if unknown:
            has = ", ".join(sorted(self.asked - set(CONDITIONS)))
            raise SuiteError(f"{self.type} has no argument {unknown[0]!r}; it takes {has}")

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        value = self.values.get(name)
        return default if value is None else value

    def text(self, name: str, *, one_of: tuple[str, ...] = (), default: str | None = None) -> str:
        value = self.get(name, default)
        if not isinstance(value, str) or not value:
            raise self._wrong(name, value, "a string")
        if one_of and value not in one_of:
            raise self._wrong(name, value, f"one of {', '.join(one_of)}")
        return value

    def texts(self, name: str, least: int = 1) -> list[str]:
        value = self.items(name, least)
        if not all(isinstance(item, str) for item in value):
            raise self._wrong(name, value, "a list of strings")
        return value

    def items(self, name: str, least: int = 0) -> list[Any]:
        value = self.get(name)
        if not isinstance(value, list) or len(value) < least:
            raise self._wrong(name, value, f"a list of at least {least}" if least else "a list")
        return value

    def scalars(self, name: str) -> list[Any]:
        """A list of numbers, strings and booleans, not empty."""
        value = self.items(name, 1)
        if not all(item is None or isinstance(item, (bool, int, float, str)) for item in value):
            raise NotStreamed(f"{name} holds values that are neither numbers nor text")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.get(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def number(self, name: str) -> float:
        value = self.bound(name)
        if value is None:
            raise self._wrong(name, value, "a number")
        return value

    def whole(self, name: str) -> float:
        value = self.whole_bound(name)
        if value is None:
            raise self._wrong(name, value, "a whole number")
        return value

    def bound(self, name: str) -> float | None:
        """A number, or None when it is left out. Text and dates are compared by Great Expectations."""
        value = self.get(name)
        if isinstance(value, str):
            raise NotStreamed(f"{name} is text")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
            raise self._wrong(name, value, "a number")
        return value

    def whole_bound(self, name: str) -> float | None:
        """A bound that must be a whole number: Great Expectations would cut it off."""
        value = self.bound(name)
        if value is not None and value != math.floor(value):
            raise self._wrong(name, value, "a whole number")
        return value

    def share(self, name: str, default: float) -> float:
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise self._wrong(name, value, "a number from 0 to 1")
        return float(value)

    def pattern(self, name: str, default: str | None = None) -> re.Pattern[str]:
        return self._pattern(name, self.text(name, default=default))

    def patterns(self, name: str) -> list[re.Pattern[str]]:
        return [self._pattern(name, text) for text in self.texts(name)]

    def _pattern(self, name: str, text: str) -> re.Pattern[str]:
        if "[[" in text:  # pandas may hand it to RE2, where [[:alpha:]] is a class, and may not
            raise NotStreamed(f"{name} has `[[`, which means one thing in RE2 and another in Python")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # signs that may become operators of sets one day
                return re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            raise SuiteError(f"{self.type}: {name} is {text!r}, which is not a regular expression: {error}") from error

    def _wrong(self, name: str, value: object, words: str) -> SuiteError:
        return SuiteError(f"{self.type}: {name} is {value!r}; it must be {words}")
