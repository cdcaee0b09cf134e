"""One port, several processes: an accepted connection is handed, as a file descriptor, to the process that serves it.

The front looks at the first bytes of a connection without taking them and sends the socket over a Unix socket pair. The
receiving process serves it as if it had accepted it itself: no byte is copied twice, and no upload can delay an
inference. A kept connection that later asks for the other process's paths is forwarded there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from .guard import BoundedHttpProtocol


def give(pair: socket.socket, connection: socket.socket) -> None:
    """Send a connection to the other side of the pair, and let go of it."""
    try:
        socket.send_fds(pair, [b"c"], [connection.fileno()])
    finally:
        connection.close()


async def serve(app: ASGIApp, pair: socket.socket, unix_path: Path) -> None:
    """Serve connections that arrive over `pair`, and those made to `unix_path`, until the pair closes."""
    config = uvicorn.Config(
        app, http=BoundedHttpProtocol, ws="none", lifespan="on", log_level="warning", access_log=False,
        timeout_keep_alive=75, timeout_graceful_shutdown=2, server_header=False, proxy_headers=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    loop = asyncio.get_running_loop()
    unix_path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(unix_path))
    os.chmod(unix_path, 0o600)  # noqa: PTH101
    pair.setblocking(False)
    adopting: set[asyncio.Task[None]] = set()

    def take() -> None:
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(pair, 1, 1)
            except BlockingIOError:
                return
            except OSError:
                message, descriptors = b"", []
            if not message:  # the front is gone: so is the port
                loop.remove_reader(pair)
                server.should_exit = True
                return
            for descriptor in descriptors:
                connection = socket.socket(fileno=descriptor)
                connection.setblocking(False)
                task = loop.create_task(_adopt(protocol, connection))
                adopting.add(task)
                task.add_done_callback(adopting.discard)

    def protocol() -> BoundedHttpProtocol:
        return BoundedHttpProtocol(config=config, server_state=server.server_state, app_state=server.lifespan.state)

    async def read_when_started() -> None:
        while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag, no event
            await asyncio.sleep(0.005)
        loop.add_reader(pair, take)

    reader = loop.create_task(read_when_started())
    await server.serve(sockets=[listener])
    reader.cancel()


async def _adopt(protocol: Callable[[], BoundedHttpProtocol], connection: socket.socket) -> None:
    """Serve a connection as if this process had accepted it. A client that went away at once is nobody's error."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)
