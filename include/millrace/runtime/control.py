"""The control plane, a process of its own: SageMaker's operations, S3, the logs of jobs, and the way to moto.

Run as `python -m millrace.runtime.control`, by the front. A request goes where its signature's credential scope or its
X-Amz-Target says; one without either is S3's (presigned and anonymous requests carry no scope). What it does not do:
it verifies no signature (any credentials will do) and it answers for no service that is not ours.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from . import job_logs, protocol, sandbox
from .calls import CallLog
from .companion import Companion
from .config import RuntimeConfig
from .console import Console
from .database import Database
from .errors import AwsError, SerializationException, UnknownOperation
from .fleet import Fleets
from .forward import Forwarder
from .guard import Guard
from .handover import serve
from .job_logs import JobLogs
from .jobs import Host, JobType
from .leases import Leases
from .resources.endpoints import Endpoints
from .resources.job_operations import JobOperations
from .resources.models import ENDPOINT_CONFIG, MODEL, RecordOperations
from .resources.processing_jobs import ProcessingJobs
from .resources.tags import TagOperations
from .resources.training_jobs import TrainingJobs
from .resources.transform_jobs import TransformJobs
from .routes import INVOCATION, RoutingTable
from .s3.app import s3_app
from .s3.store import ObjectStore
from .supervisor import Supervisor

log = logging.getLogger(__name__)
Operation = Callable[[dict[str, Any], str], dict[str, Any] | None]
SCOPE = re.compile(r"Credential=[^/]+/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
DEFAULT_REGION = "us-east-1"
# SageMaker operations that only keep records, which moto keeps as well as anyone. Everything that would run something
# is ours or refused: moto "completes" what never ran.
RECORD_KEEPING = frozenset(
    f"{verb}{noun}"
    for noun in ("Experiment", "Trial", "TrialComponent")
    for verb in ("Create", "Describe", "Delete", "Update")
) | {"ListExperiments", "ListTrials", "ListTrialComponents", "AssociateTrialComponent", "DisassociateTrialComponent"}


class ControlPlane:
    """Everything the control process holds, and its ASGI application."""

    def __init__(self, config: RuntimeConfig) -> None:
        self.config = config
        run = config.data_dir / "run"
        sandboxed = sandbox.resolve(config.isolation)
        self.database = Database(config.data_dir / "runtime.sqlite")
        self.objects = ObjectStore(config.data_dir / "s3")
        host = Host(config, self.database, self.objects, sandboxed)
        fleets = Fleets(config, self.database, self.objects, sandboxed)
        self.endpoints = Endpoints(self.database, fleets, RoutingTable(config.data_dir / "routes.json"))
        types: dict[str, JobType] = {t.kind: t for t in (TrainingJobs(), ProcessingJobs(), TransformJobs())}
        self.supervisor = Supervisor(host, types, Leases())
        self._operations: dict[str, Operation] = {
            **{
                name: operation
                for job_type in types.values()
                for name, operation in JobOperations(job_type, host, self.supervisor).table().items()
            },
            **RecordOperations(MODEL, self.database).table(),
            **RecordOperations(ENDPOINT_CONFIG, self.database).table(),
            **self.endpoints.table(),
            **TagOperations(self.database).table(),
        }
        self._logs = JobLogs(host, types.values(), self.endpoints).table()
        self._calls = CallLog(config.data_dir / "calls.jsonl")
        self._console = Console(self._operations, self._logs)
        self._s3 = s3_app(
            self.objects, lambda heard, name: self._calls.note(heard.headers.get("authorization", ""), "s3", name)
        )
        self._router = Forwarder(run / "router.sock")
        self._companion = Companion(run / "moto.sock", config.data_dir / "moto.log")
        self.isolation = "bubblewrap" if sandboxed else "process"

    def start(self) -> None:
        self.supervisor.start()
        self.endpoints.start()

    async def stop(self) -> None:
        self.supervisor.stop()
        self.endpoints.stop()
        await self._companion.stop()
        await self._router.close()
        self.database.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        target = request.headers.get("x-amz-target", "")
        authorization = SCOPE.search(request.headers.get("authorization", ""))
        service = authorization["service"] if authorization else None
        region = authorization["region"] if authorization else DEFAULT_REGION
        response: Response
        if scope["path"] == "/health" and service is None:
            well = self.supervisor.is_alive()
            facts = {"status": "ok" if well else "the supervisor has ended", "isolation": self.isolation}
            response = JSONResponse(facts, 200 if well else 503)
        elif service is None and not target and scope["path"].split("/")[1] == "console" and request.method == "GET":
            response = await anyio.to_thread.run_sync(self._console.page, scope["path"], region)
        elif INVOCATION.match(scope["path"]) and service in (None, "sagemaker"):
            response = await self._router(request)
        elif scope["path"].startswith("/endpoints/") and service in (None, "sagemaker"):
            response = JSONResponse({"message": "only /endpoints/NAME/invocations is served here"}, 404)
        elif target.startswith("SageMaker."):
            response = await self._sagemaker(request, target.removeprefix("SageMaker."), region)
        elif target.startswith("Logs_20140328."):
            response = await self._logs_call(request, target.removeprefix("Logs_20140328."), region)
        elif service in (None, "s3") and not target:
            await self._s3(scope, receive, send)
            return
        else:
            self._calls.note(request.headers.get("authorization", ""), service or "unknown", target or request.method)
            response = await self._companion(request)
        await response(scope, receive, send)

    async def _sagemaker(self, request: Request, name: str, region: str) -> Response:
        body = await request.body()
        self._calls.note(request.headers.get("authorization", ""), "sagemaker", name)
        if name in RECORD_KEEPING:
            return await self._companion(request, body)
        return await self._answer("sagemaker", name, self._operations, body, region)

    async def _logs_call(self, request: Request, name: str, region: str) -> Response:
        body = await request.body()
        self._calls.note(request.headers.get("authorization", ""), "logs", name)
        try:
            ours = job_logs.is_ours(json.loads(body or b"{}"))
        except ValueError:
            ours = True
        if not ours or name not in self._logs:
            return await self._companion(request, body)
        return await self._answer("logs", name, self._logs, body, region)

    async def _answer(self, service: str, name: str, table: dict[str, Operation], body: bytes, region: str) -> Response:
        headers = {"x-amzn-RequestId": str(uuid.uuid4()), "Content-Type": "application/x-amz-json-1.1"}
        try:
            if len(body) > protocol.MAX_BODY_BYTES:
                raise SerializationException(f"the body is {len(body)} bytes; at most {protocol.MAX_BODY_BYTES}")
            protocol.operation(service, name)
            if name not in table:
                raise UnknownOperation(
                    f"{name} is not offered by the Millrace runtime. AWS offers it; point the connection there to use it"
                )
            result = await anyio.to_thread.run_sync(
                lambda: protocol.serialise(service, name, table[name](protocol.parse(service, name, body), region))
            )
        except AwsError as error:
            document = {"__type": error.code, "message": error.message, "Message": error.message}
            return Response(json.dumps(document), error.status, headers)
        except Exception as error:
            log.exception("%s failed", name)
            text = f"{type(error).__name__} in the Millrace runtime: see its log"
            return Response(json.dumps({"__type": "InternalFailure", "message": text}), 500, headers)
        return Response(result, 200, headers)


def application(plane: ControlPlane) -> ASGIApp:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        plane.start()
        yield
        await plane.stop()

    app = Starlette(lifespan=lifespan)
    app.mount("/", Guard(plane, plane.config.allowed_hosts))
    return app


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    document, descriptor = sys.argv[1:]
    fields = json.loads(document)
    config = RuntimeConfig(
        **{**fields, "data_dir": Path(fields["data_dir"]), "allowed_hosts": tuple(fields["allowed_hosts"])}
    )
    pair = socket.socket(fileno=int(descriptor))
    uvloop.run(serve(application(ControlPlane(config)), pair, config.data_dir / "run" / "control.sock"))


if __name__ == "__main__":
    main()
