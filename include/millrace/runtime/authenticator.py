"""Who is let in where there are credentials: each request's signature is verified, then what its key may do.

ASGI middleware in front of the control plane, and of the router for invocations; without credentials it is not there at
all. A refusal is in the form that the caller's client reads: S3's XML, a JSON protocol's error, or the query protocol's.
What this file does not do: Host and Origin (`guard.py`); and a chunk's signature or an object's hash is held against the
body where that is taken in (`s3/receiving.py`).
"""

from __future__ import annotations

import hashlib
import html
import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import needs, signature
from .config import ACCOUNT
from .credentials import Credential, Credentials, Need
from .destination import Destination, destination
from .routes import INVOCATION
from .s3.answer import error_answer
from .s3.chunked import ChunkedDecoder
from .s3.errors import S3Error
from .s3.payload import SIGNED, STREAMING_SIGNED, STREAMING_UNSIGNED, Payload, SignedChunks, SignedHash
from .s3.request import Request, read_request
from .s3.routes import Upload, find_route
from .signature import Reason, Refused, SignedRequest

log = logging.getLogger(__name__)
MAX_BODY_BYTES = 16 * 1024 * 1024
"""Of a body that is hashed before it is passed on. What takes it has a lower limit of its own, with its own error."""
Form = Literal["s3", "json", "query"]
CODES: Mapping[Reason, Mapping[Form, tuple[str, int]]] = {
    "missing": {
        "s3": ("AccessDenied", 403),
        "json": ("MissingAuthenticationTokenException", 403),
        "query": ("MissingAuthenticationToken", 403),
    },
    "unsupported": {
        "s3": ("InvalidRequest", 400),
        "json": ("IncompleteSignatureException", 400),
        "query": ("IncompleteSignature", 400),
    },
    "malformed": {
        "s3": ("AuthorizationHeaderMalformed", 400),
        "json": ("IncompleteSignatureException", 400),
        "query": ("IncompleteSignature", 400),
    },
    "unsigned headers": {
        "s3": ("AccessDenied", 403),
        "json": ("SignatureDoesNotMatch", 403),
        "query": ("SignatureDoesNotMatch", 403),
    },
    "unknown key": {
        "s3": ("InvalidAccessKeyId", 403),
        "json": ("UnrecognizedClientException", 403),
        "query": ("InvalidClientTokenId", 403),
    },
    "skewed": {
        "s3": ("RequestTimeTooSkewed", 403),
        "json": ("RequestTimeTooSkewed", 403),
        "query": ("RequestTimeTooSkewed", 403),
    },
    "expired": {
        "s3": ("AccessDenied", 403),
        "json": ("ExpiredTokenException", 403),
        "query": ("ExpiredToken", 403),
    },
    "wrong": {
        "s3": ("SignatureDoesNotMatch", 403),
        "json": ("SignatureDoesNotMatch", 403),
        "query": ("SignatureDoesNotMatch", 403),
    },
    "body": {
        "s3": ("XAmzContentSHA256Mismatch", 400),
        "json": ("SignatureDoesNotMatch", 403),
        "query": ("SignatureDoesNotMatch", 403),
    },
    "too large": {
        "s3": ("EntityTooLarge", 400),
        "json": ("RequestEntityTooLargeException", 413),
        "query": ("RequestEntityTooLarge", 413),
    },
    "denied": {
        "s3": ("AccessDenied", 403),
        "json": ("AccessDeniedException", 403),
        "query": ("AccessDenied", 403),
    },
}
SIGNED_FOR: Mapping[str, str] = {"sagemaker": "sagemaker", "router": "sagemaker", "logs": "logs", "s3": "s3"}
"""The one service for which a request to a place is signed. A signature for another one is for another request."""
UNSIGNED_PLACES = ("health", "nowhere", "router")
"""Told to anyone: how the runtime is, that nothing is there. What goes to the router is verified there."""


def at_control(scope: Scope) -> Destination | None:
    """Where a request to the control plane goes; None where nothing is to be verified here."""
    where = destination(scope)
    return None if where.place in UNSIGNED_PLACES else where


def at_router(scope: Scope) -> Destination | None:
    """An invocation; None for everything else, which the router passes on and the control plane verifies."""
    if not INVOCATION.match(scope["path"]):
        return None
    return replace(destination(scope), place="router")


