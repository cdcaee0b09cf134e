"""A real MLflow server on a free port, one for all tests of this folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from tests.runtime.process import free_port, until


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    log = folder / "server.log"
    with log.open("wb") as stream:
        # A session of its own: the server's workers are its children, and end with its group.
        server = subprocess.Popen(command, stdout=stream, stderr=stream, cwd=folder, start_new_session=True)

    def is_healthy() -> bool:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        until(is_healthy, 100, "the health of mlflow server")
        yield uri
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # nothing of it is kept, and clients of this process hold connections
        server.wait()
