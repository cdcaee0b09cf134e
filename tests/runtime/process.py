"""A real runtime as a child process, for tests: started on a free port, killed and started again, and always ended."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import boto3
import psutil
import pytest

from millrace.runtime.ports import Ports
from millrace.runtime.sandbox import bubblewrap_works

T = TypeVar("T")
REGION = "us-east-1"
ROLE = "arn:aws:iam::123456789012:role/jobs"
IMAGE = "local/jobs"


needs_sandbox = pytest.mark.skipif(
    not bubblewrap_works() and not os.environ.get("CI"),
    reason="bubblewrap, which is optional, does not work here; in CI this test fails instead",
)


PORTS = Ports(15_000, 19_999)
"""What the runtime itself does not lease out, for the processes that the tests start."""


def free_port() -> int:
    return PORTS.take()


def three_free_ports() -> int:
    """The first of three in a row, as a stack needs them."""
    ports = [PORTS.take(), PORTS.take(), PORTS.take()]
    while ports != [*range(ports[0], ports[0] + 3)]:
        ports = [*ports[1:], PORTS.take()]
    return ports[0]


def until(look: Callable[[], T | None], seconds: float = 60, what: str = "it", pause: float = 0.05) -> T:
    """The first truthy answer of `look`, asked with a pause in between."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(pause)
    raise AssertionError(f"{what} did not happen within {seconds} s")


@contextlib.contextmanager
def running(folder: Path, *options: str, **how: Any) -> Iterator[RuntimeProcess]:
    """A runtime of one's own with a bucket called `bucket`; whatever runs on it is ended with it."""
    process = RuntimeProcess(folder, *options, **how)
    process.start()
    process.client("s3").create_bucket(Bucket="bucket")
    try:
        yield process
    finally:
        process.end_everything()


class RuntimeProcess:
    """A runtime on a data folder."""

    def __init__(self, data_dir: Path, *options: str, program: Sequence[str] = ("-m", "millrace.runtime")) -> None:
        self.data_dir = data_dir
        self.program = program
        self.port = free_port()
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *self.program, "--port", str(self.port), "--data-dir", str(self.data_dir), *self.options],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        until(self.is_healthy, 30, "the runtime's health")

    def is_healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the runtime ended"
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """As the out-of-memory killer would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=20)

    def end_everything(self) -> None:
        """Delete the endpoints, stop the jobs, stop the runtime; what is left after that is a fault, and killed."""
        sagemaker = self.client("sagemaker")
        for endpoint in sagemaker.list_endpoints(MaxResults=100)["Endpoints"]:
            with contextlib.suppress(sagemaker.exceptions.ClientError):  # it may be changing still
                sagemaker.delete_endpoint(EndpointName=endpoint["EndpointName"])
        for kind in ("training", "processing", "transform"):
            field = f"{kind.capitalize()}Job"
            active = getattr(sagemaker, f"list_{kind}_jobs")(StatusEquals="InProgress", MaxResults=100)
            for job in active[f"{field}Summaries"]:
                getattr(sagemaker, f"stop_{kind}_job")(**{f"{field}Name": job[f"{field}Name"]})
        with contextlib.suppress(AssertionError):
            until(lambda: not self.job_processes(), 40, "the end of every job")
        self.stop()
        left = self.job_processes()
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        assert not left, f"processes of jobs are left: {left}"

    def job_processes(self) -> list[psutil.Process]:
        """Processes of jobs and model servers: all but the runtime's own two."""
        own = ("millrace.runtime.control", "millrace.runtime.router", "millrace.runtime.companion")
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if not any(module in process.cmdline() for module in own):
                    found.append(process)
        return found

    def find(self, text: str) -> list[psutil.Process]:
        """The processes whose command line holds a text."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if text in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def processes(self) -> list[psutil.Process]:
        """Every process that works in this runtime's folder: shims, sandboxes, payloads."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = str(self.data_dir) in " ".join(process.cmdline()) or str(self.data_dir) in process.environ().get(
                    "MILLRACE_INSTANCE", ""
                )
            except psutil.Error:
                continue
            if mine and process.pid != (self.process.pid if self.process else -1):
                found.append(process)
        return found

    def client(self, service: str) -> Any:
        return boto3.client(
            service, endpoint_url=self.url, region_name=REGION, aws_access_key_id="any", aws_secret_access_key="any"
        )  # type: ignore[call-overload]
