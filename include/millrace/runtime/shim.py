"""The small process outside a sandbox that owns one instance of a job, and outlives the runtime.

Run as `python -I shim.py FOLDER`. The folder holds `spec.json` (what to start), which the shim removes; it adds `lock`
(held while it lives), `shim.json` (who it is), `log` (each output line behind its time in milliseconds) and, at the end,
`status.json` (fsync, rename). SIGTERM to the shim means stop: TERM to the payload, then KILL after `grace_seconds`.
Its own deadline, `max_seconds`, does the same; more memory than `memory_bytes` means KILL at once. Programs `beside` the
payload are started before it, outside of its sandbox; one that fails ends the payload with its words. A payload that
shares its network with its peers, the instances of the same start, joins the one that any of them still has, or makes
it. When the shim ends, no process of the instance is left.

Standard library only, and no import of millrace: it must start in milliseconds and survive a broken checkout.
What it does not do: it stages no data and knows nothing about SageMaker.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
MAX_LOG_LINE = 64 * 1024
RETRY_SECONDS = 0.05
MAX_LOG_BYTES = 1024 * 1024 * 1024
MEMORY_SECONDS = 0.2
"""Between two looks at the payload's memory."""
READY_SECONDS, LAST_WORDS_SECONDS = 20, 5
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
LIBC = ctypes.CDLL(None, use_errno=True)
SHARED_NETWORK = pathlib.Path(__file__).with_name("shared_network.py")


def boot_id() -> str:
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> str:
    """The start time of a process in clock ticks: with boot id and pid it names a process for good."""
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[19]


def identity(pid: int) -> dict[str, Any]:
    return {"boot_id": boot_id(), "pid": pid, "start_time": start_time(pid)}


def identity_while_alive(pid: int) -> dict[str, Any] | None:
    with contextlib.suppress(OSError):
        return identity(pid)
    return None


def children(pid: int) -> list[int]:
    """Direct children of a process, by its threads' own lists."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def descendants(pid: int) -> list[int]:
    below = children(pid)
    return below + [found for child in below for found in descendants(child)]


def resident_bytes(pids: list[int]) -> int:
    """Memory that processes hold together; what they share is counted once for each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    return total


def proportional_bytes(pids: list[int]) -> int:
    """The same with what is shared divided among those who share it; slower to find out."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def write_durably(path: pathlib.Path, document: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:  # it may hold keys
        json.dump(document, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class StopRequest:
    """SIGTERM as something to wait for. Made before anybody can know our pid, so that no stop is ever lost."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        self.is_set = False
        os.set_blocking(self._writer, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)  # whichever thread the signal reaches
        signal.signal(signal.SIGTERM, self._on_term)

    def _on_term(self, _signum: int, _frame: object) -> None:
        self.is_set = True
        self.wake()

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full of wake-ups already
            os.write(self._writer, b"w")


