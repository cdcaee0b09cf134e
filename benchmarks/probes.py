"""Triggers that measure the triggerer they run in.

The peer's triggerer loads them too: they import Airflow and the standard library only.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

TICK_SECONDS = 0.01


class LoopTicker(BaseTrigger):  # type: ignore[misc]
    """Wakes every 10 ms and writes, once a second, how late the event loop let it wake at worst."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "benchmarks.probes.LoopTicker", {"path": self.path}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        worst, shown = 0.0, time.monotonic()
        with Path(self.path).open("a", buffering=1) as stream:  # noqa: ASYNC230 - a line a second
            while True:
                due = time.monotonic() + TICK_SECONDS
                await asyncio.sleep(TICK_SECONDS)
                now = time.monotonic()
                worst = max(worst, now - due)
                if now - shown >= 1:
                    stream.write(json.dumps({"time": time.time(), "late": worst}) + "\n")
                    worst, shown = 0.0, now
        yield TriggerEvent(None)  # never reached; it makes this an asynchronous generator


class Sleeper(BaseTrigger):  # type: ignore[misc]
    """Waits and looks at nothing: what any trigger costs Airflow."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "benchmarks.probes.Sleeper", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.Event().wait()
        yield TriggerEvent(None)
