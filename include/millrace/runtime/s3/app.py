"""The S3 protocol over an `ObjectStore`, as an ASGI application.

It finds the route, reads the body the way the route wants it, runs the operation in the pool, and turns every failure
into an S3 error document. Who is let in is decided in front (`authenticator.py`), which leaves in `payload.SIGNED` what
`receive_object` holds an upload's body against: call it in the request's own task. What it does not do: it deals no faults;
it lets whoever plans them come between a request and its answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from millrace.runtime.exchange import Exchange
from millrace.runtime.s3.answer import Answer, error_answer, send_answer
from millrace.runtime.s3.chunked import ChunkedDecoder
from millrace.runtime.s3.errors import EntityTooLarge, S3Error
from millrace.runtime.s3.pool import Pool
from millrace.runtime.s3.presigned import check_expiry
from millrace.runtime.s3.receiving import ClientGone, receive_object
from millrace.runtime.s3.request import Request, read_request
from millrace.runtime.s3.routes import Route, Upload, find_route
from millrace.runtime.s3.store import ObjectStore

MAX_DOCUMENT = 4 * 1024 * 1024
"""Enough for 10,000 parts with checksums, and for 1,000 keys of 1,024 bytes."""

_STRETCH = 64 * 1024
"""How much of a document is unpacked at a time: of the smallest chunks, each takes 40 times its size in memory."""

_log = logging.getLogger(__name__)


def s3_app(
    store: ObjectStore,
    heard: Callable[[Request, str], None] = lambda _request, _name: None,
    spoil: Callable[[str, str, Exchange], Exchange] = lambda _operation, _name, answer: answer,
) -> ASGIApp:
    """The application. Its threads live as long as the process; closing the store is the caller's.

    `heard` is told of every request with the name of its operation. `spoil` is given that name, the `bucket/key` and
    the exchange that is to answer the request, and says which one does instead, or refuses by raising an S3Error.
    """
    pool = Pool()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"S3 speaks HTTP; the server sent a scope of type {scope['type']!r}")
        request = Request(method=scope["method"], resource=scope["path"])
        exchange: Exchange
        try:
            request = read_request(scope)
            check_expiry(request.query)
            route = find_route(request)
            heard(request, route.name)
            exchange = spoil(route.name, _name(request), partial(_exchange, store, pool, route, request))
        except Exception as error:
            exchange = partial(send_answer, _refusal(error, request), request, pool)
        await exchange(receive, send)

    return app


async def _exchange(
    store: ObjectStore, pool: Pool, route: Route, request: Request, receive: Receive, send: Send
) -> None:
    """Carry a request out, and send its answer."""
    try:
        answer = await _answer(store, pool, route, request, receive)
    except ClientGone:
        return
    except Exception as error:
        answer = _refusal(error, request)
    await send_answer(answer, request, pool, receive, send)


async def _answer(store: ObjectStore, pool: Pool, route: Route, request: Request, receive: Receive) -> Answer:
    if isinstance(route, Upload):
        return await _upload(store, pool, route, request, receive)
    if request.method in ("PUT", "POST"):
        request.body = await _document(receive)
        if "aws-chunked" in request.headers.get("content-encoding", ""):
            request.body = await pool.run(_unchunked, request.body)
    return await pool.run(route.run, store, request)


def _name(request: Request) -> str:
    """What a request is about: `bucket/key`, or for a listing `bucket/prefix`; empty when it is about all buckets."""
    return f"{request.bucket}/{request.key or request.query.get('prefix', '')}" if request.bucket else ""


def _refusal(error: Exception, request: Request) -> Answer:
    """The error document of a failure. One that is no refusal is written to the log."""
    if not isinstance(error, S3Error):
        _log.error("S3 request %s %s %s failed", request.id, request.method, request.resource, exc_info=error)
        error = S3Error(f"an unexpected error; the runtime's log has it under {request.id}")
    if "expect" in request.headers:
        # A client that is refused before `100 Continue` keeps its body, and the server would take the next request on
        # the connection for it.
        error.headers.setdefault("connection", "close")
    return error_answer(error, request)


async def _upload(store: ObjectStore, pool: Pool, route: Upload, request: Request, receive: Receive) -> Answer:
    begin, finish = partial(route.begin, store, request), partial(route.finish, store, request)
    return await receive_object(request.headers, begin, finish, receive, pool)


async def _document(receive: Receive) -> bytes:
    """A body that is a document: whole, and of bounded size.

    Raises:
        EntityTooLarge: over 4 MiB. ClientGone: it ended early.
    """
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_DOCUMENT:
            raise EntityTooLarge(f"the document is over {MAX_DOCUMENT} bytes", connection="close")
    return bytes(body)


def _unchunked(body: bytes) -> bytes:
    """
    Raises:
        InvalidRequest, IncompleteBody
    """
    decoder, content = ChunkedDecoder(), bytearray()
    for start in range(0, len(body), _STRETCH):
        content += b"".join(decoder.feed(body[start : start + _STRETCH]))
    decoder.finish()
    return bytes(content)
