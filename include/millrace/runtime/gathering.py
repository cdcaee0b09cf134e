"""A connection's writes, gathered: what is written in one turn of the event loop goes out with one system call.

uvicorn writes the head of an answer and its body apart, and uvloop sends each at once. So a small answer would cost
two calls, and half of the time its client would wake up twice. What this file does not do: it holds nothing back beyond
the turn, and no more than 64 KiB.
"""

from __future__ import annotations

import asyncio
from typing import Any

ENOUGH = 64 * 1024
"""From here on a call of its own is cheap beside the bytes, and the transport is to say when it is full."""


class GatheringTransport:
    """Stands in front of a transport; whatever is not about writing is the transport's own."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pending: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._pending.append(data)
        self._size += len(data)
        if self._size >= ENOUGH:
            self.flush()
        elif len(self._pending) == 1:
            self._loop.call_soon(self.flush)

    def close(self) -> None:
        """Close the connection once what was written has gone."""
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        """Hand over what is held, unless the connection is going already."""
        pending, self._pending, self._size = self._pending, [], 0
        if pending and not self._transport.is_closing():
            self._transport.writelines(pending)