@contextlib.contextmanager
def peers_network(folder: pathlib.Path) -> Iterator[int | None]:
    """A descriptor of the network namespace that this instance's peers have; None where none of them lives.

    Inside, no peer looks for one: the payload is to be started, and its init put on record for them, before they do.
    """
    with (folder.parent / "network.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        network = network_of_peers(folder)
        try:
            yield network
        finally:
            if network is not None:
                os.close(network)


def network_of_peers(folder: pathlib.Path) -> int | None:
    for record in folder.parent.glob("algo-*/payload.json"):
        init = json.loads(record.read_text())["init"]
        if init is None:
            continue
        with contextlib.suppress(OSError):  # it is gone
            network = os.open(f"/proc/{init['pid']}/ns/net", os.O_RDONLY)
            # Only now: what was opened is the peer's if the pid is still its own.
            if identity_while_alive(init["pid"]) == init:
                return network
            os.close(network)
    return None


class Payload:
    """The started program: bubblewrap, whose grandchild is the job, or the job itself."""

    def __init__(self, spec: dict[str, Any], network: int | None) -> None:
        """
        Args:
            network: the namespace to join where the payload shares its network; None for a new one.
        """
        self.sandboxed: bool = spec["sandboxed"]
        self.init: int | None = None
        argv, env = list(spec["argv"]), dict(spec["env"])
        fds: tuple[int, ...] = ()
        if self.sandboxed:
            # The job's variables are for inside the box: outside, LD_PRELOAD would run the job's code in bubblewrap
            # itself. They go through a file, since a command line is readable by everyone.
            reader, writer = os.pipe()
            options = os.memfd_create("environment")
            if any("\0" in part for pair in env.items() for part in pair):
                raise OSError("a variable of the environment holds a NUL character")  # which would begin another option
            pairs = [part for name, value in env.items() for part in ("--setenv", name, value)]
            os.write(options, b"\0".join(part.encode() for part in ("--clearenv", *pairs)) + b"\0")
            os.lseek(options, 0, os.SEEK_SET)
            argv[1:1] = ["--info-fd", str(writer), "--args", str(options)]
            fds = (writer, options)
            if spec["shares_network"]:
                argv.remove("--unshare-net")
                where = "new" if network is None else str(network)
                argv = [sys.executable, "-I", "-S", str(SHARED_NETWORK), where, *argv]
                fds += () if network is None else (network,)
            env = {"PATH": os.environ.get("PATH", os.defpath)}
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=spec["cwd"],
            pass_fds=fds,
            preexec_fn=self._before_exec,
        )
        if self.sandboxed:
            os.close(writer)
            os.close(options)
            with os.fdopen(reader) as stream, contextlib.suppress(ValueError, KeyError):
                self.init = int(json.load(stream)["child-pid"])

    @staticmethod
    def _before_exec() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            pathlib.Path("/proc/self/oom_score_adj").write_text("1000")

    def memory_over(self, limit: int) -> int:
        """The bytes it holds if they are more than `limit`, else 0."""
        pids = [self.process.pid, *descendants(self.process.pid)]
        if resident_bytes(pids) <= limit:
            return 0
        held = proportional_bytes(pids)
        return held if held > limit else 0

    def terminate(self) -> bool:
        """Ask the job to end; False while it has not been started yet and must be asked again."""
        # bubblewrap's init ignores TERM, and bubblewrap itself would die without passing it on: the job is
        # the init's child.
        targets = children(self.init) if self.init else [self.process.pid]
        for pid in targets:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        return bool(targets)

    def kill(self) -> None:
        # Both: a bubblewrap that was stopped would never see that its init is gone.
        for pid in filter(None, (self.init, self.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Beside:
    """Programs of the runtime's own that work for this instance: the feeder of its pipes, the reader of its metrics."""

    def __init__(self, folder: pathlib.Path, rows: list[dict[str, Any]], stop: StopRequest) -> None:
        self.failure = ""
        self._stop = stop
        self._folder = folder
        self._is_over = False
        self._programs: list[subprocess.Popen[bytes]] = []
        for row in rows:
            argv, is_vital = row["argv"], row["is_vital"]
            with (folder / "beside.err").open("ab") as errors:
                program = subprocess.Popen(
                    argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, preexec_fn=self._before_exec
                )
            self._programs.append(program)
            assert program.stdout is not None  # noqa: S101 - a pipe was asked for
            is_ready = select.select([program.stdout], [], [], READY_SECONDS)[0] and program.stdout.readline()
            if is_vital:
                if not is_ready:
                    self.failure = self._words() or f"{pathlib.Path(argv[-2]).name} did not start"
                threading.Thread(target=self._watch, args=(program,), daemon=True).start()

    @staticmethod
    def _before_exec() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def _watch(self, program: subprocess.Popen[bytes]) -> None:
        if program.wait() != 0 and not self._is_over:
            self.failure = self._words() or f"a program beside the job ended with exit code {program.returncode}"
            self._stop.wake()

    def _words(self) -> str:
        return (self._folder / "beside.err").read_text(errors="replace").strip()[-500:]

    @property
    def pids(self) -> set[int]:
        return {program.pid for program in self._programs}

    def end(self) -> None:
        """Let them finish what they have begun, for a moment."""
        self._is_over = True
        for program in self._programs:
            assert program.stdin is not None  # noqa: S101 - a pipe was asked for
            with contextlib.suppress(OSError):
                program.stdin.close()
        for program in self._programs:
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(LAST_WORDS_SECONDS)


def copy_output(stream: Any, log: Any) -> None:
    """Write each line behind its time. Past 1 GiB the rest is dropped, and the log says so."""
    written = 0
    while line := stream.readline(MAX_LOG_LINE):
        stamp = b"%d " % int(time.time() * 1000)
        if written <= MAX_LOG_BYTES < written + len(line):
            line = b"[the log of this instance passed 1 GiB; the rest is dropped]\n"
        elif written > MAX_LOG_BYTES:
            continue
        written += len(line)
        log.write(stamp + line.rstrip(b"\n") + b"\n")


def wait_and_wake(process: subprocess.Popen[bytes], stop: StopRequest) -> None:
    process.wait()
    stop.wake()


def end_descendants(spared: set[int]) -> None:
    """Kill what the payload left behind; as their subreaper the shim inherits every orphan."""
    deadline = time.monotonic() + 10
    while left := set(children(os.getpid())) - spared:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)


def supervise(folder: pathlib.Path, spec: dict[str, Any], stop: StopRequest) -> dict[str, Any]:
    """Run the payload to its end and say how it ended."""
    started = time.time()
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if spec["cpus"]:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, spec["cpus"])
    with (folder / "log").open("ab", buffering=0) as log:
        beside = Beside(folder, spec["beside"], stop)
        with peers_network(folder) if spec["shares_network"] else contextlib.nullcontext() as network:
            payload = Payload(spec, network)
            init = identity_while_alive(payload.init) if payload.init else None
            write_durably(folder / "payload.json", {"started": started, "init": init})
        copier = threading.Thread(target=copy_output, args=(payload.process.stdout, log), daemon=True)
        copier.start()
        watcher = threading.Thread(target=wait_and_wake, args=(payload.process, stop), daemon=True)
        watcher.start()
        ended_by, error = watch(payload, spec, stop, beside)
        end_descendants(beside.pids)  # first: one of them may hold the log's pipe open
        copier.join(timeout=5)
        beside.end()
        end_descendants(set())
    code = payload.process.returncode
    status = {"exit_code": code if code >= 0 else 128 - code, "ended_by": ended_by, "started": started}
    return {**status, "error": error} if error else status


