"""One call as ASGI has it, and the ways in which it can be spoilt on the wire.

An exchange reads a call's body from `receive` and sends its answer to `send`. Each function here is an exchange around
another one: silent, late, slow, or cut short. They need uvicorn underneath, whose connection they close. What this file
does not do: it knows no operation and no service, and it does not decide which call is to be spoilt.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

from starlette.types import Message, Receive, Send

Exchange = Callable[[Receive, Send], Awaitable[None]]
PIECE_SECONDS = 0.1
"""A slow body moves on about so often."""


async def dropped(receive: Receive, _send: Send) -> None:
    """Close the connection without a byte of an answer, and without having carried anything out."""
    await _hang_up(receive)


async def unanswered(exchange: Exchange, receive: Receive, _send: Send) -> None:
    """Carry the call out to its end, and close the connection without a byte of the answer."""
    await exchange(receive, _unheard)
    await _hang_up(receive)


async def delayed(exchange: Exchange, before: float, after: float, receive: Receive, send: Send) -> None:
    """Wait before the call is carried out, and between that and the first byte of its answer."""

    async def send_late(message: Message) -> None:
        if message["type"] == "http.response.start":
            await asyncio.sleep(after)
        await send(message)

    await asyncio.sleep(before)
    await exchange(receive, send_late)


async def paced(exchange: Exchange, bytes_per_second: float, receive: Receive, send: Send) -> None:
    """Read the call's body, and send that of its answer, no faster than this."""
    connection = _connection(receive)
    taken, given = _Pace(bytes_per_second), _Pace(bytes_per_second)
    size = max(1, int(bytes_per_second * PIECE_SECONDS))

    async def receive_slowly() -> Message:
        message = await receive()
        await taken.wait(len(message.get("body", b"")))
        return message

    async def send_slowly(message: Message) -> None:
        body = message.get("body", b"")
        # A client that has gone is not worth waiting for: what is left goes nowhere.
        while len(body) > size and not connection.is_closing():
            await given.wait(size)
            await send({"type": "http.response.body", "body": body[:size], "more_body": True})
            body = body[size:]
        await given.wait(0 if connection.is_closing() else len(body))
        await send({**message, "body": body} if body else message)

    await exchange(receive_slowly, send_slowly)


async def cut_upload(exchange: Exchange, after_bytes: int, receive: Receive, _send: Send) -> None:
    """Close the connection when more than `after_bytes` of the body have come, or all of it: it never becomes whole."""
    come = 0

    async def receive_some() -> Message:
        nonlocal come
        message = await receive()
        come += len(message.get("body", b""))
        if message["type"] == "http.request" and (come > after_bytes or not message.get("more_body", False)):
            await _hang_up(receive)
            return {"type": "http.disconnect"}
        return message

    await exchange(receive_some, _unheard)
    await _hang_up(receive)


async def cut_download(exchange: Exchange, after_bytes: int, receive: Receive, send: Send) -> None:
    """Close the connection when `after_bytes` of the answer's body have gone, and in any case before its last byte."""
    connection = _connection(receive)
    start: Message | None = None
    left = after_bytes

    async def send_some(message: Message) -> None:
        nonlocal start, left
        if message["type"] == "http.response.start":
            start = message
            return
        if connection.is_closing():
            return
        body = message.get("body", b"")
        is_last = not message.get("more_body", False)
        passing = (body[:-1] if is_last else body)[:left]
        left -= len(passing)
        if passing:
            # The head goes with the first bytes: alone, it would be the whole answer of an empty object.
            if start is not None:
                await send(start)
                start = None
            await send({"type": "http.response.body", "body": passing, "more_body": True})
        if is_last or len(passing) < len(body):
            connection.close()  # and not `abort`: what has been sent is to arrive

    await exchange(receive, send_some)
    await _end(receive)


class _Pace:
    """When the next bytes are due, at so many a second; bytes that are late are not caught up on."""

    def __init__(self, bytes_per_second: float) -> None:
        self._rate = bytes_per_second
        self._due = 0.0

    async def wait(self, count: int) -> None:
        if count:
            self._due = max(self._due, time.monotonic()) + count / self._rate
            await asyncio.sleep(self._due - time.monotonic())


async def _unheard(message: MutableMapping[str, Any]) -> None:
    """A `send` that sends nothing."""


async def _hang_up(receive: Receive) -> None:
    _connection(receive).abort()
    await _end(receive)


async def _end(receive: Receive) -> None:
    """Wait until the server knows that the connection is closed: it complains of an exchange without an answer else."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _connection(receive: Receive) -> asyncio.Transport:
    # ASGI has no word for closing a connection, and an application that sends nothing becomes a 500. `receive` is a
    # method of uvicorn's request cycle, which holds the transport. Starlette hands it on as it is; whoever wraps it
    # further out has to hand on its `__self__`.
    return cast(asyncio.Transport, cast(Any, receive).__self__.transport)
