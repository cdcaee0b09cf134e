"""A runtime that was started with credentials, and clients that sign with one of its keys or with a wrong one."""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.runtime.process import REGION, RuntimeProcess

ALL: dict[str, Any] = {
    "s3": {"read": ["*"], "write": ["*"]},
    **{service: ["*"] for service in ("sagemaker", "sagemaker-runtime", "logs", "other")},
}
ACCESS: dict[str, dict[str, Any]] = {
    "admin": ALL,
    "jobs": {"s3": {"read": ["bucket/in/*", "bucket/code/*"], "write": ["bucket/out/*"]}},
    "reader": {"s3": {"read": ["bucket/in/*"]}},
    "watcher": {"sagemaker": ["Describe*", "List*"], "logs": ["Get*"]},
    "caller": {"sagemaker-runtime": ["mine-*"], "other": ["sts"]},
}
SECRETS = {name: secrets.token_hex(20) for name in ACCESS}


def rows() -> list[dict[str, Any]]:
    return [{"access_key": name, "secret_key": SECRETS[name], "access": access} for name, access in ACCESS.items()]


def write(path: Path, document: Any, mode: int = 0o600) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    path.chmod(mode)
    return path


class SignedRuntime(RuntimeProcess):
    """Its own client is the administrator's."""

    def client(self, service: str, key: str = "admin", secret: str | None = None, **config: Any) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret or SECRETS[key],
            config=Config(retries={"total_max_attempts": 1}, **config),
        )  # type: ignore[call-overload]


@contextmanager
def running(folder: Path) -> Iterator[SignedRuntime]:
    runtime = SignedRuntime(folder / "data", "--credentials", str(write(folder / "credentials.json", rows())))
    runtime.start()
    s3 = runtime.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="in/a.txt", Body=b"in")
    s3.put_object(Bucket="bucket", Key="secret/b.txt", Body=b"secret")
    yield runtime
    runtime.end_everything()


def refusal(call: Callable[[], Any]) -> tuple[str, int]:
    """The code and the status with which a call is refused."""
    with pytest.raises(ClientError) as error:
        call()
    return error.value.response["Error"]["Code"], error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def fetch(url: str, method: str = "GET", body: bytes | None = None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
