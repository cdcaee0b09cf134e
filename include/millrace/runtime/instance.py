"""One instance of a job or one model server, seen from the runtime: start it, look at it, stop it.

Everything the runtime knows is in the instance's folder, so a restarted runtime sees the same. Identity is boot id, pid
and start time, never a bare pid; a lock that is free without a status means that the host was lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from . import shim

MARKER = "MILLRACE_INSTANCE"
HOST_LOST = 255


@dataclass(frozen=True, slots=True)
class Beside:
    """A program that works for an instance outside of its sandbox; it says a line when it is ready.

    Args:
        is_vital: whether the instance ends when the program fails.
    """

    argv: list[str]
    is_vital: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a shim starts. Times are in seconds."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    sandboxed: bool
    cpus: list[int]
    grace_seconds: int
    max_seconds: int | None = None
    memory_bytes: int | None = None
    """More than this and the instance is killed; None: it is not watched."""
    beside: list[Beside] = field(default_factory=list)
    shares_network: bool = False
    """Whether it has one network with the other instances of its start, and with nobody else. Else `argv` says which
    network it has: if that is forgotten here, it has one of its own."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How an instance ended: `ended_by` is `exit`, `stop`, `limit`, `memory` or `lost`."""

    exit_code: int
    ended_by: str
    started: float
    ended: float
    error: str | None = None


class Instance:
    """A handle on a folder; it holds no state of its own but the child to reap."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._child: subprocess.Popen[bytes] | None = None
        self._lost: Ended | None = None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def start(self, spec: Spec) -> None:
        """Start the shim; it stays when the runtime goes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        env = {**spec.env, MARKER: str(self.folder)}
        shim.write_durably(self.folder / "spec.json", {**asdict(spec), "env": env})
        with (self.folder / "shim.err").open("wb") as errors:
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(shim.__file__)), str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={"PATH": os.environ.get("PATH", os.defpath)},
                start_new_session=True,
            )
        deadline = time.monotonic() + 10
        while not (self.folder / "shim.json").exists():
            if self._child.poll() is not None or time.monotonic() > deadline:
                break
            time.sleep(0.002)

    def say(self, text: str) -> None:
        """Write a line into the instance's log, before it is started."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("a") as log:
            log.write(f"{int(time.time() * 1000)} {text}\n")

    @property
    def was_started(self) -> bool:
        """Whether a shim has come to life here. The shims themselves see to it that two never run."""
        return (self.folder / "lock").exists()

    def is_alive(self) -> bool:
        """Whether the shim holds its lock."""
        if self._child is not None:
            self._child.poll()
        try:
            descriptor = os.open(self.folder / "lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def ended(self) -> Ended | None:
        """How it ended, or None while it runs. A dead shim without a status is a lost host."""
        if not self._status_path.exists():
            if self.is_alive() or (self._child is not None and self._child.poll() is None):
                return None
            if not self._status_path.exists():
                if self._lost is None:  # the first answer stays: looking for strays walks all processes of the machine
                    self.end_stray_processes()
                    now = time.time()
                    self._lost = Ended(HOST_LOST, "lost", self.started_at() or now, now, self._shim_error())
                return self._lost
        status: dict[str, Any] = json.loads(self._status_path.read_text())
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it is only to be reaped
                self._child.wait(timeout=1)
        return Ended(status["exit_code"], status["ended_by"], status["started"], status["ended"], status.get("error"))

    def started_at(self) -> float | None:
        try:
            return float(json.loads((self.folder / "payload.json").read_text())["started"])
        except FileNotFoundError:
            return None

    def stop(self) -> bool:
        """Ask the shim to stop its payload; it does so even if the runtime goes meanwhile. False: ask again later."""
        process = self._shim_process()
        if process is None:
            return self.ended() is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
        return True

    def lose(self) -> None:
        """Kill the shim alone: to everyone else this is a host that is gone."""
        process = self._shim_process()
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
                process.kill()
                process.wait(timeout=5)

    def freeze(self) -> None:
        """Let every process of the payload hang, alive and silent."""
        process = self._shim_process()
        if process is None:
            return
        frozen: set[psutil.Process] = set()
        while running := set(process.children(recursive=True)) - frozen:  # again: one may just have started another
            for descendant in running:
                with contextlib.suppress(psutil.NoSuchProcess):
                    descendant.suspend()
            frozen |= running

    def kill(self) -> None:
        """End it at once, without grace."""
        self.lose()
        self.end_stray_processes()

    def end_stray_processes(self) -> None:
        """Kill what a shim that was itself killed left behind; under bubblewrap there is nothing."""
        marker = str(self.folder)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(MARKER) == marker:
                    process.kill()

    @property
    def _status_path(self) -> Path:
        return self.folder / "status.json"

    def _shim_process(self) -> psutil.Process | None:
        try:
            identity = json.loads((self.folder / "shim.json").read_text())
        except FileNotFoundError:
            return None
        if identity["boot_id"] != shim.boot_id() or not self.is_alive():
            return None
        with contextlib.suppress(OSError, psutil.Error):
            if shim.start_time(identity["pid"]) == identity["start_time"]:
                return psutil.Process(identity["pid"])
        return None

    def _shim_error(self) -> str | None:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "shim.err").read_text(errors="replace").strip()[-500:] or None
        return None
