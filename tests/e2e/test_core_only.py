"""With the core installation only, as an Airflow worker has it: every DAG parses and every operator runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.operators.runtime import worker_environment
from tests.runtime.process import RuntimeProcess, free_port, running, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
PROJECT = Path(__file__).parents[2]
DAGS = sorted((PROJECT / "dags").glob("*.py"))
UV = Path(sys.executable).with_name("uv")
ELSEWHERE = ("torch", "pandas", "great_expectations", "sklearn", "moto", "datasketches")
PARSE = """
import importlib.util, json, runpy, sys
for path in sys.argv[2:]:
    runpy.run_path(path)
print(json.dumps([name for name in json.loads(sys.argv[1]) if importlib.util.find_spec(name)]))
"""
MIGRATE = """
import subprocess, sys
subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, stdout=subprocess.DEVNULL)
print("null")
"""
RUN = """
import json, runpy, sys
dag = runpy.run_path(sys.argv[1])["every"]
run = dag.test()
print(json.dumps({ti.task_id: str(ti.state) for ti in run.get_task_instances()}))
"""


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the core installation, at the pinned versions."""
    folder = tmp_path_factory.mktemp("core") / "venv"
    links = ["--find-links", os.environ["PIP_FIND_LINKS"]] if os.environ.get("PIP_FIND_LINKS") else []
    python = folder / "bin" / "python"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    subprocess.run(
        [
            UV,
            "pip",
            "install",
            "--quiet",
            "--python",
            python,
            *links,
            "--constraint",
            PROJECT / "requirements.txt",
            PROJECT,
        ],
        check=True,
    )
    return python


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    with running(tmp_path_factory.mktemp("core-runtime")) as process:
        yield process


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server, run by the full environment."""
    folder, port = tmp_path_factory.mktemp("core-mlflow"), free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
         "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", str(folder)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    yield f"http://127.0.0.1:{port}"
    os.killpg(server.pid, signal.SIGKILL)  # a loaded machine takes its time over a shutdown in order
    server.wait()


def run(core: Path, home: Path, code: str, *arguments: str, **variables: str) -> Any:
    """The JSON that a program prints last in the core environment."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(home), "AIRFLOW_HOME": str(home / "airflow"), "PYTHONPATH": str(PROJECT),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "tests/e2e/core_dags"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1", **variables,
    }  # fmt: skip
    done = subprocess.run(
        [core, "-c", code, *arguments], env=environment, cwd=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_every_dag_parses(core: Path, tmp_path: Path) -> None:
    assert run(core, tmp_path, PARSE, json.dumps(ELSEWHERE), *map(str, DAGS)) == []


@pytest.mark.timeout(400)
def test_every_operator_runs(core: Path, runtime: RuntimeProcess, mlflow: str, tmp_path: Path) -> None:
    variables = worker_environment(runtime, "core") | {"MLFLOW_TRACKING_URI": mlflow}
    run(core, tmp_path, MIGRATE, **variables)
    until(lambda: _answers(mlflow), 60, "MLflow's health")
    states = run(core, tmp_path, RUN, str(PROJECT / "tests/e2e/core_dags/every_operator.py"), **variables)
    assert states == dict.fromkeys(states, "success")
    assert len(states) == 22
    assert runtime.client("sagemaker").list_endpoints()["Endpoints"] == []


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
