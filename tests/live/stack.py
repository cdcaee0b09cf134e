"""A live Airflow on Postgres beside a live runtime: every part a process of its own that a test may kill and start again.

The parts and their environment are those of `millrace up` (`millrace.cli`), on Postgres instead of SQLite, and with the
intervals after which Airflow notices a death shortened to seconds. What it does not do: it starts no MLflow.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from millrace.cli.airflow_api import AirflowApi, NotReached
from millrace.cli.environment import for_child
from millrace.cli.layout import BUCKET, Layout
from millrace.cli.services import SERVICES, Service
from millrace.runtime import fault_plan
from tests.live.gates import Gates
from tests.live.postgres import Postgres
from tests.runtime.process import RuntimeProcess, until

PROJECT = Path(__file__).parents[2]
START_SECONDS = 120
HEARTBEAT_TIMEOUT = 15
"""Seconds after which a task without a heartbeat counts as lost, and so does a triggerer."""
SCHEDULER_TIMEOUT = 20
"""The same for a scheduler: one that is merely slow must not take itself for dead and reset its own tasks."""

QUICK = {
    "CORE__PARALLELISM": "24",
    "CORE__MAX_ACTIVE_TASKS_PER_DAG": "64",
    "CORE__MAX_ACTIVE_RUNS_PER_DAG": "64",
    "SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": str(SCHEDULER_TIMEOUT),
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
    "TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(HEARTBEAT_TIMEOUT),
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
    "DAG_PROCESSOR__REFRESH_INTERVAL": "5",
}
ANOTHER = "another "
HEALTH_NAMES = {"api-server": "metadatabase", "dag-processor": "dag_processor"}


class Part:
    """One of Airflow's parts: a session of processes with a log of its own."""

    def __init__(self, service: Service, layout: Layout, environment: dict[str, str], name: str = "") -> None:
        self.service = service
        self._layout = layout
        self._environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self.sessions: list[int] = []
        self.log = layout.logs / f"{name or service.name}.log"

    def start(self) -> None:
        """Start it, at the head of a session of its own."""
        assert not self.is_running, f"{self.service.name} runs already"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.service.command(self._layout),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self._layout.state,
                start_new_session=True,
            )
        self.sessions.append(self.process.pid)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """kill -9 of the part and of every process below it: the machine is gone."""
        assert self.process is not None
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        psutil.wait_procs(family, timeout=10)

    def kill_alone(self) -> None:
        """kill -9 of the part's own process; what it has started lives on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float = 20) -> None:
        """As systemd stops a service: SIGTERM to the part and every process below it, then SIGKILL to what is left.

        A LocalExecutor of Airflow 3.3.2 can need the second: at its end it waits for every worker, also for one that
        it began after the signals were sent, and for all of them if one died while it held their queue's lock.
        """
        assert self.process is not None
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def end_of_log(self) -> str:
        return f"The end of {self.log}:\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


class LiveAirflow:
    """Postgres, a runtime and Airflow with real workers (LocalExecutor), on free loopback ports.

    Args:
        folder: where project, logs and state lie.
        dags: the DAG files to serve.
        first_port: the first of three free ports.
    """

    def __init__(self, folder: Path, dags: list[Path], first_port: int) -> None:
        project = folder / "project"
        (project / "dags").mkdir(parents=True)
        for dag in dags:
            shutil.copy(dag, project / "dags")
        shutil.copytree(PROJECT / "plugins", project / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
        self.layout = Layout(project=project, state=folder / "state", first_port=first_port)
        for made in (self.layout.logs, self.layout.airflow_home):
            made.mkdir(parents=True)
        self._plan = threading.Lock()
        self.gates = Gates()
        self.postgres = Postgres()
        self.runtime = RuntimeProcess(self.layout.state / "runtime")
        self.runtime.port = self.layout.runtime_port
        self.environment = {
            **for_child(self.layout, "airflow"),
            **{f"AIRFLOW__{name}": value for name, value in QUICK.items()},
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.postgres.url,
        }
        self.parts = {
            service.name: Part(service, self.layout, self.environment)
            for service in SERVICES
            if service.program == "airflow"
        }
        self.api = AirflowApi(self.layout)

    def start(self) -> None:
        self.postgres.start()
        self.runtime.start()
        self.client("s3").create_bucket(Bucket=BUCKET)
        self._migrate()
        since = datetime.now(UTC)
        for part in self.parts.values():
            part.start()
        for name in self.parts:
            self.await_well(name, since)

    def restart(self, name: str) -> None:
        """Start a part that has ended, and wait until it is well."""
        since = datetime.now(UTC)
        self.parts[name].start()
        self.await_well(name, since)

    def recover(self) -> None:
        """Bring back what a failed case has left dead, hung or alone, so that the next one is judged by itself."""
        if self.runtime.process is None or self.runtime.process.poll() is not None:
            self.runtime.start()
        for name in [name for name in self.parts if name.startswith(ANOTHER)]:
            self._end_part(self.parts.pop(name))
        since = datetime.now(UTC)
        for part in self.parts.values():
            self._end_part(part)
            part.start()
        for name in self.parts:
            self.await_well(name, since)

    def start_another(self, name: str) -> None:
        """Start a second process of a part, and wait until it has begun to work; its name is `another <name>`."""
        other = Part(self.parts[name].service, self.layout, self.environment, f"another-{name}")
        self.parts[f"{ANOTHER}{name}"] = other
        other.start()
        until(lambda: "Starting the" in other.log.read_text(errors="replace"), START_SECONDS, f"another {name} works")

    def lines_of(self, name: str) -> list[str]:
        """What a part has logged, in all its lives, and another beside it."""
        logs = [part.log for key, part in self.parts.items() if key.endswith(name)]
        return [line for log in logs for line in log.read_text(errors="replace").splitlines()]

    def await_well(self, name: str, since: datetime) -> None:
        """Wait until Airflow says that a part is healthy, by a heartbeat that is later than `since`."""

        def is_well() -> bool:
            part = self.parts[name]
            assert part.is_running, f"{name} has ended. {part.end_of_log()}"
            return self._is_healthy(HEALTH_NAMES.get(part.service.name, part.service.name), since)

        until(is_well, START_SECONDS, f"{name} is well")

    def until_missed(self, name: str) -> None:
        """Wait until Airflow counts a part that was killed as dead: its last heartbeat is too old."""
        until(lambda: not self._is_healthy(name, datetime.min.replace(tzinfo=UTC)), START_SECONDS, f"{name} is missed")

    def serve(self) -> None:
        """Wait until every DAG file is parsed, and unpause what is in it."""
        files = {path.name for path in self.layout.dags.glob("*.py")}

        def dags() -> dict[str, str]:
            errors = self.api.import_errors()
            assert not errors, errors
            return self.api.dag_files()

        until(lambda: files <= {*dags().values()}, START_SECONDS, f"{files} are parsed")
        for dag_id in dags():
            self.api.unpause(dag_id)

    def add_fault(self, rule: fault_plan.Rule) -> None:
        """Put a rule into the runtime's fault plan, beside those of other cases."""
        with self._plan:
            fault_plan.write(self.runtime.data_dir, [*fault_plan.read(self.runtime.data_dir), rule])

    def until_dealt(self, rule: fault_plan.Rule) -> None:
        """Wait until a call has met with the rule's fault."""
        until(
            lambda: any(line.rule == rule.id for line in fault_plan.dealt(self.runtime.data_dir)),
            START_SECONDS,
            f"{rule.fault.word} is dealt",
        )

    def client(self, service: str) -> Any:
        return self.runtime.client(service)

    def end(self) -> None:
        """End every process that this object has started, and those that these have started."""
        for part in self.parts.values():
            self._end_part(part)
        for process in self._airflow_processes():  # what a killed part has left
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        try:
            if self.runtime.process is not None and self.runtime.process.poll() is None:
                self.runtime.end_everything()
        finally:
            self.gates.close()
            self.postgres.remove()

    def tails(self) -> str:
        """The ends of every part's log, for a failure's report."""
        return "\n\n".join(part.end_of_log() for part in self.parts.values() if part.log.exists())

    @staticmethod
    def _end_part(part: Part) -> None:
        if part.is_running:
            part.kill()

    def _airflow_processes(self) -> list[psutil.Process]:
        """What is left of the sessions of all parts that were ever started, also of those that were killed."""
        sessions = {session for part in self.parts.values() for session in part.sessions}
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getsid(process.pid) in sessions:
                    found.append(process)
        return found

    def _is_healthy(self, health_name: str, since: datetime) -> bool:
        try:
            health = self.api.call("GET", "/monitor/health")[health_name]
        except NotReached:
            return False
        beat = health.get(f"latest_{health_name}_heartbeat")
        return health["status"] == "healthy" and (
            health_name == "metadatabase" or (beat is not None and datetime.fromisoformat(beat) > since)
        )

    def _migrate(self) -> None:
        command = [*self.parts["scheduler"].service.command(self.layout)[:-2], "db", "migrate"]
        done = subprocess.run(
            command, env=self.environment, cwd=self.layout.state, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def wait_gone(processes: list[psutil.Process], seconds: float = 10) -> None:
    """Wait until processes have ended; they need not be our children."""
    deadline = time.monotonic() + seconds
    while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
        assert time.monotonic() < deadline, f"still running: {processes}"
        time.sleep(0.05)
