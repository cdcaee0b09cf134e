"""Starting, looking at and stopping a local stack.

Each service is a process in a session of its own, so it stays when the command ends. Its identity (pid and start time)
lies in the state folder: a pid that another process got meanwhile is never signalled.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from .environment import client, for_child
from .layout import Layout
from .services import SERVICES, Service

STOP_SECONDS = 40


class StackError(RuntimeError):
    """The stack cannot be started; the message says what is in the way and what to do."""


class Stack:
    """One local stack, by its layout. `say` gets a line for each thing that happens."""

    def __init__(self, layout: Layout, say: Callable[[str], None] = print) -> None:
        self.layout = layout
        self._say = say

    def up(self) -> None:
        """Start every service and wait until all are well.

        Raises:
            StackError: it is up already, a port is taken, or a service does not come up.
        """
        running = [service.name for service in SERVICES if self.process(service) is not None]
        if running:
            raise StackError(
                f"the stack is up already ({', '.join(running)}): `make status` shows it, `make down` ends it"
            )
        self._check_ports()
        for folder in (self.layout.logs, self.layout.airflow_home, self.layout.state / "mlflow", self._run):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._bring_up()
        except BaseException:  # also Ctrl-C: half a stack is no stack
            self.down()
            raise

    def _bring_up(self) -> None:
        services = {service.name: service for service in SERVICES}
        migration = self._migrate()
        for name in ("runtime", "mlflow"):
            self._start(services[name])
        self._await([services["runtime"]])
        self._make_bucket()
        if migration.wait() != 0:
            raise StackError(f"Airflow's database could not be made; see {self.layout.logs / 'migrate.log'}")
        airflow = [service for service in SERVICES if service.name not in ("runtime", "mlflow")]
        for service in airflow:
            self._start(service)
        self._await([services["mlflow"], *airflow])

    def down(self) -> None:
        """Stop every service; state stays."""
        processes = {service.name: p for service in reversed(SERVICES) if (p := self.process(service)) is not None}
        everything = list(processes.values())
        for name, process in processes.items():
            if name != "runtime":  # below it are jobs and model servers, which do not end with it
                with contextlib.suppress(psutil.Error):
                    everything += process.children(recursive=True)
        for process in processes.values():
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs(everything, timeout=STOP_SECONDS)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        for service in SERVICES:
            self._identity(service).unlink(missing_ok=True)
        self._end_servers()

    def restart(self, name: str) -> None:
        """Start one service that has ended, and wait until it is well.

        Raises:
            StackError: it does not come up.
        """
        service = next(service for service in SERVICES if service.name == name)
        self._start(service)
        self._await([service])

    def status(self) -> list[tuple[str, str, str]]:
        """For each service its name, how it is, and where it is found."""
        rows = []
        for service in SERVICES:
            process = self.process(service)
            state = "down" if process is None else "well" if service.is_well(self.layout) else "starting or unwell"
            where = f"http://127.0.0.1:{service.port(self.layout)}" if service.port else ""
            rows.append((service.name, state, where))
        return rows

    def is_up(self) -> bool:
        return all(self.process(service) is not None and service.is_well(self.layout) for service in SERVICES)

    def process(self, service: Service) -> psutil.Process | None:
        """The service's process, if the one we started still runs."""
        try:
            identity = json.loads(self._identity(service).read_text())
            process = psutil.Process(identity["pid"])
            if abs(process.create_time() - identity["created"]) < 0.01 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except (FileNotFoundError, psutil.Error, ValueError, KeyError):
            return None
        return None

    def log(self, service: str) -> Path:
        return self.layout.logs / f"{service}.log"

    @property
    def _run(self) -> Path:
        return self.layout.state / "run"

    def _identity(self, service: Service) -> Path:
        return self._run / f"{service.name}.json"

    def _check_ports(self) -> None:
        for service in SERVICES:
            if service.port is None:
                continue
            port = service.port(self.layout)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise StackError(
                        f"port {port}, which {service.name} needs, is in use by another program: end it, or choose other "
                        f"ports with MILLRACE_PORT (the first of three; now {self.layout.first_port})"
                    ) from error

    def _start(self, service: Service) -> None:
        self._say(f"starting {service.name}")
        with self.log(service.name).open("ab") as log:
            child = subprocess.Popen(
                service.command(self.layout),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=for_child(self.layout, service.program),
                cwd=self.layout.state,
                start_new_session=True,
            )
        child.returncode = 0  # it is meant to outlive this process: without this, subprocess would warn of it
        identity = {"pid": child.pid, "created": psutil.Process(child.pid).create_time()}
        self._identity(service).write_text(json.dumps(identity))

    def _await(self, services: Iterable[Service]) -> None:
        waiting = {service.name: service for service in services}
        started = time.monotonic()
        while waiting:
            for service in list(waiting.values()):
                if service.is_well(self.layout):
                    self._say(f"{service.name} is well after {time.monotonic() - started:.0f} s")
                    del waiting[service.name]
                elif self.process(service) is None:
                    raise StackError(f"{service.name} ended while starting.\n{self._tail(service)}")
                elif time.monotonic() - started > service.patience_seconds:
                    raise StackError(
                        f"{service.name} was not well within {service.patience_seconds} s.\n{self._tail(service)}"
                    )
            time.sleep(0.25)

    def _tail(self, service: Service) -> str:
        lines = self.log(service.name).read_text(errors="replace").splitlines()[-15:]
        return f"The end of {self.log(service.name)}:\n" + "\n".join(lines)

    def _migrate(self) -> subprocess.Popen[bytes]:
        """Make Airflow's tables before its parts start: they would all try at once."""
        self._say("preparing Airflow's database")
        with (self.layout.logs / "migrate.log").open("ab") as log:
            command = [sys.executable, "-m", "airflow", "db", "migrate"]
            environment = for_child(self.layout, "airflow")
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def _make_bucket(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        s3, bucket = client("s3", self.layout), self.layout.bucket
        try:
            try:
                s3.head_bucket(Bucket=bucket)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                    raise
                s3.create_bucket(Bucket=bucket)
        except (ClientError, BotoCoreError) as error:
            raise StackError(
                f"the bucket {bucket!r} cannot be used: {error}. MILLRACE_BUCKET names another one"
            ) from error

    def _end_servers(self) -> None:
        """Jobs and model servers outlive the runtime by design; `down` means down.

        They are killed, not stopped: the runtime then knows a job as lost, which a retry may run again, and starts an
        endpoint's servers anew.
        """
        mine = str(self.layout.state / "runtime")
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                shim = "shim.py" in " ".join(process.cmdline()) and mine in " ".join(process.cmdline())
                if shim or process.environ().get("MILLRACE_INSTANCE", "").startswith(mine):
                    process.kill()
