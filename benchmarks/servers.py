"""The server processes that the runtime is compared with: moto's own, and the floors of `floors.py`.

What it does not do: it does not start the runtime (tests/runtime/process.py does), and it measures nothing.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from tests.runtime.process import REGION, free_port, until

PROJECT = Path(__file__).parents[1]
START_SECONDS = 60


@contextmanager
def moto() -> Iterator[int]:
    """`moto_server`, in a process of its own; gives its port."""
    port = free_port()
    with _process([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port):
        yield port


@contextmanager
def floor(what: str, *options: str) -> Iterator[int]:
    """One of the floors; gives its port."""
    port = free_port()
    with _process([sys.executable, "-m", "benchmarks.floors", what, "--port", str(port), *options], port):
        yield port


def boto3_client(service: str, port: int) -> Any:
    return boto3.client(
        service, endpoint_url=f"http://127.0.0.1:{port}", region_name=REGION,
        aws_access_key_id="benchmark", aws_secret_access_key="benchmark",
    )  # type: ignore[call-overload]  # fmt: skip


@contextmanager
def _process(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:

        def accepts() -> bool:
            assert process.poll() is None, f"{' '.join(command)} ended with exit code {process.returncode}"
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        until(accepts, START_SECONDS, f"an answer of {' '.join(command[1:4])}")
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)
