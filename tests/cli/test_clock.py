"""The runtime's clock from the command line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from millrace.cli import app
from millrace.runtime.clock import Clock

RUNNER = CliRunner()


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MILLRACE_STATE", str(tmp_path))
    return tmp_path


def test_time_passes_for_the_runtime_and_only_forward(state: Path) -> None:
    assert "is the machine's" in RUNNER.invoke(app, ["clock", "show"]).output
    runtime = Clock(state / "runtime")
    assert abs(runtime.now() - time.time()) < 1
    assert "2h30m ahead" in RUNNER.invoke(app, ["clock", "advance", "2h30m"]).output
    assert abs(runtime.now() - time.time() - 9000) < 1
    assert "1d2h30m ahead" in RUNNER.invoke(app, ["clock", "advance", "1d"]).output
    assert abs(runtime.now() - time.time() - 95_400) < 1


@pytest.mark.parametrize("duration", ["", "2", "-2h", "h", "2h 3", "two hours"])
def test_what_is_no_duration_is_refused_with_what_would_be(state: Path, duration: str) -> None:
    done = RUNNER.invoke(app, ["clock", "advance", "--", duration])
    assert done.exit_code == 2
    assert "write 90s, 45m, 2h30m or 1d" in done.output
