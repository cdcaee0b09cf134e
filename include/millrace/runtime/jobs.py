"""What the three kinds of job have in common, and the little in which they differ.

A `JobType` says how one kind is checked, staged, started and harvested; the supervisor drives every kind the same way.
The job itself is a `Resource` whose document holds the request, the phase and what became of it.
"""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from . import sandbox, trees
from .clock import Clock
from .config import RuntimeConfig
from .credentials import ANY_JOB, Credential, Need
from .database import Database, Resource
from .folder_sync import FolderSync
from .inputs import Source
from .instance import Beside, Ended, Instance
from .launchers import Launcher
from .leases import Lease, lease_from
from .packages import PackageCache
from .storage import Storage

ACTIVE = ("InProgress", "Stopping")
MESSAGE_BYTES = 1024
TRACEBACK, TRACEBACK_BYTES = "Traceback (most recent call last):", 64 * 1024


@dataclass(frozen=True, slots=True)
class Host:
    """What a job runs on: the runtime's own parts, handed to every job type."""

    config: RuntimeConfig
    database: Database
    objects: Storage
    sandboxed: bool
    clock: Clock
    packages: PackageCache
    credential: Credential = ANY_JOB
    """What jobs sign their calls with."""

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
            gpus=[gpu for gpu in self.config.gpus if gpu.uuid in lease.gpus_of(index)],
            shared_memory_bytes=lease.memory_of(index),
            **options,
        )

    def may_read(self, uri: str) -> bool:
        """Whether a job's own key may read an object, so that the runtime may read it for the job."""
        if self.config.credentials is None:
            return True
        return self.credential.access.allows(Need("s3:read", uri.removeprefix("s3://")))

    def instance_folder(self, job: Resource, index: int, restart: int | None = None) -> Path:
        """The folder of an instance: of the job's last start, or of the one after so many restarts."""
        restart = job.document.get("restarts", 0) if restart is None else restart
        start = self.folder(job) / f"restart-{restart}" if restart else self.folder(job)
        return start / f"algo-{index + 1}"

    def instances(self, job: Resource, restart: int | None = None) -> list[Instance]:
        return [Instance(self.instance_folder(job, index, restart)) for index in range(job.document["instances"])]


@dataclass(frozen=True, slots=True)
class Command:
    """What one instance runs: the argument list inside its box, its own variables, the box, what stands for its image,
    and programs beside it."""

    argv: list[str]
    env: dict[str, str]
    box: sandbox.Box
    launcher: Launcher
    beside: list[Beside] = field(default_factory=list)


class JobType(ABC):
    """How one kind of job is run."""

    kind: ClassVar[str]
    """The word in ARNs, for example `training-job`."""
    prefix: ClassVar[str]
    """The word in operations and fields, for example `TrainingJob`."""
    log_group: ClassVar[str]
    grace_seconds: ClassVar[int]
    """Between TERM and KILL when the job is stopped."""
    list_filters: ClassVar[Mapping[str, str]] = {}
    """Filters of List that only this kind has, with the JSON path in the document that each looks at."""
    summary_excerpt: ClassVar[Mapping[str, str]] = {}
    """What `summary` needs of the document: members, with the JSON path of each."""
    uploads_when_stopped: ClassVar[bool] = False
    uploads_when_failed: ClassVar[bool] = False

    @abstractmethod
    def check(self, request: dict[str, Any], host: Host) -> None:
        """Refuse a request that AWS would refuse, or that this runtime does not offer.

        Raises:
            AwsError: what is wrong with it.
        """

    @abstractmethod
    def instance_types(self, request: dict[str, Any]) -> list[str]:
        """The type of every instance, in the order of hosts."""

    @abstractmethod
    def max_seconds(self, request: dict[str, Any]) -> int | None:
        """The longest that the job may run, all its starts together."""

    def max_wait_seconds(self, request: dict[str, Any]) -> int | None:
        """The longest from the job's creation to its end, waiting included; None where nobody sets one."""
        return None

    def is_spot(self, request: dict[str, Any]) -> bool:
        """Whether its instances may be taken away, and the job be started again."""
        return False

    def retries(self, request: dict[str, Any]) -> int:
        """How often the job is started again when SageMaker itself has failed it."""
        return 0

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

    def syncs(self, job: Resource, host: Host) -> list[FolderSync]:
        """The folders that are kept in S3 while the job runs."""
        return []

    def conclude(self, job: Resource, host: Host) -> dict[str, Any]:
        """Changes to the document when the job has ended, however it has."""
        return {}

    @abstractmethod
    def harvest(self, job: Resource, host: Host) -> dict[str, Any]:
        """Upload what the instances left and return changes to the document.

        Raises:
            JobFailed: an output cannot be written.
        """

    @abstractmethod
    def describe(self, job: Resource) -> dict[str, Any]:
        """The members of Describe that only this kind has."""

    def summary(self, job: Resource) -> dict[str, Any]:
        """The members of a listing's rows that only this kind has, from a job that holds `summary_excerpt`."""
        return {}

    def undeletable_because(self, job: Resource) -> str:
        """Why a job that has ended cannot be deleted yet; empty when it can."""
        return ""

    def failure_reason(self, job: Resource, host: Host, ended: list[Ended]) -> str:
        """What the first instance that failed said, in SageMaker's 1,024 characters."""
        for index, end in enumerate(ended):
            if end.exit_code == 0:
                continue
            if end.ended_by == "stop":  # and nobody asked SageMaker for it
                return "InternalServerError: the instance was stopped from outside"
            if end.ended_by == "memory":
                wanted = job.document["instance_types"][index]
                return f"AlgorithmError: {end.error} as a {wanted}. Use a larger instance type"[:MESSAGE_BYTES]
            said = read_message(host.instance_folder(job, index) / "ml", "output/failure")
            if said:
                return said
            if end.error:
                return f"AlgorithmError: {end.error}"[:MESSAGE_BYTES]
            if end.ended_by != "lost":
                head = f"AlgorithmError: algo-{index + 1} ended with exit code {end.exit_code}"
                return with_end(head, traceback_in(host.instance_folder(job, index) / "log"))
        return "InternalServerError: host lost: an instance of the job ended without leaving an exit status"


