"""A minute of everything at random; `python -m tests.soak.soak` runs longer ones."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.soak.draws import DEEDS, JOBS, draws
from tests.soak.soak import Soak

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_books_balance_after_a_minute_of_jobs_endpoints_kills_and_faults(tmp_path: Path) -> None:
    done = Soak(tmp_path, seed=20261120).run(60)
    assert done["kill_runtime"] > 0
    assert done["create_job"] > 10


def test_same_seed_draws_the_same_whatever_a_deed_has_used_of_its_dice() -> None:
    drawn = list(itertools.islice(draws(7), 1000))
    jobs = [draw.job() for draw in drawn]
    for again, job, before in zip(draws(7), jobs, drawn, strict=False):
        assert again.deed == before.deed
        if again.number % 2:  # the others leave their dice alone
            assert again.job() == job
    assert {draw.deed for draw in drawn} == DEEDS.keys()
    assert {job.name.rpartition("-")[2] for job in jobs} == {make.__name__ for make in JOBS}
    assert jobs != [draw.job() for draw in itertools.islice(draws(8), 1000)]
