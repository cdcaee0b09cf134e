"""How soon the loop asks for a retraining after the world has changed, and how often it asks for nothing.

Each stream lives through calm days and then a planted change; every day is a window, judged by the drift gate as it is, and
the retraining policy (two of the last three windows, seven days of cool-down) decides. The *delay* is in windows from the
change on: 1 is the first changed day. A stream that never changes counts the retrainings that were asked for.

    python -m benchmarks.drift_delay [--windows 500,2000] [--repetitions 20]
    python -m benchmarks.drift_delay --quick
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.figures import emit
from benchmarks.planted_windows import PLANTED, Baseline, command_line, reference
from millrace.monitoring.planted import NO_CHANGE, Change, Stream
from millrace.retraining.policy import RetrainingPolicy, decide
from millrace.retraining.record import Record

POLICY = RetrainingPolicy(drifted=2, windows=3, cool_down=timedelta(days=7))
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
CALM_DAYS, CHANGED_DAYS = 5, 15


@dataclass(frozen=True, slots=True)
class Lived:
    """What a stream's life brought, by the days' numbers."""

    drifted: tuple[int, ...]
    asked: tuple[int, ...]


def live(baseline: Baseline, stream: Stream, rows: int, days: int) -> Lived:
    """Judge every day, and let the policy decide after each."""
    history: list[Record] = []
    for number in range(days):
        at = FIRST + timedelta(days=number)
        outcome = "drifted" if baseline.judge(stream.day(number, rows)).drifted else "stable"
        decision = decide(outcome, at, "1", history, POLICY)
        day = Record(
            kind="window",
            at=at,
            subject=f"{at:%Y-%m-%d}",
            outcome=outcome,
            summary="",
            action=decision.action,
            champion="1",
        )
        history.append(day)
    return Lived(
        drifted=tuple(n for n, record in enumerate(history) if record.outcome == "drifted"),
        asked=tuple(n for n, record in enumerate(history) if record.action == "retrain"),
    )


def _first(days: tuple[int, ...]) -> int | None:
    """The delay of the first of the days, in windows."""
    return next((day - CALM_DAYS + 1 for day in days if day >= CALM_DAYS), None)


def _delays(found: list[int | None]) -> str:
    """The median delay and the longest, of the streams that have one, and their share of all."""
    known = [delay for delay in found if delay is not None]
    share = f"{len(known) / len(found):.0%}"
    return f"{share}, after {statistics.median(known):g} (at most {max(known)})" if known else "0%"


def lines(rows: int, streams: int) -> Iterator[tuple[str, list[Lived]]]:
    baseline = Baseline.of(reference(rows))
    for kind, size, _ in PLANTED:
        change = Change(kind=kind, size=size, day=CALM_DAYS)
        lives = [live(baseline, Stream(seed, change), rows, CALM_DAYS + CHANGED_DAYS) for seed in range(1, streams + 1)]
        yield f"{kind} {size:g}", lives


def main() -> None:
    sizes, repetitions = command_line(__doc__, windows="500,2000", repetitions=20)
    print("| planted | rows | drift noticed | retraining asked for | noticed; asked for where nothing had changed |")
    print("|---|---|---|---|---|")
    results: dict[str, Any] = {}
    for rows in sizes:
        for what, lives in lines(rows, repetitions):
            changed = not what.startswith(NO_CHANGE)
            calm = CALM_DAYS if changed else CALM_DAYS + CHANGED_DAYS
            idle = [sum(day < calm for one in lives for day in getattr(one, name)) for name in ("drifted", "asked")]
            noticed, asked = ([_first(getattr(one, name)) for one in lives] for name in ("drifted", "asked"))
            shown = [_delays(noticed), _delays(asked)] if changed else ["", ""]
            print(
                f"| {what} | {rows:,} | {' | '.join(shown)} | {idle[0]}; {idle[1]} of {calm * len(lives)} windows |",
                flush=True,
            )
            results[f"{what}, {rows} rows"] = {"noticed": shown[0], "asked": shown[1], "for nothing": idle}
    emit("drift_delay", results)


if __name__ == "__main__":
    main()
