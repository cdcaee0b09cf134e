"""The logs of jobs and endpoints, read through the CloudWatch Logs API.

Streams are the instances' own log files; nothing is copied. Tokens are byte offsets, so that following a log costs what
is new in it. What it does not do: it answers only for the groups under /aws/sagemaker; moto has the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import ACCOUNT
from .database import Query, Resource
from .errors import AwsError
from .jobs import Host, JobType
from .resources.endpoints import Endpoints

GROUP_PREFIX = "/aws/sagemaker/"
ENDPOINT_GROUP = "/aws/sagemaker/Endpoints/"
DEFAULT_EVENTS, MAX_EVENTS, MAX_BYTES = 10_000, 10_000, 1024 * 1024


class ResourceNotFoundException(AwsError):
    """CloudWatch Logs' own word for a group or stream that is not there."""

    code = "ResourceNotFoundException"


class InvalidParameterException(AwsError):
    """A parameter or token that CloudWatch Logs cannot take."""

    code = "InvalidParameterException"


@dataclass(frozen=True, slots=True)
class Stream:
    """A log stream and the file behind it."""

    name: str
    path: Path
    created: float


class JobLogs:
    """DescribeLogGroups, DescribeLogStreams, GetLogEvents and FilterLogEvents."""

    def __init__(self, host: Host, job_types: Iterable[JobType], endpoints: Endpoints) -> None:
        self._host = host
        self._types = {job_type.log_group: job_type for job_type in job_types}
        self._endpoints = endpoints

    def table(self) -> dict[str, Callable[[dict[str, Any], str], dict[str, Any] | None]]:
        return {
            "DescribeLogGroups": self.groups,
            "DescribeLogStreams": self.streams,
            "GetLogEvents": self.events,
            "FilterLogEvents": self.filter,
        }

    def groups(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        prefix = params.get("logGroupNamePrefix", "")
        names = [name for name in self._types if name.startswith(prefix)]
        return {"logGroups": [{"logGroupName": name, "arn": _group_arn(name, region)} for name in names]}

    def streams(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        group = _group(params)
        prefix = params.get("logStreamNamePrefix", "")
        found = [s for s in self._streams(group, prefix) if s.name.startswith(prefix)]
        rows = [
            {
                "logStreamName": s.name,
                "creationTime": int(s.created * 1000),
                "arn": f"{_group_arn(group, region)}:log-stream:{s.name}",
                "storedBytes": s.path.stat().st_size,
            }
            for s in found
        ]
        return {"logStreams": rows[: params.get("limit", 50)]}

    def events(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        group, name = _group(params), params["logStreamName"]
        stream = next((s for s in self._streams(group, name) if s.name == name), None)
        if stream is None:
            raise ResourceNotFoundException("The specified log stream does not exist.")
        limit = min(params.get("limit", DEFAULT_EVENTS), MAX_EVENTS)
        token = params.get("nextToken")
        from_end = token is None and not params.get("startFromHead")
        offset = _offset_of_last(stream.path, limit) if from_end else _offset(token)
        rows, end = _read(stream.path, offset, limit)
        first, last = params.get("startTime", 0), params.get("endTime")
        rows = [row for row in rows if row["timestamp"] >= first and (last is None or row["timestamp"] < last)]
        return {"events": rows, "nextForwardToken": f"f/{end}", "nextBackwardToken": f"b/{offset}"}

    def filter(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        group = _group(params)
        for name in ("filterPattern", "nextToken"):
            if params.get(name):
                raise InvalidParameterException(
                    f"{name} is not offered by the Millrace runtime; filter what it returns"
                )
        names = params.get("logStreamNames")
        rows: list[dict[str, Any]] = []
        for stream in self._streams(group, params.get("logStreamNamePrefix", names[0] if names else "")):
            if names and stream.name not in names:
                continue
            found = _read_all(stream.path, params.get("startTime", 0), params.get("endTime"))
            rows += [
                {**row, "logStreamName": stream.name, "eventId": f"{stream.name}/{n}"} for n, row in enumerate(found)
            ]
        return {"events": sorted(rows, key=lambda row: row["timestamp"])[: params.get("limit", MAX_EVENTS)]}

    def _streams(self, group: str, prefix: str) -> list[Stream]:
        if group.startswith(ENDPOINT_GROUP):
            return self._endpoint_streams(group.removeprefix(ENDPOINT_GROUP))
        job_type = self._types.get(group)
        if job_type is None:
            raise ResourceNotFoundException("The specified log group does not exist.")
        name = prefix.partition("/")[0]
        exact = self._host.database.get(job_type.kind, name) if name else None
        jobs: list[Resource] = [exact] if exact else []
        if not jobs and "/" not in prefix:
            jobs = self._host.database.list(job_type.kind, Query(name_contains=name or None, limit=50))
        return [stream for job in jobs for stream in self._job_streams(job)]

    def _job_streams(self, job: Resource) -> list[Stream]:
        """A stream for each instance of each start of the job."""
        stamp = int(job.created * 1000)
        return [
            Stream(f"{job.name}/algo-{index + 1}-{stamp + restart}", instance.log, job.created)
            for restart in range(job.document.get("restarts", 0) + 1)
            for index, instance in enumerate(self._host.instances(job, restart))
            if instance.log.exists()
        ]

    def _endpoint_streams(self, endpoint: str) -> list[Stream]:
        return [
            Stream(f"{server.variant}/i-{server.id[:17]}", path, server.started)
            for server in self._endpoints.servers(endpoint)
            if (path := self._host.config.data_dir / "servers" / server.id / "log").exists()
        ]


def is_ours(params: dict[str, Any]) -> bool:
    """Whether a Logs call is about jobs or endpoints of this runtime."""
    name = params.get("logGroupName") or params.get("logGroupIdentifier") or params.get("logGroupNamePrefix") or ""
    return str(name).startswith(GROUP_PREFIX)


def _group(params: dict[str, Any]) -> str:
    group = params.get("logGroupName")
    if not group:
        raise InvalidParameterException("logGroupName is needed; logGroupIdentifier is not offered here")
    return str(group)


def _group_arn(group: str, region: str) -> str:
    return f"arn:aws:logs:{region}:{ACCOUNT}:log-group:{group}"


def _offset(token: str | None) -> int:
    if token is None:
        return 0
    _, _, offset = token.partition("/")
    if not offset.isdigit():
        raise InvalidParameterException(f"nextToken {token!r} was not given by GetLogEvents; start again without it")
    return int(offset)


def _offset_of_last(path: Path, limit: int) -> int:
    """Where the last `limit` lines begin, looking back at most 1 MiB."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        start = max(0, size - MAX_BYTES)
        stream.seek(start)
        data = stream.read()
    *lines, unfinished = data.split(b"\n")
    if start:
        lines = lines[1:]
    return size - len(unfinished) - sum(len(line) + 1 for line in lines[-limit:])


def _read_all(path: Path, first: int, last: int | None) -> list[dict[str, Any]]:
    """A whole stream between two times, at most 10,000 events of it."""
    rows: list[dict[str, Any]] = []
    offset, end = -1, 0
    while end != offset and len(rows) < MAX_EVENTS:
        offset = end
        found, end = _read(path, offset, MAX_EVENTS)
        rows += [row for row in found if row["timestamp"] >= first and (last is None or row["timestamp"] < last)]
    return rows[:MAX_EVENTS]


def _read(path: Path, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
    """Whole lines from `offset` on, at most `limit` or 1 MiB of them, and where the next read begins."""
    rows: list[dict[str, Any]] = []
    with path.open("rb") as stream:
        stream.seek(offset)
        data = stream.read(MAX_BYTES)
    # Lines end with \n alone: a progress bar's carriage returns belong to its line.
    *lines, _unfinished = data.split(b"\n")
    for line in lines[:limit]:
        offset += len(line) + 1
        stamp, _, text = line.partition(b" ")
        if stamp.isdigit():
            message = text.decode(errors="replace")
            rows.append({"timestamp": int(stamp), "message": message, "ingestionTime": int(stamp)})
    return rows, offset
