"""What the three kinds of job have in common, and the little in which they differ.

A `JobType` says how one kind is checked, staged, started and harvested; the supervisor drives every kind the same way.
The job itself is a `Resource` whose document holds the request, the phase and what became of it.
"""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from . import sandbox, staging
from .config import RuntimeConfig
from .database import Database, Resource
from .instance import Ended, Instance
from .leases import Lease, lease_from
from .s3.store import ObjectStore

ACTIVE = ("InProgress", "Stopping")
MESSAGE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Host:
    """What a job runs on: the runtime's own parts, handed to every job type."""

    config: RuntimeConfig
    database: Database
    objects: ObjectStore
    sandboxed: bool

    def folder(self, job: Resource) -> Path:
        return self.config.data_dir / "jobs" / str(job.document["id"])

    def box(self, job: Resource, index: int, **options: Any) -> sandbox.Box:
        lease = lease_of(job)
        return sandbox.Box(
            ml=self.instance_folder(job, index) / "ml",
            hostname=list(lease.hosts)[index],
            hosts=lease.hosts,
            sandboxed=self.sandboxed,
            hidden=(self.config.data_dir,),
            **options,
        )

    def instance_folder(self, job: Resource, index: int) -> Path:
        return self.folder(job) / f"algo-{index + 1}"

    def instances(self, job: Resource) -> list[Instance]:
        return [Instance(self.instance_folder(job, index)) for index in range(job.document["instances"])]


@dataclass(frozen=True, slots=True)
class Command:
    """What one instance runs: the argument list inside its box, its own variables, and the box."""

    argv: list[str]
    env: dict[str, str]
    box: sandbox.Box


class JobType(ABC):
    """How one kind of job is run."""

    kind: ClassVar[str]
    """The word in ARNs, for example `training-job`."""
    prefix: ClassVar[str]
    """The word in operations and fields, for example `TrainingJob`."""
    log_group: ClassVar[str]
    grace_seconds: ClassVar[int]
    """Between TERM and KILL when the job is stopped."""
    uploads_when_stopped: ClassVar[bool] = False
    uploads_when_failed: ClassVar[bool] = False

    @abstractmethod
    def check(self, request: dict[str, Any], host: Host) -> None:
        """Refuse a request that AWS would refuse, or that this runtime does not offer.

        Raises:
            AwsError: what is wrong with it.
        """

    @abstractmethod
    def instance_count(self, request: dict[str, Any]) -> int: ...

    @abstractmethod
    def max_seconds(self, request: dict[str, Any]) -> int | None: ...

    @abstractmethod
    def stage(self, job: Resource, host: Host) -> None:
        """Make every instance's /opt/ml. May be called again after a restart, on empty folders.

        Raises:
            JobFailed: an input is missing or cannot be used.
        """

    @abstractmethod
    def command(self, job: Resource, index: int, host: Host) -> Command:
        """What instance `index` runs. Pure: a restarted runtime gets the same.

        Raises:
            JobFailed: nothing stands for the image.
        """

    @abstractmethod
    def harvest(self, job: Resource, host: Host) -> dict[str, Any]:
        """Upload what the instances left and return changes to the document.

        Raises:
            JobFailed: an output cannot be written.
        """

    @abstractmethod
    def describe(self, job: Resource) -> dict[str, Any]:
        """The members of Describe that only this kind has."""

    def failure_reason(self, job: Resource, host: Host, ended: list[Ended]) -> str:
        """What the first instance that failed said, in SageMaker's 1,024 characters."""
        for index, end in enumerate(ended):
            if end.exit_code == 0:
                continue
            if end.ended_by == "stop":  # and nobody asked SageMaker for it
                return "InternalServerError: the instance was stopped from outside"
            said = read_message(host.instance_folder(job, index) / "ml", "output/failure")
            if said:
                return said
            if end.error:
                return f"AlgorithmError: {end.error}"[:MESSAGE_BYTES]
            if end.ended_by != "lost":
                return f"AlgorithmError: algo-{index + 1} ended with exit code {end.exit_code}"
        return "InternalServerError: host lost: an instance of the job ended without leaving an exit status"


def lease_of(job: Resource) -> Lease:
    return lease_from(job.document["lease"])


def write_json(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2))


def fresh_folder(path: Path) -> Path:
    """An empty folder, whatever an earlier life of the runtime left there."""
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path


def contained(root: Path, relative: str) -> Path | None:
    """A path below a job's tree, or None when a link that the job planted leads out of it or nothing is there."""
    path = root / relative
    real = path.resolve()
    return real if real.is_relative_to(root.resolve()) and real.exists() else None


def read_message(ml: Path, relative: str) -> str:
    """At most 1,024 characters of a text file that a job may have left."""
    path = contained(ml, relative)
    if path is None or not path.is_file():
        return ""
    with path.open("rb") as stream:
        return stream.read(4 * MESSAGE_BYTES).decode(errors="replace").strip()[:MESSAGE_BYTES]


def sharded(found: list[tuple[Any, str]], distribution: str | None, index: int, count: int) -> list[tuple[Any, str]]:
    """An instance's share: all of it, or every n-th object."""
    return found[index::count] if distribution == "ShardedByS3Key" else found


def resource_config(job: Resource, index: int, instance_type: str) -> dict[str, Any]:
    """The document resourceconfig.json of an instance."""
    hosts = list(lease_of(job).hosts)
    return {
        "current_host": hosts[index],
        "current_instance_type": instance_type,
        "current_group_name": "homogeneousCluster",
        "hosts": hosts,
        "instance_groups": [
            {"instance_group_name": "homogeneousCluster", "instance_type": instance_type, "hosts": hosts}
        ],
        "network_interface_name": "lo",
    }


def stage_read_only(
    host: Host, job: Resource, index: int, name: str, found: list[tuple[Any, str]], box: sandbox.Box
) -> None:
    """Put a read-only input beside the instance's tree: linked under bubblewrap, else copied."""
    folder = host.instance_folder(job, index) / "inputs" / name
    staging.materialise(found, folder, link=box.sandboxed)


def merged_environment(host: Host, job: Resource, box: sandbox.Box, own: Mapping[str, str]) -> dict[str, str]:
    """What the instance's program starts with; the request's own variables win."""
    return {**sandbox.environment(host.config.endpoint_url, job.document["region"], box), **own}
