"""The model servers behind an endpoint: started under shims, asked for their health, stopped.

A fleet is what one endpoint configuration asks for: for each variant its instances. It is described by a JSON list in
the endpoint's document, so a restarted runtime finds the servers that are still alive and starts those that are not.
"""

from __future__ import annotations

import contextlib
import http.client
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import hosting, sandbox, trees
from .config import RuntimeConfig
from .credentials import Credential
from .database import Database
from .errors import JobFailed
from .instance import Instance, Spec
from .ports import Ports
from .storage import Storage, StorageAway

FIRST_PORT, LAST_PORT = 10_000, 14_999
READY_SECONDS = 240
STOP_SECONDS = 30
TREES = ("ml", "tmp")
"""What a server works on, below the folder of its instance."""


@dataclass(frozen=True, slots=True)
class Server:
    """One model server: which variant it serves, where it listens, and the folder of its instance."""

    id: str
    variant: str
    model: str
    port: int
    weight: float
    ready_seconds: int
    started: float


class Fleets:
    """Starts and stops the servers of endpoints."""

    def __init__(
        self, config: RuntimeConfig, database: Database, objects: Storage, sandboxed: bool, credential: Credential
    ) -> None:
        """`credential` is what the servers sign their calls with."""
        self._config = config
        self._database = database
        self._objects = objects
        self._sandboxed = sandboxed
        self._credential = credential
        self._ports = Ports(FIRST_PORT, LAST_PORT)

    def plan(self, endpoint_config: dict[str, Any]) -> list[Server]:
        """The servers that a configuration asks for; none is started yet."""
        servers = []
        for variant in endpoint_config["ProductionVariants"]:
            for _ in range(variant.get("InitialInstanceCount", 1)):
                servers.append(
                    Server(
                        id=uuid.uuid4().hex,
                        variant=variant["VariantName"],
                        model=variant["ModelName"],
                        port=self._ports.take(),
                        weight=float(variant.get("InitialVariantWeight", 1.0)),
                        ready_seconds=variant.get("ContainerStartupHealthCheckTimeoutInSeconds", READY_SECONDS),
                        started=time.time(),
                    )
                )
        return servers

    def instance(self, server: Server) -> Instance:
        return Instance(self._folder(server))

    def start(self, server: Server, region: str) -> None:
        """Unpack the model and start the server.

        Raises:
            JobFailed: the model is gone, its archive cannot be used, or nothing stands for its image.
        """
        model = self._database.get("model", server.model)
        if model is None:
            raise JobFailed(f'Could not find model "{server.model}".')
        container = model.document["request"]["PrimaryContainer"]
        folder = self._folder(server)
        for tree in TREES:
            trees.remove([folder / tree])
        for name in ("spec.json", "shim.json", "payload.json", "status.json"):  # of an earlier life; its log stays
            (folder / name).unlink(missing_ok=True)
        box = sandbox.Box(
            ml=folder / "ml", hostname="algo-1", hosts={"algo-1": "127.0.0.1"}, sandboxed=self._sandboxed,
            hidden=(self._config.data_dir,),
        )  # fmt: skip
        hosting.stage_model(container, box.ml, self._objects)
        with contextlib.suppress(StorageAway):  # then with the keys that it had
            self._objects.refresh()
        hosted = hosting.server(self._config.data_dir, container, box, "127.0.0.1", server.port)
        Instance(folder).start(
            Spec(
                argv=hosted.box.wrap(hosted.argv),
                env={
                    **sandbox.environment(self._config.endpoint_url, region, hosted.box, self._credential),
                    **self._objects.variables(),
                    **hosted.env,
                },
                cwd=str(box.ml),
                sandboxed=box.sandboxed,
                cpus=[],
                grace_seconds=STOP_SECONDS,
            )
        )

    def wait_until_ready(self, servers: list[Server]) -> None:
        """Wait for 200 from every server's /ping.

        Raises:
            JobFailed: a server ended, or did not answer in time; with the end of its log.
        """
        for server in servers:
            deadline = time.monotonic() + server.ready_seconds
            while not self.is_healthy(server):
                ended = self.instance(server).ended()
                if ended is not None:
                    raise JobFailed(
                        f"The primary container for production variant {server.variant} did not pass the ping health "
                        f"check: the server ended with exit code {ended.exit_code}. {self._end_of_log(server)}"
                    )
                if time.monotonic() > deadline:
                    raise JobFailed(
                        f"The primary container for production variant {server.variant} did not pass the ping health "
                        f"check within {server.ready_seconds} s. {self._end_of_log(server)}"
                    )
                time.sleep(0.05)

    def is_healthy(self, server: Server) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=2)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self, servers: list[Server]) -> None:
        """TERM, 30 seconds, KILL, for all at once; their logs stay, their trees do not."""
        instances = [self.instance(server) for server in servers]
        for instance in instances:
            instance.stop()
        for instance in instances:
            while instance.was_started and instance.ended() is None:
                time.sleep(0.02)
            trees.remove(instance.folder / tree for tree in TREES)

    def forget(self, servers: list[Server]) -> None:
        trees.remove(self._folder(server) for server in servers)

    def end_strangers(self, known: set[str]) -> None:
        """End servers that no endpoint names: a runtime that was killed while it stopped an old fleet leaves such."""
        for folder in (self._config.data_dir / "servers").glob("*"):
            if folder.name not in known:
                Instance(folder).kill()
                trees.remove([folder])

    def _folder(self, server: Server) -> Path:
        return self._config.data_dir / "servers" / server.id

    def _end_of_log(self, server: Server) -> str:
        lines = []
        with contextlib.suppress(FileNotFoundError):
            lines = [line.partition(" ")[2] for line in _tail(self._folder(server) / "log").splitlines()]
        return (
            "Its log ends: " + " | ".join(line for line in lines[-8:] if line.strip()) if lines else "Its log is empty."
        )


def to_document(servers: list[Server]) -> list[dict[str, Any]]:
    return [asdict(server) for server in servers]


def from_document(rows: list[dict[str, Any]]) -> list[Server]:
    return [Server(**row) for row in rows]


def _tail(path: Path) -> str:
    with path.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - 4096))
        return stream.read().decode(errors="replace")
