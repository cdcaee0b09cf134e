"""Drives every active job from its request to its end, and finds them again after a restart.

One loop looks at each active job and takes its next step; slow steps (staging, uploading) run in a bounded pool. The
phase is written to the database before the step is taken, and each step may be taken twice, so a runtime that is killed
anywhere goes on where it was: instances live under shims of their own.

What it does not do: it neither checks requests nor answers calls.
"""

from __future__ import annotations

import concurrent.futures
import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .database import Resource
from .errors import JobFailed
from .instance import Ended, Instance, Spec
from .jobs import ACTIVE, MESSAGE_BYTES, Host, JobType, lease_of, read_message
from .leases import Leases, lease_from

log = logging.getLogger(__name__)
BUSY_SECONDS, IDLE_SECONDS = 0.02, 5.0


class Running:
    """What the supervisor holds in memory about one active job."""

    def __init__(self, job_type: JobType, name: str) -> None:
        self.job_type = job_type
        self.name = name
        self.work: concurrent.futures.Future[Any] | None = None
        self.instances: list[Instance] = []
        self.stop_sent = False


class Supervisor:
    """Owns the threads that run jobs."""

    def __init__(self, host: Host, job_types: Mapping[str, JobType], leases: Leases) -> None:
        self._host = host
        self._types = job_types
        self._leases = leases
        self._running: dict[tuple[str, str], Running] = {}
        self._held: dict[tuple[str, str], int] = {}
        """Instances leased, by job; only the loop touches it."""
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(4, thread_name_prefix="job-step")
        self._thread = threading.Thread(target=self._loop, name="supervisor", daemon=True)
        self._steps: dict[str, Callable[[Running, Resource], None]] = {
            "queued": self._when_queued,
            "staging": self._when_staging,
            "running": self._when_running,
            "uploading": self._when_uploading,
        }

    def start(self) -> None:
        """Take up the jobs of an earlier life, then loop."""
        for kind, job_type in self._types.items():
            for job in self._host.database.all(kind, *ACTIVE):
                if job.document["phase"] == "staging":
                    self._set_phase(job_type, job.name, "queued")
                elif "lease" in job.document:
                    self._leases.hold(lease_from(job.document["lease"]))
                    self._held[kind, job.name] = job.document["instances"]
                self._running[kind, job.name] = Running(job_type, job.name)
        self._sweep()
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _sweep(self) -> None:
        """Remove the trees of ended jobs that a kill left behind; logs and exit statuses stay."""
        active = {job.document["id"] for kind in self._types for job in self._host.database.all(kind, *ACTIVE)}
        for folder in (self._host.config.data_dir / "jobs").glob("*"):
            if folder.name not in active:
                self._remove_trees(folder)

    @staticmethod
    def _remove_trees(folder: Path) -> None:
        for instance in folder.glob("algo-*"):
            for name in ("ml", "inputs"):
                shutil.rmtree(instance / name, ignore_errors=True)

    def stop(self) -> None:
        """End the loop; jobs go on under their shims."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout=10)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def submit(self, job_type: JobType, name: str) -> None:
        self._running[job_type.kind, name] = Running(job_type, name)
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    def discard(self, job: Resource) -> None:
        """Forget a deleted job's folder."""
        shutil.rmtree(self._host.folder(job), ignore_errors=True)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(BUSY_SECONDS if self._running else IDLE_SECONDS)
            self._wake.clear()
            for key, running in list(self._running.items()):
                try:
                    self._step(key, running)
                except Exception:
                    # A full disk, say: one job's surprise must not end the others' supervisor. The next pass tries again.
                    log.exception("%s %s could not be taken further", *key)
                    self._stopping.wait(1)

    def _step(self, key: tuple[str, str], running: Running) -> None:
        """Take one job one step further."""
        job = self._host.database.get(*key)
        if job is None or job.status not in ACTIVE:
            self._running.pop(key, None)
            return
        try:
            self._steps[job.document["phase"]](running, job)
        except JobFailed as error:
            self._finish(running, job, "Failed", str(error))
        except Exception as error:
            log.exception("the step %s of %s failed", job.document["phase"], job.name)
            self._finish(running, job, "Failed", f"InternalServerError: {type(error).__name__}: {error}")

    def _when_queued(self, running: Running, job: Resource) -> None:
        if job.status == "Stopping":
            self._finish(running, job, "Stopped", None)
            return
        count = job.document["instances"]
        if sum(self._held.values()) + count > self._host.config.max_instances:
            return
        self._held[job.kind, job.name] = count
        lease = self._leases.take(count, named_hosts=self._host.sandboxed)

        def edit(document: dict[str, Any]) -> None:
            document["lease"] = asdict(lease)
            document["phase"] = "staging"
            _transition(document, "Downloading", "Downloading input data")

        changed = self._host.database.change(job.kind, job.name, edit)
        if changed is not None:
            running.work = self._pool.submit(running.job_type.stage, changed, self._host)

    def _when_staging(self, running: Running, job: Resource) -> None:
        if running.work is None or not running.work.done():
            return
        running.work.result()
        if job.status == "Stopping":
            self._finish(running, job, "Stopped", None)
            return
        # The phase comes first: a runtime killed between the two finds instances that were not started, and starts them.
        self._set_phase(running.job_type, job.name, "running", "Training", "Training image is running")
        running.instances = self._host.instances(job)
        self._start_instances(running, job)

    def _start_instances(self, running: Running, job: Resource) -> None:
        lease = lease_of(job)
        for index, instance in enumerate(running.instances):
            if instance.was_started:
                continue
            command = running.job_type.command(job, index, self._host)
            instance.start(
                Spec(
                    argv=command.box.wrap(command.argv),
                    env=command.env,
                    cwd=str(command.box.ml),
                    sandboxed=command.box.sandboxed,
                    cpus=lease.cpus[index],
                    grace_seconds=running.job_type.grace_seconds,
                    max_seconds=running.job_type.max_seconds(job.document["request"]),
                )
            )
        self._host.database.change(
            job.kind, job.name, lambda document: document.setdefault("started", time.time()) and None
        )

    def _when_running(self, running: Running, job: Resource) -> None:
        if not running.instances:
            running.instances = self._host.instances(job)
            self._start_instances(running, job)
        ended = [instance.ended() for instance in running.instances]
        # One instance's failure ends the job, as on SageMaker; its peers would wait for it forever.
        failed = any(end is not None and end.exit_code != 0 for end in ended)
        if (job.status == "Stopping" or failed) and not running.stop_sent:
            alive = [instance for instance, end in zip(running.instances, ended, strict=True) if end is None]
            running.stop_sent = all([instance.stop() for instance in alive])  # noqa: C419 - every one is to be asked
        if all(end is not None for end in ended):
            self._set_phase(running.job_type, job.name, "uploading", "Uploading", "Uploading generated artifacts")
            running.work = None

    def _when_uploading(self, running: Running, job: Resource) -> None:
        running.instances = running.instances or self._host.instances(job)
        ended = [end for instance in running.instances if (end := instance.ended()) is not None]
        status, reason = self._outcome(running.job_type, job, ended)
        uploads = {
            "Completed": True,
            "Stopped": running.job_type.uploads_when_stopped,
            "Failed": running.job_type.uploads_when_failed,
        }
        if uploads[status] or running.work is not None:  # an upload that has begun is seen to its end
            if running.work is None:
                running.work = self._pool.submit(running.job_type.harvest, job, self._host)
            if not running.work.done():
                return
            changes = running.work.result()
        else:
            changes = {}
        message = "\n".join(filter(None, (read_message(i.folder / "ml", "output/message") for i in running.instances)))
        if message:
            changes["exit_message"] = message[:MESSAGE_BYTES]
        if any(end.ended_by == "limit" for end in ended):
            changes["limit"] = True
        self._finish(running, job, status, reason, changes)

    def _outcome(self, job_type: JobType, job: Resource, ended: list[Ended]) -> tuple[str, str | None]:
        """The terminal status and FailureReason, by how the instances ended."""
        if any(end.ended_by == "limit" for end in ended):
            return "Stopped", None
        if all(end.exit_code == 0 and end.ended_by == "exit" for end in ended):
            return "Completed", None  # also when a stop came too late to matter
        if job.status == "Stopping":
            return "Stopped", None
        # Peers that were stopped because another failed are not the cause.
        first = sorted(ended, key=lambda end: (end.ended_by == "stop", end.ended))
        order = [first[0] if end is first[0] else Ended(0, *_rest(end)) for end in ended]
        return "Failed", job_type.failure_reason(job, self._host, order)

    def _finish(
        self, running: Running, job: Resource, status: str, reason: str | None, changes: Mapping[str, Any] = {}
    ) -> None:
        for instance in running.instances:
            if instance.ended() is None:
                instance.kill()

        def edit(document: dict[str, Any]) -> str:
            document.update(changes)
            document["phase"] = "done"
            document["ended"] = time.time()
            if reason:
                document["reason"] = reason[:MESSAGE_BYTES]
            final = "MaxRuntimeExceeded" if changes.get("limit") else status
            _transition(document, final, reason or f"{running.job_type.prefix} {status.lower()}")
            document["transitions"][-1]["EndTime"] = document["ended"]
            return status

        if "lease" in job.document:
            self._leases.free(lease_from(job.document["lease"]))
        # The end is on record before anything is removed: a kill in between must not upload half a tree.
        self._host.database.change(job.kind, job.name, edit)
        self._held.pop((job.kind, job.name), None)
        self._running.pop((job.kind, job.name), None)
        self._remove_trees(self._host.folder(job))

    def _set_phase(
        self, job_type: JobType, name: str, phase: str, secondary: str | None = None, message: str = ""
    ) -> None:
        def edit(document: dict[str, Any]) -> None:
            document["phase"] = phase
            if secondary:
                _transition(document, secondary, message)

        self._host.database.change(job_type.kind, name, edit)


def _rest(end: Ended) -> tuple[str, float, float, str | None]:
    return end.ended_by, end.started, end.ended, end.error


def _transition(document: dict[str, Any], status: str, message: str) -> None:
    """Close the last secondary status and open the next."""
    now = time.time()
    transitions = document["transitions"]
    if transitions and "EndTime" not in transitions[-1]:
        transitions[-1]["EndTime"] = now
    transitions.append({"Status": status, "StartTime": now, "StatusMessage": message[:500]})
