"""One real `airflow triggerer` process and what it costs: CPU seconds, memory, and how late its event loop is."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

STOP_SECONDS = 90


@dataclass(frozen=True, slots=True)
class Cost:
    """What the processes have used so far: CPU since their start, memory now.

    `own_mb` is their anonymous memory, what they share with each other counted once: unlike PSS, it does not shrink when
    other programs on the machine map the same libraries.
    """

    time: float
    cpu_seconds: float
    own_mb: float
    pss_mb: float


class Triggerer:
    """A triggerer on an Airflow database, with logs in a folder of its own; the interpreter says whose environment."""

    def __init__(self, python: Path, environment: Mapping[str, str], folder: Path, capacity: int) -> None:
        self._command = [
            str(python), "-m", "airflow", "triggerer", "--skip-serve-logs", "--capacity", str(capacity),
        ]  # fmt: skip
        self._logs = folder / "logs"
        self.ticks = folder / "ticks.jsonl"
        self._output = folder / "triggerer.log"
        self._environment = {**environment, "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self._logs)}
        self._process: psutil.Popen | None = None
        folder.mkdir(parents=True)

    def start(self) -> None:
        with self._output.open("wb") as log:
            self._process = psutil.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment,
                cwd=self._logs.parent, start_new_session=True,
            )  # fmt: skip

    def stop(self) -> None:
        """End it as a deploy would; what does not end in time is killed."""
        assert self._process is not None
        family = self._family()
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs(family, timeout=STOP_SECONDS)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)

    def cost(self) -> Cost:
        """Of the supervising process and of the one that runs the triggers, together."""
        cpu = own = pss = 0.0
        for process in self._family():
            times = process.cpu_times()
            cpu += times.user + times.system
            memory = _rollup(process.pid)
            own += memory["Pss_Anon"] / 1024
            pss += memory["Pss"] / 1024
        return Cost(time.time(), cpu, own, pss)

    def running(self) -> int:
        """Triggers that have begun to run: each has opened a log."""
        return sum(1 for _ in self._logs.rglob("*.trigger.*.log"))

    def events(self) -> dict[tuple[str, str], float]:
        """When each trigger has fired, by run and task."""
        fired: dict[tuple[str, str], float] = {}
        for path in self._logs.rglob("*.trigger.*.log"):
            for line in path.read_text().splitlines():
                if '"Trigger fired event"' in line:
                    row = json.loads(line)
                    fired[row["run_id"], row["task_id"]] = _seconds(row["timestamp"])
        return fired

    def lateness(self, since: float, until: float) -> list[float]:
        """The event loop's worst lateness of each second, in seconds."""
        rows = [json.loads(line) for line in self.ticks.read_text().splitlines()] if self.ticks.exists() else []
        return [row["late"] for row in rows if since <= row["time"] < until]

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def end_of_log(self) -> str:
        return "\n".join(self._output.read_text(errors="replace").splitlines()[-20:])

    def _family(self) -> list[psutil.Process]:
        assert self._process is not None
        root = psutil.Process(self._process.pid)
        return [root, *root.children(recursive=True)]


def _rollup(pid: int) -> dict[str, int]:
    """Linux's sums over a process's memory, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
