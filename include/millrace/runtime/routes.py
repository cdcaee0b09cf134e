"""The routing table of the data plane: written by the control plane as one file, read by the router as a snapshot.

The file is replaced whole by rename, so a reader sees the old table or the new one. What it does not do: it holds no
health and no counters.
"""

from __future__ import annotations

import json
import os
import random
import re
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import data_capture
from .data_capture import DataCapture
from .fleet import Server

INVOCATION = re.compile(r"^/endpoints/([^/]+)/(invocations|async-invocations|invocations-response-stream)$")
"""The paths of the data plane."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What the router is told of an endpoint: its servers, and what it captures."""

    servers: list[Server]
    capture: DataCapture | None = None


class RoutingTable:
    """The writing side. Hold `lock` from reading the database to writing the table."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.RLock()

    def write(self, table: Mapping[str, Serving]) -> None:
        rows = {
            name: {
                "servers": [[server.variant, server.port, server.weight] for server in serving.servers],
                "capture": asdict(serving.capture) if serving.capture else None,
            }
            for name, serving in table.items()
            if serving.servers
        }
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(rows))
        temporary.rename(self.path)


@dataclass(slots=True)
class Route:
    """Where one endpoint's requests go."""

    ports: dict[str, list[int]]
    weights: dict[str, float]
    capture: DataCapture | None = None
    _turn: dict[str, int] = field(default_factory=dict)

    def choose(self, variant: str | None) -> tuple[str, int] | None:
        """A variant by weight (or the one asked for), and its next server in turn; None when it is not there."""
        if variant is None:
            names, weights = list(self.weights), list(self.weights.values())
            # Traffic is not a secret: any generator will do.
            variant = names[0] if len(names) == 1 or sum(weights) <= 0 else random.choices(names, weights)[0]  # noqa: S311
        ports = self.ports.get(variant)
        if not ports:
            return None
        turn = self._turn.get(variant, 0)
        self._turn[variant] = turn + 1
        return variant, ports[turn % len(ports)]


class Snapshot:
    """The reading side: looks at the file's identity on every request and reads it anew when it was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._routes: dict[str, Route] = {}

    def find(self, endpoint: str) -> Route | None:
        try:
            status = os.stat(self._path)  # noqa: PTH116 - on the path of every inference
        except FileNotFoundError:
            return None
        identity = (status.st_ino, status.st_mtime_ns)
        if identity != self._identity:
            self._routes = self._read()
            self._identity = identity
        return self._routes.get(endpoint)

    def _read(self) -> dict[str, Route]:
        routes = {}
        for name, serving in json.loads(self._path.read_text()).items():
            settings = serving["capture"]
            route = Route({}, {}, data_capture.from_document(settings) if settings else None)
            for variant, port, weight in serving["servers"]:
                route.ports.setdefault(variant, []).append(port)
                route.weights[variant] = weight
            routes[name] = route
        return routes
