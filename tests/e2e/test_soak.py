"""A minute of everything at random; `python -m tests.soak.soak` runs longer ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.soak import Soak

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_books_balance_after_a_minute_of_jobs_stops_kills_and_faults(tmp_path: Path) -> None:
    done = Soak(tmp_path, seed=20261120).run(60)
    assert done["kill"] > 0
    assert done["create_processing"] > 10
