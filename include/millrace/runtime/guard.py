"""Who may speak to a port that runs code: loopback names only, no web page, bounded headers.

A browser can be made to send requests to loopback addresses, by a page of another origin or by a name that resolves
there. So the Host header must be one of ours, and any Origin is foreign: no page of this runtime calls it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .gathering import GatheringTransport

MAX_HEADER_BYTES = 32 * 1024
MAX_HEADER_SECONDS = 10
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})


class Guard:
    """ASGI middleware that refuses foreign Hosts and any Origin."""

    def __init__(self, app: ASGIApp, allowed_hosts: tuple[str, ...]) -> None:
        self._app = app
        self._allowed = LOOPBACK_NAMES | frozenset(allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = origin = b""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
        name = _without_port(host.decode("latin-1").lower())
        if not self._is_allowed(name):
            text = f"Host {name!r} is not served here; start the runtime with --allowed-host {name}\n"
            await PlainTextResponse(text, 403)(scope, receive, send)
        elif origin:
            await PlainTextResponse("requests of web pages are not served here\n", 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_allowed(self, name: str) -> bool:
        return name in self._allowed or name.endswith(".localhost")


def _without_port(host: str) -> str:
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol with an end to headers: httptools alone takes them in any size and any time."""

    _header_bytes = 0
    _header_since: float | None = None
    _header_timer: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, GatheringTransport(transport, self.loop)))

    def data_received(self, data: bytes) -> None:
        if self._header_since is None and self.cycle is None:
            self._await_headers()
        super().data_received(data)

    def eof_received(self) -> None:
        cast(GatheringTransport, self.transport).flush()  # the transport closes behind this
        super().eof_received()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._header_bytes = 0
        if self._header_since is None:
            self._await_headers()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._forget_timer()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_timer()
        super().connection_lost(exc)

    def _await_headers(self) -> None:
        self._header_since = time.monotonic()
        self._header_timer = self.loop.call_later(MAX_HEADER_SECONDS, self._close)

    def _forget_timer(self) -> None:
        self._header_since = None
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            self._close()

    def _close(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()
