"""Records and their page: what is written is read back, what is no record is refused, and no text becomes markup."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from millrace.retraining.page import page
from millrace.retraining.record import Record, RecordError, parse

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def window(day: int, **changes: Any) -> Record:
    made = Record(
        kind="window", at=NOON + timedelta(days=day), subject=f"day {day}", outcome="stable", summary="No drift.",
        champion="1", facts={"largest_distance": 0.05, "rows": 100}, links={"data": "s3://bucket/day"}, by={"dag": "d"},
    )  # fmt: skip
    return replace(made, **changes)


def test_a_record_comes_back() -> None:
    record = window(1, outcome="drifted", action="retrain", why="it lasts")
    assert parse(record.to_json()) == record


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "it is no record"),
        (b"[]", "it is no record"),
        (b"[" * 5000, "it is no record"),
        (b"{}", "it is no record"),
        (window(1).to_json().replace(b'"window"', b'"horoscope"'), "no outcome 'stable' of kind 'horoscope'"),
        (window(1).to_json().replace(b'"none"', b'"panic"'), "the action is 'panic'"),
        (window(1).to_json().replace(b"+00:00", b""), "has no zone"),
        (window(1).to_json().replace(b"0.05", b"NaN"), "must be a finite number"),
        (window(1).to_json().replace(b"0.05", b'"much"'), "must be a finite number"),
        (b" " * 70_000, "at most 65536 are read"),
    ],
)
def test_what_is_no_record(raw: bytes, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        parse(raw)


def test_page_of_no_record_and_of_one() -> None:
    assert "There is no record yet" in page("lending", [])
    assert page("lending", [window(1)]).count("<rect") == 1


def test_page_shows_every_strip_and_decision() -> None:
    records = [
        *(window(day) for day in range(5)),
        window(5, outcome="drifted", action="retrain", why="drift in 2 of the last 3 windows"),
        Record(
            kind="gate", at=NOON, subject="day 0", outcome="passed", summary="ok", facts={"rows": 90, "rows_quarantined": 9}
        ),
        Record(
            kind="quality", at=NOON, subject="day 0", outcome="measured", summary="AUC 0.8",
            facts={"value": 0.8, "low": 0.7, "high": 0.9},
        ),
        Record(kind="challenge", at=NOON + timedelta(days=6), subject="new", outcome="won", summary="", action="promote"),
    ]  # fmt: skip
    shown = page("lending", records)
    for words in ("Largest distance", "Quality of the champion", "Rows delivered", "2026-01-06 12:00"):
        assert words in shown
    assert shown.count("<rect") == 6 + 2
    assert len(re.findall(r"<line [^>]*stroke-dasharray", shown)) == 2
    assert "drift in 2 of the last 3 windows" in shown


def test_no_text_becomes_markup() -> None:
    bad = '<script>alert("1")</script>'
    shown = page(bad, [window(1, summary=bad, why=bad, outcome="drifted", action="hold", champion=bad)])
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
