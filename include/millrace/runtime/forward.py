"""Passing a request on to another process of the runtime, streaming both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from yarl import URL

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect"})


class Forwarder:
    """Forwards to one process by its Unix socket."""

    def __init__(self, unix_path: Path) -> None:
        self._path = unix_path
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def __call__(self, request: Request, body: bytes | None = None) -> Response:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(self._path)), auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=10, sock_connect=5),
            )  # fmt: skip
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP]
        # The path as it came: a signature or an encoded slash does not survive decoding.
        path = request.scope.get("raw_path") or request.url.path.encode()
        target = path.decode("latin-1") + (f"?{request.url.query}" if request.url.query else "")
        data: bytes | AsyncIterator[bytes] | None = body if body is not None else request.stream()
        sends = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
        if body is None and not sends:
            data = None
        answer = await self._session.request(
            request.method, URL(f"http://{request.headers.get('host', 'localhost')}{target}", encoded=True),
            headers=headers, data=data, allow_redirects=False, skip_auto_headers=("User-Agent", "Accept"),
        )  # fmt: skip
        kept = {k: v for k, v in answer.headers.items() if k.lower() not in HOP_BY_HOP}

        async def stream() -> AsyncIterator[bytes]:
            try:
                async for chunk in answer.content.iter_chunked(256 * 1024):
                    yield chunk
            finally:
                answer.release()

        return StreamingResponse(stream(), answer.status, kept)
