"""The control plane, a process of its own: SageMaker's operations, S3, the logs of jobs, and the way to moto.

Run as `python -m millrace.runtime.control`, by the front. A request goes where its signature's credential scope or its
X-Amz-Target says (`destination.py`). What it does not do: it verifies no signature (`authenticator.py` does, where there
are credentials; elsewhere any will do) and it answers for no service that is not ours.
"""

from __future__ import annotations

import json
import logging
import secrets
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from . import capture_segments, credentials, job_logs, protocol, sandbox, trees
from .authenticator import Authenticator
from .calls import CallLog
from .capture_store import CaptureStore
from .clock import Clock
from .companion import Companion
from .config import RuntimeConfig
from .console import Console
from .credentials import ANY_JOB, ANY_RUNTIME, Access, Credential
from .database import Database
from .destination import Destination, destination
from .errors import AwsError, SerializationException, UnknownOperation
from .exchange import Exchange
from .fault_plan import FaultPlan
from .fleet import Fleets
from .forward import Forwarder
from .guard import Guard
from .handover import serve
from .job_logs import JobLogs
from .jobs import Host, JobType
from .leases import Leases
from .metric_publisher import MetricPublisher
from .monitoring_definition import KINDS
from .monitoring_scheduler import MonitoringScheduler
from .own_storage import OwnStorage
from .packages import PackageCache
from .resources.endpoints import Endpoints
from .resources.job_definitions import JobDefinitions
from .resources.job_operations import JobOperations
from .resources.models import ENDPOINT_CONFIG, MODEL, RecordOperations
from .resources.monitoring_schedules import MonitoringSchedules
from .resources.processing_jobs import ProcessingJobs
from .resources.search import SearchOperations
from .resources.tags import TagOperations
from .resources.training_jobs import TrainingJobs
from .resources.training_updates import TrainingUpdates
from .resources.transform_jobs import TransformJobs
from .routes import RoutingTable
from .s3.app import s3_app
from .s3.errors import NotImplementedHere
from .s3.store import DEFAULT_REGION, ObjectStore
from .storage import Storage
from .supervisor import Supervisor
from .warm_pools import WarmPools

