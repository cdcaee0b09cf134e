"""The data plane, a process of its own: InvokeEndpoint, from the routing snapshot to a model server and back.

It reads no database and shares no loop with uploads or control calls. Run as `python -m millrace.runtime.router`, by the
front. What it does not do: asynchronous and streaming invocations, shadow variants; they are refused by name. What an
endpoint captures is handed to a writer of its own, and delays no answer.
"""

from __future__ import annotations

import json
import random
import re
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from . import credentials
from .authenticator import Authenticator, at_router
from .calls import CallLog
from .capture_segments import FOLDER, CapturedInference
from .capture_writer import CaptureWriter
from .clock import Clock
from .config import ACCOUNT, RuntimeConfig
from .forward import Forwarder
from .guard import Guard
from .handover import serve
from .routes import INVOCATION, Route, Snapshot

MAX_BODY_BYTES = 6_291_456
CONTAINER_SECONDS = 60
PASSED_ON = ("content-type", "accept", "x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-inference-id")
PASSED_BACK = ("content-type", "x-amzn-sagemaker-custom-attributes")


def error(status: int, code: str, message: str, **fields: object) -> Response:
    body = json.dumps({"Message": message, "message": message, **fields})
    return Response(body, status, {"x-amzn-ErrorType": code}, "application/json")


class Router:
    """The ASGI application of the data plane."""

    def __init__(
        self, snapshot: Snapshot, control: Forwarder, calls: CallLog, captured: CaptureWriter, clock: Clock
    ) -> None:
        self._captured = captured
        self._clock = clock
        self._snapshot = snapshot
        self._calls = calls
        self._control = control
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        self._captured.start()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=CONTAINER_SECONDS, sock_connect=2),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        await self._control.close()
        self._captured.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        match = INVOCATION.match(scope["path"])
        response = await (self._invoke(request, match) if match else self._control(request))
        await response(scope, receive, send)

    async def _invoke(self, request: Request, match: re.Match[str]) -> Response:
        endpoint, action = match.groups()
        if request.method != "POST":
            return error(405, "ValidationError", "invocations are POSTed")
        self._calls.note(request.headers.get("authorization", ""), "sagemaker", "InvokeEndpoint")
        if action != "invocations":
            return error(400, "ValidationError", f"{action} is not offered by the Millrace runtime yet (AWS takes it)")
        body = await _bounded_body(request)
        if body is None:
            return error(400, "ValidationError", f"the body is larger than {MAX_BODY_BYTES} bytes")
        route = self._snapshot.find(endpoint)
        if route is None:
            return error(400, "ValidationError", f"Endpoint {endpoint} of account {ACCOUNT} not found.")
        wanted = request.headers.get("x-amzn-sagemaker-target-variant")
        chosen = route.choose(wanted)
        if chosen is None:
            return error(400, "ValidationError", f"Variant {wanted} of endpoint {endpoint} not found.")
        return await self._ask(endpoint, route, chosen, request, body)

    async def _ask(
        self, endpoint: str, route: Route, chosen: tuple[str, int], request: Request, body: bytes
    ) -> Response:
        headers = {name: value for name in PASSED_ON if (value := request.headers.get(name))}
        variant = chosen[0]
        try:
            try:
                answer, content = await self._post(chosen[1], body, headers)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                # The server has gone, or had closed a kept connection. Its successor may be on another port by now.
                # Like SageMaker's own retries this may ask a model twice.
                newer = self._snapshot.find(endpoint)
                again = newer.choose(variant) if newer else None
                variant, port = again or chosen
                answer, content = await self._post(port, body, headers)
        except TimeoutError:
            return _model_error(endpoint, variant, 0, f"did not answer within {CONTAINER_SECONDS} s", "")
        except aiohttp.ClientError as problem:
            return _model_error(endpoint, variant, 0, f"could not be reached: {problem}", "")
        if answer.status >= 400:
            text = content.decode(errors="replace")
            which = "server" if answer.status >= 500 else "client"
            message = f'Received {which} error ({answer.status}) from primary with message "{text[:1000]}".'
            return _model_error(endpoint, variant, answer.status, message, text)
        kept = {name: value for name in PASSED_BACK if (value := answer.headers.get(name))}
        if route.capture is not None and is_sampled(route.capture.percentage):
            self._captured.offer(
                CapturedInference(
                    capture=route.capture,
                    endpoint=endpoint,
                    variant=variant,
                    time=self._clock.now(),
                    event_id=str(uuid.uuid4()),
                    inference_id=headers.get("x-amzn-sagemaker-inference-id"),
                    input_type=headers.get("content-type"),
                    output_type=kept.get("content-type"),
                    input=body,
                    output=content,
                )
            )
        return Response(content, 200, {**kept, "x-Amzn-Invoked-Production-Variant": variant})

    async def _post(self, port: int, body: bytes, headers: dict[str, str]) -> tuple[aiohttp.ClientResponse, bytes]:
        assert self._session is not None  # noqa: S101 - opened at start-up
        url = f"http://127.0.0.1:{port}/invocations"
        async with self._session.post(url, data=body, headers=headers) as answer:
            return answer, await answer.read()


def is_sampled(percentage: int, draw: Callable[[], float] = random.random) -> bool:
    """Whether a request is among the percentage that is captured: always for 100, never for 0.

    Args:
        draw: gives numbers from 0, included, to 1, not included.
    """
    return draw() * 100 < percentage


async def _bounded_body(request: Request) -> bytes | None:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _model_error(endpoint: str, variant: str, status: int, message: str, text: str) -> Response:
    where = f"/aws/sagemaker/Endpoints/{endpoint}"
    return error(
        424, "ModelError", f"{message} See {where} in account {ACCOUNT} for more information.",
        OriginalStatusCode=status, OriginalMessage=text[:1000], LogStreamArn=f"{where}/{variant}",
    )  # fmt: skip


def application(config: RuntimeConfig) -> ASGIApp:
    data_dir = config.data_dir
    control = Forwarder(data_dir / "run" / "control.sock")
    snapshot, calls = Snapshot(data_dir / "routes.json"), CallLog(data_dir / "calls.jsonl")
    router = Router(snapshot, control, calls, CaptureWriter(data_dir / FOLDER), Clock(data_dir))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await router.open()
        yield
        await router.close()

    app = Starlette(lifespan=lifespan)
    let_in: ASGIApp = router
    if config.credentials is not None:
        let_in = Authenticator(router, credentials.load(config.credentials), at_router)
    app.mount("/", Guard(let_in, config.allowed_hosts))
    return app


def main() -> None:
    document, descriptor = sys.argv[1:]
    config = RuntimeConfig.from_json(document)
    pair = socket.socket(fileno=int(descriptor))
    uvloop.run(serve(application(config), pair, config.data_dir / "run" / "router.sock"))


if __name__ == "__main__":
    main()