class Authenticator:
    """Lets the verified and allowed through to `app`."""

    def __init__(
        self, app: ASGIApp, credentials: Credentials, find: Callable[[Scope], Destination | None] = at_control
    ) -> None:
        self._app = app
        self._credentials = credentials
        self._find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        where = self._find(scope) if scope["type"] == "http" else None
        if where is None:
            await self._app(scope, receive, send)
            return
        if where.place == "console":
            text = "a browser cannot sign requests: the console is served by a runtime without --credentials only\n"
            await PlainTextResponse(text, 403)(scope, receive, send)
            return
        try:
            admitted, payload = await self._admit(scope, receive, where)
        except _Gone:
            return
        except Refused as refused:
            # `%r`: the message may hold what a stranger sent.
            log.info("refused %s %r: %s: %r", scope["method"], scope["path"], refused.reason, refused.message)
            await _refusal(refused, where, scope)(scope, receive, send)
            return
        token = SIGNED.set(payload)
        try:
            await self._app(scope, admitted, send)
        finally:
            SIGNED.reset(token)

    async def _admit(self, scope: Scope, receive: Receive, where: Destination) -> tuple[Receive, Payload | None]:
        """What to receive the verified request from, and what is known of the rest of its body.

        Raises:
            Refused: it is not let in.
        """
        request = signature.read(scope)
        expected = SIGNED_FOR.get(where.place, request.service)
        if request.service != expected or where.service not in (None, request.service):
            raise Refused("malformed", f"Credential should be scoped to correct service: {expected!r}")
        signature.check_time(request, time.time())
        credential = self._credentials.find(request.access_key)
        if credential is None:
            raise Refused("unknown key", "The AWS access key in the request is not one that this runtime knows.")
        if where.place == "s3":
            return await _admit_to_s3(scope, receive, request, credential)
        body = await _whole(receive)
        payload = hashlib.sha256(body).hexdigest()
        # The body's own hash, whatever x-amz-content-sha256 says: only S3 takes words for it.
        signature.verify(request, credential.secret_key, payload)
        match = INVOCATION.match(scope["path"]) if where.place == "router" else None
        _check_access(
            credential, [Need("sagemaker-runtime", match[1]) if match else needs.of_call(where, request.service)]
        )
        return _Replay(receive, body), None


async def _admit_to_s3(
    scope: Scope, receive: Receive, request: SignedRequest, credential: Credential
) -> tuple[Receive, Payload | None]:
    said = request.payload
    if said is None:
        raise Refused("malformed", "Missing required header for this request: x-amz-content-sha256")
    signature.verify(request, credential.secret_key, said)
    payload = _payload(request, credential)
    try:
        asked = read_request(scope)
        route = find_route(asked)
    except S3Error:
        return receive, payload  # nothing will be done, and S3 says why
    rule = needs.S3.get(route.name)
    if rule is None:
        raise Refused("denied", f"no key may do {route.name} yet: needs.py has no row for it")
    if isinstance(route, Upload) or asked.method not in ("PUT", "POST"):
        _check_access(credential, rule(asked))
        return receive, payload
    body = await _whole(receive)
    try:
        asked.body = _document(body, payload, "aws-chunked" in asked.headers.get("content-encoding", ""))
        wanted = rule(asked)
    except S3Error as error:
        if error.status == 403 or error.code == "XAmzContentSHA256Mismatch":
            raise Refused("body" if error.status == 400 else "wrong", error.message) from error
        return _Replay(receive, body), None  # the operation reads the same body, and refuses it the same way
    _check_access(credential, wanted)
    return _Replay(receive, body), None


def _payload(request: SignedRequest, credential: Credential) -> Payload | None:
    """What is signed of the body; None where nothing is.

    Raises:
        Refused: it is signed in a way that is not supported.
    """
    said = request.payload or ""
    if said in (signature.UNSIGNED, STREAMING_UNSIGNED):
        return None
    if said in STREAMING_SIGNED:
        key = signature.signing_key(credential.secret_key, request.timestamp[:8], request.region, request.service)
        trailers = said.endswith("-TRAILER")
        return SignedChunks(key, request.timestamp, request.scope, request.signature, trailers)
    if re.fullmatch(r"[0-9a-f]{64}", said):
        return SignedHash(said)
    raise Refused("unsupported", f"x-amz-content-sha256 is {said[:80]!r}, which is not supported")


