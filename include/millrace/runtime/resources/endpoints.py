"""Endpoints: created, updated all at once, deleted; and kept alive.

An update starts the new fleet beside the old one, moves the traffic when every server has answered /ping, and only then
stops the old fleet. A fleet that does not come up is stopped, and the endpoint stays InService on the old configuration
with a FailureReason (a new endpoint is Failed). Each transition runs in a thread of its own and is taken up again
after a restart, from what the document says.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from millrace.runtime import data_capture, fleet
from millrace.runtime.config import ACCOUNT
from millrace.runtime.database import AlreadyExists, Database, Resource
from millrace.runtime.errors import JobFailed, ValidationException
from millrace.runtime.fleet import Fleets, Server
from millrace.runtime.refuse import unless_offered
from millrace.runtime.routes import RoutingTable, Serving

from .listing import page

log = logging.getLogger(__name__)
KIND = "endpoint"
CHECK_SECONDS = 1.0
CHANGING = ("Creating", "Updating", "Deleting")


class Endpoints:
    """The operations on endpoints and the threads that carry them out."""

    def __init__(self, database: Database, fleets: Fleets, routes: RoutingTable) -> None:
        self._database = database
        self._fleets = fleets
        self._routes = routes
        self._stopping = threading.Event()
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        """One an endpoint: held by whoever moves its traffic, stops its servers or starts one again."""
        self._keeper = threading.Thread(target=self._keep, name="endpoint-keeper", daemon=True)

    def table(self) -> dict[str, Callable[[dict[str, Any], str], dict[str, Any] | None]]:
        return {
            "CreateEndpoint": self.create,
            "UpdateEndpoint": self.update,
            "DescribeEndpoint": self.describe,
            "ListEndpoints": self.list_all,
            "DeleteEndpoint": self.delete,
        }

    def start(self) -> None:
        """Take up the transitions of an earlier life, publish the routes, and keep servers alive."""
        known = {
            server["id"]
            for endpoint in self._database.all(KIND, *CHANGING, "InService", "Failed")
            for server in endpoint.document["servers"] + endpoint.document["next_servers"]
        }
        self._fleets.end_strangers(known)
        for endpoint in self._database.all(KIND, *CHANGING):
            self._carry_out(endpoint)
        self._publish()
        self._keeper.start()

    def stop(self) -> None:
        self._stopping.set()
        self._keeper.join(timeout=10)

    def create(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        name = params["EndpointName"]
        arn = f"arn:aws:sagemaker:{region}:{ACCOUNT}:endpoint/{name.lower()}"
        existing = self._database.get(KIND, name)
        if existing is None:
            unless_offered("CreateEndpoint", params, ("EndpointName", "EndpointConfigName", "Tags"))
            config = self._config(params["EndpointConfigName"])
            tags = {tag["Key"]: tag["Value"] for tag in params.get("Tags") or []}
            document = {
                "region": region,
                "config": None,
                "servers": [],
                "next_config": params["EndpointConfigName"],
                "next_servers": fleet.to_document(self._fleets.plan(config)),
                "next_capture": config.get("DataCaptureConfig"),
            }
            try:
                endpoint = self._database.insert(KIND, name, arn, "Creating", document, tags)
            except AlreadyExists as clash:
                existing = clash.resource
            else:
                self._carry_out(endpoint)
                return {"EndpointArn": arn}
        raise ValidationException(f'Cannot create already existing endpoint "{existing.arn}".')

    def update(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        unless_offered("UpdateEndpoint", params, ("EndpointName", "EndpointConfigName", "RetainAllVariantProperties"))
        endpoint = self._find(params["EndpointName"])
        config = self._config(params["EndpointConfigName"])
        planned = fleet.to_document(self._fleets.plan(config))

        def edit(document: dict[str, Any]) -> str | None:
            if document.get("next_config") or document.get("deleting"):
                return None
            document["next_config"] = params["EndpointConfigName"]
            document["next_servers"] = planned
            document["next_capture"] = config.get("DataCaptureConfig")
            document.pop("reason", None)
            return "Updating"

        if endpoint.status != "InService":
            raise ValidationException(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        changed = self._database.change(KIND, endpoint.name, edit)
        if changed is None or changed.document.get("next_servers") != planned:
            raise ValidationException(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        self._carry_out(changed)
        return {"EndpointArn": endpoint.arn}

    def delete(self, params: dict[str, Any], region: str) -> None:
        endpoint = self._find(params["EndpointName"])

        def edit(document: dict[str, Any]) -> str | None:
            # Inside the transaction: an update may have begun since.
            if document["next_servers"] and not document.get("reason"):
                return None
            document["deleting"] = True
            return "Deleting"

        if endpoint.status == "Deleting":
            return
        changed = self._database.change(KIND, endpoint.name, edit)
        if changed is None or changed.status != "Deleting":
            raise ValidationException(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        self._carry_out(changed)

    def describe(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        endpoint = self._find(params["EndpointName"])
        document = endpoint.document
        servers = fleet.from_document(document["servers"])
        variants = {server.variant: server for server in servers}
        return {
            "EndpointName": endpoint.name,
            "EndpointArn": endpoint.arn,
            "EndpointConfigName": document["config"] or document["next_config"],
            "EndpointStatus": endpoint.status,
            "FailureReason": document.get("reason"),
            "CreationTime": endpoint.created,
            "LastModifiedTime": endpoint.modified,
            "DataCaptureConfig": data_capture.summary(
                document.get("capture" if document["config"] else "next_capture")
            ),
            "ProductionVariants": [
                {
                    "VariantName": name,
                    "CurrentWeight": server.weight,
                    "DesiredWeight": server.weight,
                    "CurrentInstanceCount": sum(1 for other in servers if other.variant == name),
                    "DesiredInstanceCount": sum(1 for other in servers if other.variant == name),
                }
                for name, server in variants.items()
            ]
            or None,
        }

    def list_all(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        found, token = page(self._database, KIND, params)
        rows = [
            {
                "EndpointName": e.name,
                "EndpointArn": e.arn,
                "CreationTime": e.created,
                "LastModifiedTime": e.modified,
                "EndpointStatus": e.status,
            }
            for e in found
        ]
        return {"Endpoints": rows, "NextToken": token}

    def servers(self, name: str) -> list[Server]:
        """Every server of an endpoint, of both fleets during an update; for its logs."""
        endpoint = self._database.get(KIND, name)
        if endpoint is None:
            return []
        document = endpoint.document
        return fleet.from_document(document["servers"] + (document.get("next_servers") or []))

    def _find(self, name: str) -> Resource:
        endpoint = self._database.get(KIND, name)
        if endpoint is None:
            raise ValidationException(f'Could not find endpoint "{name}".')
        return endpoint

    def _config(self, name: str) -> dict[str, Any]:
        config = self._database.get("endpoint-config", name)
        if config is None:
            raise ValidationException(f'Could not find endpoint configuration "{name}".')
        return dict(config.document["request"])

    def _carry_out(self, endpoint: Resource) -> None:
        step = self._delete_fleets if endpoint.status == "Deleting" else self._bring_up
        threading.Thread(target=step, args=(endpoint,), name=f"endpoint-{endpoint.name}", daemon=True).start()

    def _bring_up(self, endpoint: Resource) -> None:
        document = endpoint.document
        new, old = fleet.from_document(document["next_servers"]), fleet.from_document(document["servers"])
        try:
            for server in new:
                if not self._fleets.instance(server).is_alive():
                    self._fleets.start(server, document["region"])
            self._fleets.wait_until_ready(new)
        except JobFailed as error:
            self._give_up(endpoint, new, str(error))
            return
        except Exception as error:
            log.exception("endpoint %s could not be brought up", endpoint.name)
            self._give_up(endpoint, new, f"InternalServerError: {type(error).__name__}: {error}")
            return

        def edit(changed: dict[str, Any]) -> str:
            changed["config"], changed["servers"] = changed["next_config"], changed["next_servers"]
            changed["capture"] = changed.pop("next_capture", None)
            # Also those that serve no more: what they have captured is monitored still.
            changed["variants"] = sorted({*changed.get("variants", []), *(server.variant for server in new)})
            changed["next_config"], changed["next_servers"] = None, []
            changed.pop("reason", None)
            return "InService"

        with self._locks[endpoint.name]:
            # Traffic moves before the status says so, and before the old servers stop.
            self._publish({endpoint.name: Serving(new, data_capture.of_config(document.get("next_capture")))})
            self._database.change(KIND, endpoint.name, edit)
            self._publish()
            self._fleets.stop(old)
            self._fleets.forget(old)

    def _give_up(self, endpoint: Resource, servers: list[Server], reason: str) -> None:
        self._fleets.stop(servers)
        if endpoint.document["config"]:
            self._fleets.forget(servers)  # a failed endpoint keeps its log until it is deleted

        def edit(document: dict[str, Any]) -> str:
            document["reason"] = reason[:1024]
            if document["config"]:
                document["next_config"], document["next_servers"] = None, []
                document.pop("next_capture", None)
                return "InService"
            return "Failed"

        self._database.change(KIND, endpoint.name, edit)
        self._publish()

    def _delete_fleets(self, endpoint: Resource) -> None:
        with self._locks[endpoint.name]:
            self._publish()
            servers = self.servers(endpoint.name)
            self._fleets.stop(servers)
            self._fleets.forget(servers)
            self._database.delete(KIND, endpoint.name)

    def _publish(self, ahead: dict[str, Serving] | None = None) -> None:
        """Write the routing table: every endpoint that serves, with its servers and what it captures."""
        with self._routes.lock:
            table = {
                endpoint.name: Serving(
                    fleet.from_document(endpoint.document["servers"]),
                    data_capture.of_config(endpoint.document.get("capture")),
                )
                for endpoint in self._database.all(KIND, "InService", "Updating")
            }
            table.update(ahead or {})
            self._routes.write(table)

    def _keep(self) -> None:
        """Start servers that died again: an InService endpoint keeps its promise."""
        lives: dict[str, tuple[int, float]] = {}
        while not self._stopping.wait(CHECK_SECONDS):
            for endpoint in self._database.all(KIND, "InService", "Updating"):
                try:
                    with self._locks[endpoint.name]:
                        self._revive(endpoint.name, lives)
                except Exception:
                    log.exception("a server of endpoint %s cannot be started again", endpoint.name)

    def _revive(self, name: str, lives: dict[str, tuple[int, float]]) -> None:
        """Start an endpoint's dead servers, each after a pause that doubles with its deaths. Holds the endpoint's lock."""
        endpoint = self._database.get(KIND, name)
        if endpoint is None or endpoint.status not in ("InService", "Updating"):
            return
        for server in fleet.from_document(endpoint.document["servers"]):
            deaths, not_before = lives.get(server.id, (0, 0.0))
            if self._fleets.instance(server).is_alive() or time.monotonic() < not_before:
                continue
            lives[server.id] = (deaths + 1, time.monotonic() + min(60.0, 2.0**deaths))
            log.warning("server %s of endpoint %s died; starting it again", server.id, name)
            self._fleets.start(server, endpoint.document["region"])
