"""The runtime's clock: ahead of the machine's by what was advanced, and never stopped by a file that says nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from millrace.runtime import clock
from millrace.runtime.clock import Clock


@pytest.mark.parametrize("text", ["", "{", "[]", '{"advanced_seconds": null}', '{"advanced_seconds": -5}'])
def test_file_that_says_nothing_leaves_the_clock_as_it_was(tmp_path: Path, text: str) -> None:
    runtime = Clock(tmp_path)
    clock.advance(tmp_path, 100)
    assert abs(runtime.now() - time.time() - 100) < 1
    (tmp_path / clock.ADVANCED).write_text(text)
    assert abs(runtime.now() - time.time() - 100) < 1


@pytest.mark.parametrize("seconds", [0, -1])
def test_clock_goes_forward_only(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(ValueError, match="goes forward only"):
        clock.advance(tmp_path, seconds)
