"""A store served by uvicorn on a free port of 127.0.0.1, and a boto3 client of it."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import uvicorn
from botocore.config import Config
from starlette.types import ASGIApp, Receive, Scope, Send

from millrace.runtime.s3 import blobs, multipart
from millrace.runtime.s3.app import s3_app
from millrace.runtime.s3.store import ObjectStore

BUCKET = "bucket"
SMALL_PART = 8


@dataclass(frozen=True)
class Server:
    store: ObjectStore
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def files(self) -> list[Path]:
        """Every file that holds, or was to hold, bytes of an object."""
        return [path for path in (self.folder / "objects").glob("*/*") if path.is_file()]


@contextmanager
def listen(app: ASGIApp) -> Iterator[int]:
    """uvicorn in a thread; the port it chose."""
    config = uvicorn.Config(app, port=0, log_level="warning", lifespan="off", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """A store and a server of its own, for tests of restarts."""
    store = ObjectStore(folder)
    try:
        with listen(s3_app(store)) as port:
            yield Server(store, folder, port)
    finally:
        store.close()


@contextmanager
def connect(url: str, **settings: Any) -> Iterator[Any]:
    client = boto3.client("s3", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}, **settings))
    try:
        yield client
    finally:
        client.close()


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


class Switch:
    """One listening server for all tests, a fresh store behind it for each: starting uvicorn takes 0.3 s."""

    app: ASGIApp
    port: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def switch() -> Iterator[Switch]:
    switch = Switch()
    with listen(switch) as switch.port:
        yield switch


@pytest.fixture
def server(tmp_path: Path, switch: Switch) -> Iterator[Server]:
    store = ObjectStore(tmp_path / "s3")
    switch.app = s3_app(store)
    store.create_bucket(BUCKET)
    yield Server(store, tmp_path / "s3", switch.port)
    store.close()


@pytest.fixture
def s3(server: Server) -> Iterator[Any]:
    with connect(server.url) as client:
        yield client


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few bytes, and three folders instead of 256, for tests that make a disk hundreds of times."""
    shards = ("00", "7f", "ff")
    monkeypatch.setattr(multipart, "MIN_PART_SIZE", SMALL_PART)
    monkeypatch.setattr(blobs, "SHARDS", shards)
    monkeypatch.setattr(blobs, "_new_name", lambda: random.choice(shards) + uuid.uuid4().hex[2:])
