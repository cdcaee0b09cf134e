"""What one process takes from its start to its end: wall time, CPU time and peak memory, by the kernel's count."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

TIMEOUT_SECONDS = 900


class Taken(NamedTuple):
    """By a process and the children that it has waited for."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, user and system."""
    memory: float
    """Peak MiB of the process itself, which is asked every few milliseconds; wait4's own figure begins with the parent's."""
    said: str
    """Its standard output."""


def _high_water(pid: int) -> float:
    """MiB; 0 once the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


def measured(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None) -> Taken:
    """Run a process in a folder and measure it.

    Raises:
        SystemExit: it failed, or took longer than 15 minutes.
    """
    shown = " ".join(map(str, command))
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            stdout=out,
            stderr=err,
            env={**os.environ, **(environment or {})},
        )
        peak = 0.0
        while True:
            peak = max(peak, _high_water(process.pid))
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            elapsed = time.perf_counter() - started
            if pid:
                break
            if elapsed > TIMEOUT_SECONDS:
                process.kill()
                process.wait()
                raise SystemExit(f"{shown} took longer than {TIMEOUT_SECONDS} s")
            time.sleep(0.005)
        process.returncode = os.waitstatus_to_exitcode(status)
        for file in (out, err):
            file.seek(0)
        if process.returncode:
            raise SystemExit(f"{shown} failed:\n{err.read().decode()[-3000:]}")
        return Taken(elapsed, usage.ru_utime + usage.ru_stime, peak, out.read().decode())
