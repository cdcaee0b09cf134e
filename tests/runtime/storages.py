"""Both storages that jobs may have, for tests that hold for either: the runtime's own, and another S3 (moto's server)."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from millrace.runtime.own_storage import OwnStorage
from millrace.runtime.remote_storage import RemoteStorage
from millrace.runtime.s3.store import ObjectStore
from millrace.runtime.storage import Storage
from tests.runtime.process import REGION, free_port, until


class Stock(ABC):
    """A storage with an empty bucket called `bucket`, and what tests do to it besides."""

    storage: Storage

    def put(self, key: str, body: bytes) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(body)
            file.flush()
            self.storage.put_file("bucket", key, Path(file.name), content_type="binary/octet-stream")

    def contents(self) -> dict[str, bytes]:
        """Every object's bytes by key."""
        found = {}
        for record in self.storage.list_keys("bucket"):
            with self.storage.open("bucket", record.key) as stream:
                found[record.key] = stream.read()
        return found

    @abstractmethod
    def delete(self, key: str) -> None: ...

    @abstractmethod
    def content_type(self, key: str) -> str | None: ...


class OwnStock(Stock):
    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.storage = OwnStorage(store)
        store.create_bucket("bucket")

    def delete(self, key: str) -> None:
        self.store.delete("bucket", key)

    def content_type(self, key: str) -> str | None:
        return self.store.head("bucket", key).content_type


class AnotherStock(Stock):
    def __init__(self, url: str, scratch: Path) -> None:
        self.storage = RemoteStorage(url, None, REGION, scratch)
        self.client: Any = boto3.client("s3", endpoint_url=url, region_name=REGION)
        self.client.create_bucket(Bucket="bucket")

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket="bucket", Key=key)

    def content_type(self, key: str) -> str | None:
        return str(self.client.head_object(Bucket="bucket", Key=key)["ContentType"])


@contextlib.contextmanager
def another_s3() -> Iterator[str]:
    """The address of moto's server, a process of its own."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: _reset(url), 60, "moto's start")
        yield url
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def own_stock(folder: Path) -> Iterator[OwnStock]:
    store = ObjectStore(folder / "s3")
    try:
        yield OwnStock(store)
    finally:
        store.close()


@contextlib.contextmanager
def another_stock(url: str, scratch: Path) -> Iterator[AnotherStock]:
    """An emptied server, and keys in the environment as its user would have them."""
    assert _reset(url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "another")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
        yield AnotherStock(url, scratch)


def _reset(url: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
