"""moto, for the services that are not ours: a child process, started by the first call that needs it.

In its own process because in our loop it would delay every other call. It keeps its state in memory: what it holds is
gone after a restart. Run as `python -m millrace.runtime.companion SOCKET` by the control plane.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from .config import ACCOUNT
from .forward import Forwarder

START_SECONDS = 60


class Companion:
    """Starts moto when it is first needed and forwards requests to it."""

    def __init__(self, unix_path: Path, log: Path) -> None:
        self._path = unix_path
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._forward = Forwarder(unix_path)
        self._starting = asyncio.Lock()

    async def __call__(self, request: Request, body: bytes | None = None) -> Response:
        async with self._starting:
            if self._process is None or self._process.poll() is not None:
                await self._start()
        return await self._forward(request, await request.body() if body is None else body)

    async def stop(self) -> None:
        await self._forward.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)

    async def _start(self) -> None:
        self._path.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - a fork takes a millisecond
                [sys.executable, "-m", "millrace.runtime.companion", str(self._path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "MOTO_ACCOUNT_ID": ACCOUNT},
                preexec_fn=_die_with_parent,
            )
        for _ in range(START_SECONDS * 20):
            if await _answers(self._path):
                return
            if self._process.poll() is not None:
                break
            await asyncio.sleep(0.05)
        raise RuntimeError(f"moto did not start; see {self._log}")


async def _answers(path: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        return False
    writer.close()
    return True


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from moto.server import MotoRequestHandler
    from werkzeug.serving import run_simple

    app = DomainDispatcherApplication(create_backend_app)
    run_simple(f"unix://{sys.argv[1]}", 0, app, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main()
