"""Metrics of jobs, sent to CloudWatch (that is moto, here): a training job's as it prints them, a monitoring job's when it
has ended.

Namespaces and dimensions are SageMaker's: `/aws/sagemaker/TrainingJobs` by TrainingJobName, and those of
`cloudwatch_files.py`. A metric that cannot be sent is logged and tried again; it never disturbs its job. What it does not
do: it finds no metric (`metric_reader.py` does, and monitoring jobs write theirs), and what a training job has printed last
is on the job itself, as FinalMetricDataList.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import cloudwatch_files
from .credentials import Credential
from .database import Resource
from .jobs import ACTIVE, Host

log = logging.getLogger(__name__)
NAMESPACE = "/aws/sagemaker/TrainingJobs"
EVERY_SECONDS = 2.0
MOST_AT_ONCE = 500


class MetricPublisher:
    """One thread for all jobs."""

    def __init__(self, host: Host, credential: Credential) -> None:
        self._host = host
        self._credential = credential
        self._lock = threading.Lock()
        self._followed: dict[str, Resource] = {}
        self._read: dict[Path, int] = {}
        """How far each file was sent."""
        self._clients: dict[str, Any] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="metrics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=5)

    def follow(self, job: Resource) -> None:
        """Send what this job prints until it has ended, or what it leaves."""
        request = job.document["request"]
        prints = (request.get("AlgorithmSpecification") or {}).get("MetricDefinitions")
        if prints or cloudwatch_files.are_wanted(request):
            with self._lock:
                self._followed[job.name] = job

    def _loop(self) -> None:
        while not self._stopping.wait(EVERY_SECONDS):
            with self._lock:
                followed = list(self._followed.values())
            for job in followed:
                try:
                    self._publish(job)
                except Exception as error:
                    log.warning("metrics of %s are not sent yet: %s", job.name, error)

    def _publish(self, followed: Resource) -> None:
        # The state is read before the files: what an ended job has printed is all there.
        job = self._host.database.get(followed.kind, followed.name)
        if job is not None and job.document["id"] == followed.document["id"]:
            self._publish_files(job)
        if job is None or job.status not in ACTIVE:
            with self._lock:
                self._followed.pop(followed.name, None)

    def _publish_files(self, job: Resource) -> None:
        for path in instance_files(self._host, job, "metrics.jsonl"):
            self._send(job, path, NAMESPACE, lambda row: _printed(row, job.name))
        for path in instance_files(self._host, job, cloudwatch_files.KEPT):
            self._send(job, path, cloudwatch_files.namespace(job.document["request"]), dict)

    def _send(
        self, job: Resource, path: Path, namespace: str, datum: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        """Send what a file holds beyond what was sent.

        Args:
            datum: a line of it as PutMetricData takes it.
        """
        rows, end = read(path, self._read.get(path, 0))
        for first in range(0, len(rows), MOST_AT_ONCE):
            part = [datum(row) for row in rows[first : first + MOST_AT_ONCE]]
            self._cloudwatch(job.document["region"]).put_metric_data(Namespace=namespace, MetricData=part)
        self._read[path] = end

    def _cloudwatch(self, region: str) -> Any:
        if region not in self._clients:
            from botocore.session import Session

            self._clients[region] = Session().create_client(
                "cloudwatch", region_name=region, endpoint_url=self._host.config.endpoint_url,
                aws_access_key_id=self._credential.access_key, aws_secret_access_key=self._credential.secret_key,
            )  # fmt: skip
        return self._clients[region]


def _printed(row: dict[str, Any], job_name: str) -> dict[str, Any]:
    """A line of `metrics.jsonl`."""
    return {
        "MetricName": row["name"],
        "Value": row["value"],
        "Timestamp": row["time"] / 1000,
        "Dimensions": [{"Name": "TrainingJobName", "Value": job_name}],
    }


def instance_files(host: Host, job: Resource, name: str) -> Iterator[Path]:
    """A file of every instance of every start of a job, as far as there is one."""
    for restart in range(job.document.get("restarts", 0) + 1):
        for instance in host.instances(job, restart):
            path = instance.folder / name
            if path.exists():
                yield path


def read(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Whole lines from `offset` on, and where the next read begins."""
    with path.open("rb") as stream:
        stream.seek(offset)
        data = stream.read()
    whole = data.rpartition(b"\n")[0]
    rows = [json.loads(line) for line in whole.splitlines()]
    return rows, offset + (len(whole) + 1 if whole else 0)


def final_metrics(host: Host, job: Resource) -> list[dict[str, Any]]:
    """The last value of each metric, as FinalMetricDataList has it; of several instances the latest."""
    last: dict[str, dict[str, Any]] = {}
    for path in instance_files(host, job, "metrics-last.json"):
        for row in json.loads(path.read_text()):
            if row["name"] not in last or row["time"] >= last[row["name"]]["time"]:
                last[row["name"]] = row
    return [{"MetricName": name, "Value": row["value"], "Timestamp": row["time"] / 1000} for name, row in last.items()]