def _document(body: bytes, payload: Payload | None, is_chunked: bool) -> bytes:
    """The document in an S3 body, once the body is what was signed.

    Raises:
        S3Error: it is not, or its chunks are broken.
    """
    if isinstance(payload, SignedHash):
        payload.update(body)
        payload.finish()
    if isinstance(payload, SignedChunks) or is_chunked:
        decoder = ChunkedDecoder(payload if isinstance(payload, SignedChunks) else None)
        content = b"".join(decoder.feed(body))
        decoder.finish()
        return content
    return body


def _check_access(credential: Credential, wanted: Iterable[Need]) -> None:
    for need in wanted:
        if not credential.access.allows(need):
            raise Refused(
                "denied",
                f"User: arn:aws:iam::{ACCOUNT}:user/{credential.access_key} is not authorized to perform: {need.right} "
                f"on {need.name or 'everything'}{'*' if need.reach == 'below' else ''}. Its access in the runtime's "
                "credentials file does not name it",
            )


class _Gone(Exception):
    """The client closed the connection before its body was whole."""


async def _whole(receive: Receive) -> bytes:
    """The body, up to its limit.

    Raises:
        Refused: it is larger. _Gone: it ended early.
    """
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        part = message.get("body", b"")
        more = message.get("more_body", False)
        parts.append(part)
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise Refused("too large", f"the body is over {MAX_BODY_BYTES} bytes, more than any call takes")
    return b"".join(parts)


class _Replay:
    """A `receive` that gives the body that was read, and then goes on as before."""

    def __init__(self, receive: Receive, body: bytes) -> None:
        self._receive = receive
        self._body: bytes | None = body
        # Faults reach the server's connection through the method that `receive` is (exchange.py).
        self.__self__ = getattr(receive, "__self__", self)

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        message = {"type": "http.request", "body": self._body, "more_body": False}
        self._body = None
        return message


def _refusal(refused: Refused, where: Destination, scope: Scope) -> Response:
    headers = Headers(scope=scope)
    content_type = headers.get("content-type", "")
    # A client that waits for `100 Continue` keeps its body now; the connection could not be used again.
    extra = {"Connection": "close"} if "expect" in headers else {}
    cbor = headers.get("smithy-protocol") == "rpc-v2-cbor"
    if where.place == "s3":
        code, status = CODES[refused.reason]["s3"]
        return _s3_refusal(code, status, refused.message, scope, extra)
    if where.place != "other" or where.target or cbor or "json" in content_type:
        code, status = CODES[refused.reason]["json"]
        names = {"__type": code, "message": refused.message, "Message": refused.message}
        extra |= {"x-amzn-RequestId": secrets.token_hex(16), "x-amzn-ErrorType": code}
        if cbor:
            extra |= {"smithy-protocol": "rpc-v2-cbor"}
            return Response(_cbor(names), status, extra, "application/cbor")
        return Response(json.dumps(names), status, extra, "application/x-amz-json-1.1")
    code, status = CODES[refused.reason]["query"]
    document = (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{html.escape(refused.message)}</Message>"
        f"</Error><RequestId>{secrets.token_hex(16)}</RequestId></ErrorResponse>"
    )
    return Response(document, status, {**extra, "x-amzn-ErrorType": code}, "text/xml")


def _s3_refusal(code: str, status: int, message: str, scope: Scope, extra: Mapping[str, str]) -> Response:
    request = Request(method=scope["method"], resource=scope["path"])
    error = S3Error(message)
    error.code, error.status = code, status
    answer = error_answer(error, request)
    headers = {**answer.headers, **extra, "x-amz-request-id": request.id, "x-amz-id-2": "millrace"}
    body: Any = answer.body
    return Response(body, answer.status, headers)


def _cbor(names: Mapping[str, str]) -> bytes:
    """A map of texts as CBOR; it is all of that format which an error needs."""

    def head(major: int, size: int) -> bytes:
        return bytes([major << 5 | 25]) + size.to_bytes(2, "big")

    def text(value: str) -> bytes:
        encoded = value.encode()[:60_000]
        return head(3, len(encoded)) + encoded

    return head(5, len(names)) + b"".join(text(name) + text(value) for name, value in names.items())
