"""When a monitoring schedule runs, and which span of time each of its runs looks at.

The expressions are the four that SageMaker takes: every hour, every day at an hour, every n hours from an hour on, and NOW.
Spans are given as ISO 8601 durations from the scheduled time, such as -PT1H. What it does not do: it starts nothing.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-schedule-expression.html and
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ScheduleConfig.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ValidationException

NOW = "NOW"
DAILY = "cron(0 0 ? * * *)"
"""What a schedule without an expression has: SageMaker picks an hour then, and this runtime picks midnight, UTC."""
CRON = re.compile(r"cron\(0 (?P<hour>\*|\d{1,2})(?:/(?P<step>\d{1,2}))? \? \* \* \*\)")
OFFSET = re.compile(r"(-)?P(?=.)(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")
HOUR, DAY = 3600, 86_400
LONGEST_OFFSETS = 31 * DAY
"""Of a window by an input's own offsets, which wait for labels; AWS states no limit, and each hour is looked up in S3."""


@dataclass(frozen=True, slots=True)
class Times:
    """The hours of a day, UTC, at which a schedule runs, and the hours between two runs. No hours: once, at once."""

    hours: frozenset[int]
    every: int

    @property
    def is_once(self) -> bool:
        return not self.hours

    def after(self, moment: float) -> float:
        """The first scheduled time later than a moment, in seconds since the epoch; the moment itself for NOW."""
        if self.is_once:
            return moment
        hour = math.floor(moment / HOUR) + 1
        while hour % 24 not in self.hours:
            hour += 1
        return float(hour * HOUR)


@dataclass(frozen=True, slots=True)
class Window:
    """Data from `start` on and before `end`, in seconds since the epoch."""

    start: float
    end: float


def times_of(config: Mapping[str, Any]) -> Times:
    """When a MonitoringScheduleConfig runs.

    Raises:
        ValidationException: the expression is none that SageMaker takes.
    """
    expression = (config.get("ScheduleConfig") or {}).get("ScheduleExpression", DAILY)
    if expression == NOW:
        return Times(frozenset(), 0)
    match = CRON.fullmatch(expression)
    hour, step = (match["hour"], match["step"]) if match else ("", None)
    if hour == "*" and step is None:
        return Times(frozenset(range(24)), 1)
    start, every = int(hour) if hour.isdigit() else 24, 24 if step is None else int(step)
    if start > 23 or not 1 <= every <= 24:
        raise ValidationException(
            f"The schedule expression {expression!r} is invalid: use NOW, cron(0 * ? * * *) for every hour, "
            "cron(0 H ? * * *) for every day at hour H, or cron(0 H/N ? * * *) for every N hours from hour H on "
            "(H from 0 to 23, N from 1 to 24, UTC)"
        )
    return Times(frozenset((start + index * every) % 24 for index in range(math.ceil(24 / every))), every)


def window_of(config: Mapping[str, Any], source: Mapping[str, Any], scheduled: float) -> Window:
    """What the run of a scheduled time looks at: DataAnalysisStartTime to DataAnalysisEndTime, else the input's own offsets,
    else the hours since the run before.

    Args:
        source: the EndpointInput or BatchTransformInput.

    Raises:
        ValidationException: an offset is none, the window is empty or too long (24 hours by DataAnalysisStartTime, 31 days
            by the input's offsets), ends in the future, or is missing where it is needed.
    """
    times, given = times_of(config), config.get("ScheduleConfig") or {}
    start = given.get("DataAnalysisStartTime", source.get("StartTimeOffset"))
    end = given.get("DataAnalysisEndTime", source.get("EndTimeOffset"))
    if times.is_once and (start is None or end is None):
        raise ValidationException(
            "The schedule expression NOW needs DataAnalysisStartTime and DataAnalysisEndTime, for example -PT1H and -PT0H"
        )
    before = _seconds(start, "start") if start is not None else -times.every * HOUR
    until = _seconds(end, "end") if end is not None else 0
    longest = DAY if "DataAnalysisStartTime" in given else LONGEST_OFFSETS
    if not before < until <= 0 or until - before > longest:
        raise ValidationException(
            f"The data analysis window from {start or f'-PT{times.every}H'} to {end or '-PT0H'} is invalid: it must not be "
            f"empty, not be longer than {longest // HOUR} hours, and not end after the scheduled time"
        )
    return Window(scheduled + before, scheduled + until)


def _seconds(text: str, which: str) -> int:
    match = OFFSET.fullmatch(text)
    if match is None:
        raise ValidationException(
            f"The {which} of the data analysis window, {text!r}, is no ISO 8601 duration of days, hours, minutes and "
            "seconds; use for example -PT5H"
        )
    sign, *parts = match.groups()
    seconds = sum(int(part or 0) * unit for part, unit in zip(parts, (DAY, HOUR, 60, 1), strict=True))
    return -seconds if sign else seconds
