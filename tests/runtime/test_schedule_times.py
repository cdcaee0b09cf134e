"""When a schedule runs, and what each run looks at."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from millrace.runtime.errors import ValidationException
from millrace.runtime.schedule_times import HOUR, Window, times_of, window_of

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()


def config(expression: str | None, start: str | None = None, end: str | None = None) -> dict[str, Any]:
    given = {"ScheduleExpression": expression, "DataAnalysisStartTime": start, "DataAnalysisEndTime": end}
    return {"ScheduleConfig": {k: v for k, v in given.items() if v is not None}} if expression else {}


def hours_after(expression: str | None, moment: float, count: int = 3) -> list[int]:
    """The next scheduled times, in hours from noon."""
    found = []
    for _ in range(count):
        moment = times_of(config(expression)).after(moment)
        found.append(round((moment - NOON) / HOUR))
    return found


@pytest.mark.parametrize(
    ("expression", "hours"),
    [
        ("cron(0 * ? * * *)", [1, 2, 3]),
        ("cron(0 12 ? * * *)", [24, 48, 72]),
        ("cron(0 0 ? * * *)", [12, 36, 60]),
        (None, [12, 36, 60]),
        ("cron(0 17/12 ? * * *)", [5, 17, 29]),
        ("cron(0 0/2 ? * * *)", [2, 4, 6]),
        ("cron(0 20/5 ? * * *)", [4, 8, 13]),
        ("cron(0 3/24 ? * * *)", [15, 39, 63]),
    ],
)
def test_next_times(expression: str | None, hours: list[int]) -> None:
    assert hours_after(expression, NOON) == hours
    assert hours_after(expression, NOON + 1) == hours


@pytest.mark.parametrize(
    "expression",
    ["hourly", "cron(5 * ? * * *)", "cron(0 24 ? * * *)", "cron(0 0/0 ? * * *)", "cron(0 0/25 ? * * *)",
     "cron(0 */2 ? * * *)", "cron(0 12 * * ? *)", "rate(1 hour)", "now"],
)  # fmt: skip
def test_other_expressions_are_refused_with_those_that_are_taken(expression: str) -> None:
    with pytest.raises(ValidationException, match=r"cron\(0 \* \? \* \* \*\) for every hour"):
        times_of(config(expression))


@pytest.mark.parametrize(
    ("given", "source", "hours"),
    [
        (config("cron(0 * ? * * *)"), {}, (-1, 0)),
        (config("cron(0 0/6 ? * * *)"), {}, (-6, 0)),
        (config(None), {}, (-24, 0)),
        (config("cron(0 * ? * * *)", "-PT5H", "-PT1H"), {}, (-5, -1)),
        (config("cron(0 * ? * * *)", "-P1D"), {}, (-24, 0)),
        (config("NOW", "-PT90M", "-PT0H"), {}, (-1.5, 0)),
        (config("cron(0 * ? * * *)"), {"StartTimeOffset": "-PT3H", "EndTimeOffset": "-PT1H"}, (-3, -1)),
        (config("cron(0 * ? * * *)"), {"StartTimeOffset": "-P8D", "EndTimeOffset": "-P1D"}, (-192, -24)),
    ],
)
def test_window(given: dict[str, Any], source: dict[str, Any], hours: tuple[float, float]) -> None:
    assert window_of(given, source, NOON) == Window(NOON + hours[0] * HOUR, NOON + hours[1] * HOUR)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (config("NOW"), "NOW needs DataAnalysisStartTime and DataAnalysisEndTime"),
        (config("NOW", "-PT1H"), "NOW needs"),
        (config("cron(0 * ? * * *)", "-PT1H", "-PT1H"), "must not be empty"),
        (config("cron(0 * ? * * *)", "-PT1H", "PT1H"), "not end after"),
        (config("cron(0 * ? * * *)", "-PT25H"), "not be longer than 24 hours"),
        (config("cron(0 * ? * * *)", "1 hour"), "no ISO 8601 duration"),
        (config("cron(0 * ? * * *)", "-P"), "no ISO 8601 duration"),
        (config("cron(0 * ? * * *)", "-PT"), "no ISO 8601 duration"),
    ],
)
def test_windows_that_cannot_be_are_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationException, match=why):
        window_of(given, {}, NOON)
