"""The lending pipeline on the real stack: a delivery breaks, the world changes, and the rest follows by itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.pipelines import Pipelines, Run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def nights(pipelines: Pipelines) -> dict[int, Run]:
    """The nights of 5, 6, 12, 13 and 14 January; the retraining that one of them starts has ended before the next."""
    pipelines.serve("lending_nightly", "lending_training")
    pipelines.start("lending_training", day="2026-01-01").succeed()
    played = {}
    for day in (5, 6, 12, 13, 14):
        played[day] = pipelines.start("lending_nightly", day=f"2026-01-{day:02}").succeed()
        if played[day].result("monitor")["action"] == "retrain":
            pipelines.run_started_by_drift("lending_training").succeed()
    return played


def monitored(nights: dict[int, Run], what: str) -> list[Any]:
    return [night.result("monitor")[what] for night in nights.values()]


def test_a_broken_delivery_is_quarantined_and_the_night_goes_on(nights: dict[int, Run], pipelines: Pipelines) -> None:
    gate = nights[6].result("gate")
    assert (gate["metrics"]["rows_read"], gate["metrics"]["rows_quarantined"]) == (1500, 539)
    assert gate["metrics"]["rows_accepted"] == 961
    assert nights[5].result("gate")["metrics"]["rows_quarantined"] == 0
    [scored] = pipelines.keys(nights[6].result("score")["predictions"])
    assert len(pipelines.get(scored).decode().splitlines()) == 961


def test_drift_that_lasts_starts_one_retraining_and_the_next_night_is_calm(
    nights: dict[int, Run], pipelines: Pipelines
) -> None:
    assert monitored(nights, "action") == ["none", "none", "hold", "retrain", "none"]
    assert monitored(nights, "drifted") == [False, False, True, True, False]
    assert len(pipelines.runs_started_by_drift("lending_training")) == 1


def test_the_challenger_was_trained_on_the_drifted_windows_and_is_the_champion(
    nights: dict[int, Run], pipelines: Pipelines
) -> None:
    [retraining] = pipelines.runs_started_by_drift("lending_training")
    assert any("train: 10" in line for line in retraining.log("prepare")), "seven tenths of one day's labelled loans"
    challenge = retraining.result("challenge")
    assert challenge["passed"]
    assert challenge["metrics"]["difference_low"] > 0
    champion = pipelines.champion("lending")
    assert champion.version == str(int(challenge["champion"]) + 1)
    assert nights[14].result("score")["version"] == champion.version


def test_the_history_is_one_page_that_shows_it(nights: dict[int, Run], pipelines: Pipelines) -> None:
    page = pipelines.get(nights[14].result("monitor")["history"]).decode()
    for words in ("drift in 2 of the last 3 windows", "new champion", "539 of 1500 rows were put aside"):
        assert words in page
    assert "<script" not in page
    assert nights[6].result("quality")["metrics"]["labelled"] == 1500