def watch(payload: Payload, spec: dict[str, Any], stop: StopRequest, beside: Beside) -> tuple[str, str]:
    """Wait for the payload's end, and bring it about when it must be: how it ended, and what went wrong."""
    limit, memory = spec["max_seconds"], spec["memory_bytes"]
    deadline = time.monotonic() + limit if limit else None
    kill_at: float | None = None
    asked = False
    ended_by, error = "exit", ""
    while payload.process.returncode is None:
        now = time.monotonic()
        if not error and beside.failure:
            ended_by, error, kill_at, asked = "exit", beside.failure, now, True
        if not error and memory and (held := payload.memory_over(memory)):
            error = (
                f"OutOfMemory: the instance held {held >> 20} MiB, and its share of this machine is {memory >> 20} MiB"
            )
            ended_by, kill_at, asked = "memory", now, True
        if kill_at is None and (stop.is_set or (deadline and now >= deadline)):
            ended_by = "stop" if stop.is_set else "limit"
            kill_at = now + spec["grace_seconds"]
        if kill_at is not None and not asked:
            asked = payload.terminate()
        elif kill_at is not None and now >= kill_at:
            payload.kill()
            kill_at = now + 5
        waits = [moment - now for moment in (kill_at, deadline if kill_at is None else None) if moment]
        if kill_at is not None and not asked:
            waits.append(RETRY_SECONDS)
        if memory:
            waits.append(MEMORY_SECONDS)
        if select.select([stop.reader], [], [], max(0.0, min(waits)) if waits else None)[0]:
            os.read(stop.reader, 64)
    return ended_by, error


def main() -> int:
    folder = pathlib.Path(sys.argv[1])
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 3
    if (folder / "status.json").exists():
        return 4
    stop = StopRequest()
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").unlink()  # it holds the job's keys, and nobody reads it again
    write_durably(folder / "shim.json", identity(os.getpid()))
    try:
        status = supervise(folder, spec, stop)
    except OSError as error:
        status = {"exit_code": 127, "ended_by": "exit", "started": time.time(), "error": str(error)}
    write_durably(folder / "status.json", {**status, "ended": time.time()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
