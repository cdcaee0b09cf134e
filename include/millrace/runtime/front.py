"""The port: accepts connections, looks at the first line, and hands each one to the process that serves it.

The front starts the control plane and the router, and ends when one of them ends. It reads no request: the first bytes
are looked at with MSG_PEEK and stay in the socket. What it does not do: no HTTP, no state.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from . import handover
from .config import RuntimeConfig

PEEK_BYTES = 2048
PEEK_SECONDS = 10


class PortInUse(OSError):
    """Another process listens on the port."""


class AlreadyRunning(OSError):
    """Another runtime works on the same data folder."""


class Child:
    """One process of the runtime, and the pair over which it gets its connections."""

    def __init__(self, module: str, arguments: list[str], log: Path) -> None:
        self.name = module.rpartition(".")[2]
        self.pair, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *[a.replace("{pair}", str(other.fileno())) for a in arguments]],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                pass_fds=(other.fileno(),),
                preexec_fn=_die_with_parent,
            )
        other.close()

    async def stop(self) -> None:
        self.pair.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        for _ in range(100):
            if self.process.poll() is not None:
                return
            await asyncio.sleep(0.05)
        self.process.kill()
        self.process.wait()


class Front:
    """The listening socket and the two children."""

    def __init__(self, config: RuntimeConfig) -> None:
        self._config = config
        self._lock = _lock_folder(config.data_dir)
        self._listener = _listen(config)
        self._peeking: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        data_dir = self._config.data_dir
        (data_dir / "run").mkdir(exist_ok=True, mode=0o700)
        document = self._config.to_json()
        control = Child("millrace.runtime.control", [document, "{pair}"], data_dir / "control.log")
        router = Child("millrace.runtime.router", [document, "{pair}"], data_dir / "router.log")
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[int] = loop.create_future()

        def end() -> None:
            if not ended.done():
                ended.set_result(0)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        watch = loop.create_task(self._watch((control, router), ended))
        accept = loop.create_task(self._accept(control, router))
        print(f"millrace runtime on {self._config.endpoint_url}, data in {data_dir}", flush=True)  # noqa: T201
        code = await ended
        for task in (watch, accept, *self._peeking):
            task.cancel()
        self._listener.close()
        await router.stop()
        await control.stop()  # last, for it stores what the router has captured
        return code

    async def _watch(self, children: tuple[Child, ...], ended: asyncio.Future[int]) -> None:
        while True:
            for child in children:
                if child.process.poll() is not None and not ended.done():
                    log = self._config.data_dir / f"{child.name}.log"
                    print(  # noqa: T201
                        f"the {child.name} process ended with exit code {child.process.returncode}; see {log}",
                        file=sys.stderr, flush=True,
                    )  # fmt: skip
                    ended.set_result(1)
                    return
            await asyncio.sleep(0.2)

    async def _accept(self, control: Child, router: Child) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                # Out of file descriptors, say: those who hold them silently lose them within PEEK_SECONDS.
                print(f"cannot accept a connection: {error}", file=sys.stderr, flush=True)  # noqa: T201
                await asyncio.sleep(0.1)
                continue
            task = loop.create_task(self._dispatch(connection, control, router))
            self._peeking.add(task)
            task.add_done_callback(self._peeking.discard)

    async def _dispatch(self, connection: socket.socket, control: Child, router: Child) -> None:
        try:
            async with asyncio.timeout(PEEK_SECONDS):
                first = await _peek_line(connection)
        except (TimeoutError, OSError):
            connection.close()
            return
        path = first.partition(b" ")[2]
        child = router if path.startswith(b"/endpoints/") else control
        try:
            handover.give(child.pair, connection)
        except OSError:
            connection.close()  # the child is going; _watch says so


async def _peek_line(connection: socket.socket) -> bytes:
    """The first line of a connection, or what there is of it; the bytes stay unread."""
    loop = asyncio.get_running_loop()
    while True:
        readable: asyncio.Future[None] = loop.create_future()
        loop.add_reader(connection, _set, readable)
        try:
            await readable
        finally:
            loop.remove_reader(connection)
        data = connection.recv(PEEK_BYTES, socket.MSG_PEEK)
        if not data:
            raise OSError("closed before a request")
        if b"\n" in data or len(data) >= PEEK_BYTES or b"/" in data[:-12]:
            return data
        await asyncio.sleep(0.01)  # half a line: the socket stays readable, so look again in a moment


def _set(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _lock_folder(data_dir: Path) -> int:
    """Hold the data folder for this runtime alone.

    Raises:
        AlreadyRunning: another runtime holds it.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(data_dir / "runtime.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise AlreadyRunning(
            f"another runtime works on {data_dir}; stop it, or choose another folder with --data-dir"
        ) from error
    return lock


def _listen(config: RuntimeConfig) -> socket.socket:
    """The bound, listening socket.

    Raises:
        PortInUse: the port is taken.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except OSError as error:
        listener.close()
        raise PortInUse(
            f"port {config.port} on {config.host} cannot be used ({error.strerror}); stop what listens there, or choose "
            "another with --port"
        ) from error
    listener.listen(1024)
    listener.setblocking(False)
    return listener


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
