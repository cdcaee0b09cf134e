"""One real stack for the end-to-end tests: runtime, MLflow and Airflow, in a shell that was poisoned on purpose."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from millrace.cli.airflow_api import AirflowApi
from millrace.cli.layout import Layout
from millrace.cli.stack import Stack
from tests.e2e.pipelines import Pipelines
from tests.runtime.process import RuntimeProcess, three_free_ports

PROJECT = Path(__file__).parents[2]


@dataclass
class Poison:
    """A home folder whose AWS settings lead to a trap; whoever touches it is written down."""

    home: Path
    touched: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        port = self._listener.getsockname()[1]
        marker, program = self.home / "touched", self.home / "steal"
        program.write_text(f"#!/bin/sh\necho credentials >> {marker}\nexit 1\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        folder = self.home / ".aws"
        folder.mkdir()
        (folder / "config").write_text(
            f"[default]\nregion = eu-central-1\nendpoint_url = http://127.0.0.1:{port}\ncredential_process = {program}\n"
            f"[profile production]\nendpoint_url = http://127.0.0.1:{port}\ncredential_process = {program}\n"
        )
        self.environment = {
            "HOME": str(self.home),
            "AWS_PROFILE": "production",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/credentials",
            "HTTP_PROXY": f"http://127.0.0.1:{port}",
            "HTTPS_PROXY": f"http://127.0.0.1:{port}",
        }

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(1)
                self.touched.append(connection.recv(200).decode(errors="replace"))

    def what_touched_it(self) -> list[str]:
        marker = self.home / "touched"
        return self.touched + (marker.read_text().splitlines() if marker.exists() else [])

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(scope="session")
def poison(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Poison]:
    poison = Poison(tmp_path_factory.mktemp("home"))
    yield poison
    poison.close()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, poison: Poison) -> Iterator[Stack]:
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "dags", project / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PROJECT / "plugins", project / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).with_name("waiting_dag.py"), project / "dags" / "waiting.py")
    layout = Layout(project=project, state=project / ".millrace", first_port=three_free_ports())
    shell = {
        **os.environ,
        **poison.environment,
        "MILLRACE_PROJECT": str(project),
        "MILLRACE_PORT": str(layout.first_port),
    }
    started = subprocess.run([sys.executable, "-m", "millrace.cli", "up"], env=shell, capture_output=True, text=True)
    assert started.returncode == 0, started.stdout + started.stderr
    yield Stack(layout, lambda line: None)
    stopped = subprocess.run([sys.executable, "-m", "millrace.cli", "down"], env=shell, capture_output=True, text=True)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    left = RuntimeProcess(layout.state / "runtime").processes()
    assert not left, f"processes are left: {left}"
    assert poison.what_touched_it() == []


@pytest.fixture(scope="session")
def pipelines(stack: Stack) -> Pipelines:
    return Pipelines(stack, AirflowApi(stack.layout))
