"""The S3 protocol over an `ObjectStore`, as an ASGI application.

It finds the route, reads the body the way the route wants it, runs the operation in the pool, and turns every failure
into an S3 error document. Any credentials are accepted: who may reach the port is decided by the server in front.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from millrace.runtime.s3.answer import Answer, error_answer, send_answer
from millrace.runtime.s3.chunked import ChunkedDecoder
from millrace.runtime.s3.errors import EntityTooLarge, S3Error
from millrace.runtime.s3.pool import Pool
from millrace.runtime.s3.presigned import check_expiry
from millrace.runtime.s3.receiving import ClientGone, receive_object
from millrace.runtime.s3.request import Request, read_request
from millrace.runtime.s3.routes import Upload, find_route
from millrace.runtime.s3.store import ObjectStore

MAX_DOCUMENT = 4 * 1024 * 1024
"""Enough for 10,000 parts with checksums, and for 1,000 keys of 1,024 bytes."""

_log = logging.getLogger(__name__)


def s3_app(store: ObjectStore, heard: Callable[[Request, str], None] = lambda _request, _name: None) -> ASGIApp:
    """The application. Its threads live as long as the process; closing the store is the caller's.

    `heard` is told of every request with the name of its operation.
    """
    pool = Pool()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"S3 speaks HTTP; the server sent a scope of type {scope['type']!r}")
        request = Request(method=scope["method"], resource=scope["path"])
        try:
            request = read_request(scope)
            answer = await _answer(store, pool, request, receive, heard)
        except ClientGone:
            return
        except S3Error as error:
            answer = error_answer(error, request)
        except Exception:
            _log.exception("S3 request %s %s %s failed", request.id, request.method, request.resource)
            answer = error_answer(S3Error(f"an unexpected error; the runtime's log has it under {request.id}"), request)
        await send_answer(answer, request, pool, receive, send)

    return app


async def _answer(
    store: ObjectStore, pool: Pool, request: Request, receive: Receive, heard: Callable[[Request, str], None]
) -> Answer:
    check_expiry(request.query)
    route = find_route(request)
    heard(request, route.name)
    if isinstance(route, Upload):
        return await _upload(store, pool, route, request, receive)
    if request.method in ("PUT", "POST"):
        request.body = await _document(request, receive)
    return await pool.run(route.run, store, request)


async def _upload(store: ObjectStore, pool: Pool, route: Upload, request: Request, receive: Receive) -> Answer:
    begin, finish = partial(route.begin, store, request), partial(route.finish, store, request)
    return await receive_object(request.headers, begin, finish, receive, pool)


async def _document(request: Request, receive: Receive) -> bytes:
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
    if "aws-chunked" not in request.headers.get("content-encoding", ""):
        return bytes(body)
    decoder = ChunkedDecoder()
    content = b"".join(decoder.feed(bytes(body)))
    decoder.finish()
    return content
