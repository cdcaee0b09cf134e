"""When drift asks for a retraining."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from millrace.retraining.policy import RetrainingPolicy, decide
from millrace.retraining.record import Record

START = datetime(2026, 11, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def history(letters: str, policy: RetrainingPolicy, champion: str = "1") -> list[Record]:
    """A day a letter: s stable, d drifted, n not judged; each day's action is what the policy said."""
    records: list[Record] = []
    for number, letter in enumerate(letters):
        outcome = {"s": "stable", "d": "drifted", "n": "not judged"}[letter]
        decision = decide(outcome, day(number), champion, records, policy)
        records.append(
            Record(
                kind="window", at=day(number), subject=f"day {number}", outcome=outcome, summary="", champion=champion,
                action=decision.action, why=decision.why,
            )
        )  # fmt: skip
    return records


@pytest.mark.parametrize(
    ("drifted", "windows", "cool_down", "days", "actions"),
    [
        (1, 1, 0, "sdsd", ["none", "retrain", "none", "retrain"]),
        (2, 3, 0, "sdsds", ["none", "hold", "none", "retrain", "none"]),
        (2, 3, 0, "dssds", ["hold", "none", "none", "hold", "none"]),
        (3, 3, 0, "dddd", ["hold", "hold", "retrain", "retrain"]),
        (2, 2, 0, "dnd", ["hold", "none", "retrain"]),  # a window that was not judged is no evidence either way
        (1, 1, 3, "ddddd", ["retrain", "hold", "hold", "retrain", "hold"]),
        (2, 3, 7, "sddddddddd", ["none", "hold", "retrain", *["hold"] * 6, "retrain"]),
    ],
)
def test_what_follows_from_each_day(drifted: int, windows: int, cool_down: int, days: str, actions: list[str]) -> None:
    policy = RetrainingPolicy(drifted=drifted, windows=windows, cool_down=timedelta(days=cool_down))
    assert [record.action for record in history(days, policy)] == actions


def test_the_reasons_and_the_evidence() -> None:
    policy = RetrainingPolicy(drifted=2, windows=3, cool_down=timedelta(days=7))
    records = history("sdsd", policy)
    assert records[1].why == "drift in 1 of the last 2 windows; 2 of 3 are needed"
    again = decide("drifted", day(3), "1", records[:3], policy)
    assert (again.action, again.why) == ("retrain", "drift in 2 of the last 3 windows")
    assert [one.subject for one in again.evidence] == ["day 1"]
    held = decide("drifted", day(4), "1", records, policy)
    assert held.why.endswith("a retraining was asked for on 2026-11-04: none before 2026-11-11 00:00")


def test_windows_of_another_champion_are_no_evidence() -> None:
    policy = RetrainingPolicy(drifted=2, windows=2)
    assert decide("drifted", day(1), "2", history("d", policy, champion="1"), policy).action == "hold"


def test_a_window_that_was_judged_twice_counts_once_and_as_it_was_judged_last() -> None:
    policy = RetrainingPolicy(drifted=2, windows=2)
    [first] = history("d", policy)
    again = replace(first, outcome="stable")
    assert decide("drifted", day(1), "1", [again, first], policy).action == "retrain"
    assert decide("drifted", day(1), "1", [first, again], policy).action == "hold"
    three = RetrainingPolicy(drifted=3, windows=3)
    assert decide("drifted", day(1), "1", [first, first], three).action == "hold"


def test_a_late_window_starts_nothing() -> None:
    policy = RetrainingPolicy()
    found = decide("drifted", day(0.5), "1", history("ss", policy), policy)
    assert (found.action, found.why) == ("none", "it is late: day 1 was judged before it")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"drifted": 0}, "drifted is 0 of 1 windows"),
        ({"drifted": 3, "windows": 2}, "drifted is 3 of 2 windows"),
        ({"cool_down": timedelta(days=-1)}, "it must be 0 or more"),
    ],
)
def test_a_policy_that_cannot_be(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RetrainingPolicy(**arguments)  # type: ignore[arg-type]