log = logging.getLogger(__name__)
Operation = Callable[[dict[str, Any], str], dict[str, Any] | None]
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
        clock = Clock(config.data_dir)
        self.database = Database(config.data_dir / "runtime.sqlite", clock.now)
        self.objects = ObjectStore(config.data_dir / "s3")
        storage = _storage(config, self.objects)
        packages = PackageCache(config.data_dir / "packages")
        packages.sweep()
        self.credentials, of_jobs, own = None, ANY_JOB, ANY_RUNTIME
        if config.credentials is not None:
            own = Credential(
                access_key=credentials.RUNTIME,
                secret_key=secrets.token_hex(32),
                access=Access({"other": ("monitoring",)}),
            )
            self.credentials = credentials.load(config.credentials).plus(own)
            of_jobs = self.credentials.jobs
        host = Host(config, self.database, storage, sandboxed, clock, packages, of_jobs)
        fleets = Fleets(config, self.database, storage, sandboxed, of_jobs)
        self.endpoints = Endpoints(self.database, fleets, RoutingTable(config.data_dir / "routes.json"))
        types: dict[str, JobType] = {t.kind: t for t in (TrainingJobs(), ProcessingJobs(), TransformJobs())}
        self._metrics = MetricPublisher(host, own)
        leases = Leases(config.max_instances, [gpu.uuid for gpu in config.gpus])
        pools = WarmPools(host, leases)
        self.supervisor = Supervisor(host, types, leases, pools, self._metrics.follow)
        self._faults = FaultPlan(config.data_dir)
        jobs = {kind: JobOperations(job_type, host, self.supervisor, self._faults) for kind, job_type in types.items()}
        self._captured = CaptureStore(config.data_dir / capture_segments.FOLDER, storage)
        self._scheduler = MonitoringScheduler(host, jobs[ProcessingJobs.kind].create)
        self._operations: dict[str, Operation] = {
            **{name: operation for operations in jobs.values() for name, operation in operations.table().items()},
            **TrainingUpdates(self.database, pools).table(),
            **SearchOperations(self.database, jobs[TrainingJobs.kind].description).table(),
            **RecordOperations(MODEL, self.database).table(),
            **RecordOperations(ENDPOINT_CONFIG, self.database).table(),
            **self.endpoints.table(),
            **{
                name: call
                for kind in KINDS.values()
                for name, call in JobDefinitions(kind, self.database).table().items()
            },
            **MonitoringSchedules(self.database, clock, self._scheduler).table(),
            **TagOperations(self.database).table(),
        }
        self._logs = JobLogs(host, types.values(), self.endpoints).table()
        self._calls = CallLog(config.data_dir / "calls.jsonl")
        self._console = Console(self._operations, self._logs)
        self._s3 = s3_app(
            self.objects,
            lambda heard, name: self._calls.note(heard.headers.get("authorization", ""), "s3", name),
            self._faults.spoil if config.s3_endpoint_url is None else _kept_elsewhere(config.s3_endpoint_url),
        )
        self._router = Forwarder(run / "router.sock")
        self._companion = Companion(run / "moto.sock", config.data_dir / "moto.log")
        self.isolation = "bubblewrap" if sandboxed else "process"

    @property
    def operation_names(self) -> set[str]:
        """SageMaker's operations that are carried out here."""
        return set(self._operations)

    def start(self) -> None:
        self._metrics.start()
        self.supervisor.start()
        self.endpoints.start()
        self._captured.start()
        self._scheduler.start()

    async def stop(self) -> None:
        self._scheduler.stop()
        self.supervisor.stop()
        self._metrics.stop()
        self.endpoints.stop()
        self._captured.stop()
        await self._companion.stop()
        await self._router.close()
        self.close()

    def close(self) -> None:
        """Let go of the files; for a plane that has not been started."""
        self.database.close()
        self.objects.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        where = destination(scope)
        if where.place == "s3":
            await self._s3(scope, receive, send)
            return
        request = Request(scope, receive)
        response: Response
        if where.place == "health":
            well = self.supervisor.is_alive()
            facts = {"status": "ok" if well else "the supervisor has ended", "isolation": self.isolation}
            response = JSONResponse(facts, 200 if well else 503)
        elif where.place == "console":
            response = await anyio.to_thread.run_sync(self._console.page, scope["path"], where.region)
        elif where.place == "router":
            response = await self._router(request)
        elif where.place == "nowhere":
            response = JSONResponse({"message": "only /endpoints/NAME/invocations is served here"}, 404)
        elif where.place == "sagemaker":
            response = await self._sagemaker(request, where.operation, where.region)
        elif where.place == "logs":
            response = await self._logs_call(request, where.operation, where.region)
        else:
            response = await self._others_call(request, where)
        await response(scope, receive, send)

    async def _others_call(self, request: Request, where: Destination) -> Response:
        operation = where.target or request.method
        self._calls.note(request.headers.get("authorization", ""), where.service or "unknown", operation)
        return await self._companion(request)

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
        try:
            return await self._faults.around(name, body, lambda: self._carry_out(service, name, table, body, region))
        except AwsError as error:
            return _refusal(error)

    async def _carry_out(
        self, service: str, name: str, table: dict[str, Operation], body: bytes, region: str
    ) -> Response:
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
            return _refusal(error)
        except Exception as error:
            log.exception("%s failed", name)
            text = f"{type(error).__name__} in the Millrace runtime: see its log"
            return Response(json.dumps({"__type": "InternalFailure", "message": text}), 500, _headers())
        return Response(result, 200, _headers())


def _storage(config: RuntimeConfig, own: ObjectStore) -> Storage:
    """What holds the data of jobs."""
    if config.s3_endpoint_url is None:
        return OwnStorage(own)
    from .remote_storage import RemoteStorage  # the import of boto3 takes a while, and few need it

    scratch = config.data_dir / "scratch"
    trees.remove([scratch])  # copies that a kill has left
    scratch.mkdir()
    return RemoteStorage(config.s3_endpoint_url, config.s3_profile, DEFAULT_REGION, scratch)


def _kept_elsewhere(url: str) -> Callable[[str, str, Exchange], Exchange]:
    """Refuse every call to the runtime's own S3: an object that lay here would be found by no job."""

    def refuse(_operation: str, _name: str, _answer: Exchange) -> Exchange:
        raise NotImplementedHere(
            f"this runtime keeps its objects at {url}: let clients of S3 call it there, for example by AWS_ENDPOINT_URL_S3"
        )

    return refuse


def _refusal(error: AwsError) -> Response:
    document = {"__type": error.code, "message": error.message, "Message": error.message}
    return Response(json.dumps(document), error.status, _headers())


def _headers() -> dict[str, str]:
    return {"x-amzn-RequestId": str(uuid.uuid4()), "Content-Type": "application/x-amz-json-1.1"}


def application(plane: ControlPlane) -> ASGIApp:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        plane.start()
        yield
        await plane.stop()

    app = Starlette(lifespan=lifespan)
    let_in: ASGIApp = plane
    if plane.credentials is not None:
        let_in = Authenticator(plane, plane.credentials)
    app.router.default = Guard(let_in, plane.config.allowed_hosts)  # a mount would not match a line break in a key
    return app


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    document, descriptor = sys.argv[1:]
    config = RuntimeConfig.from_json(document)
    pair = socket.socket(fileno=int(descriptor))
    uvloop.run(serve(application(ControlPlane(config)), pair, config.data_dir / "run" / "control.sock"))


if __name__ == "__main__":
    main()