def transition(document: dict[str, Any], now: float, status: str, message: str) -> None:
    """Close a job's last secondary status and open the next."""
    transitions = document["transitions"]
    if transitions and "EndTime" not in transitions[-1]:
        transitions[-1]["EndTime"] = now
    transitions.append({"Status": status, "StartTime": now, "StatusMessage": message[:500]})


def with_end(head: str, text: str) -> str:
    """A first line, and as much of the end of a text as SageMaker's 1,024 characters hold."""
    room = MESSAGE_BYTES - len(head) - 1
    return f"{head}\n{text[-room:]}" if text else head


def traceback_in(log: Path) -> str:
    """The last traceback in the end of an instance's log, without the times before its lines; else nothing."""
    with contextlib.suppress(FileNotFoundError), log.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - TRACEBACK_BYTES))
        lines = [line.partition(" ")[2] for line in stream.read().decode(errors="replace").splitlines()]
        starts = [number for number, line in enumerate(lines) if line.startswith(TRACEBACK)]
        if starts:
            return "\n".join(lines[starts[-1] :]).strip()
    return ""


def lease_of(job: Resource) -> Lease:
    return lease_from(job.document["lease"])


def write_json(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2))


def fresh_folder(path: Path) -> Path:
    """An empty folder, whatever an earlier life of the runtime left there."""
    trees.remove([path])
    path.mkdir(parents=True)
    return path


def contained(root: Path, relative: str) -> Path | None:
    """A path below a job's tree, or None when a link that the job planted leads out of it or nothing is there."""
    path = root / relative
    real = path.resolve()
    return real if real.is_relative_to(root.resolve()) and real.exists() else None


def read_message(ml: Path, relative: str) -> str:
    """At most 1,024 characters of a text file that a job may have left; nothing where it has left something strange."""
    try:
        path = contained(ml, relative)
        if path is None or not path.is_file():
            return ""
        with path.open("rb") as stream:
            return stream.read(4 * MESSAGE_BYTES).decode(errors="replace").strip()[:MESSAGE_BYTES]
    except (OSError, RuntimeError):  # a name that is too long, a loop of links, no right to read
        return ""


def s3_source(source: Mapping[str, Any], what: str, seed: int | None = None) -> Source:
    """The data source of a channel or an input, as `inputs.py` reads it."""
    return Source(
        what=what,
        uri=source["S3Uri"],
        data_type=source["S3DataType"],
        distribution=source.get("S3DataDistributionType", "FullyReplicated"),
        seed=seed,
        attributes=tuple(source.get("AttributeNames") or ()),
    )


@dataclass(frozen=True, slots=True)
class Group:
    """Instances of one type: a heterogeneous cluster has several groups, any other job one."""

    name: str
    instance_type: str
    count: int


def resource_config(job: Resource, index: int, groups: Sequence[Group]) -> dict[str, Any]:
    """The document resourceconfig.json of an instance. Hosts are those of the groups, one group after the other."""
    hosts = list(lease_of(job).hosts)
    rows, own, first = [], groups[0], 0
    for group in groups:
        members = hosts[first : first + group.count]
        if first <= index < first + group.count:
            own = group
        rows.append({"instance_group_name": group.name, "instance_type": group.instance_type, "hosts": members})
        first += group.count
    return {
        "current_host": hosts[index],
        "current_instance_type": own.instance_type,
        "current_group_name": own.name,
        "hosts": hosts,
        "instance_groups": rows,
        "network_interface_name": "lo",
    }


def merged_environment(host: Host, job: Resource, box: sandbox.Box, own: Mapping[str, str]) -> dict[str, str]:
    """What the instance's program starts with; the request's own variables win."""
    given = sandbox.environment(host.config.endpoint_url, job.document["region"], box, host.credential)
    # A job without network could only leak another S3's keys.
    return {**given, **({} if box.isolate_network else host.objects.variables()), **own}
