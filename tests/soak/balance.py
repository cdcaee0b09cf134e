"""The balance of a soak: what was acknowledged is there, ended as it had to, and has left nothing that runs, waits or
takes room.

It is struck once, when no more deeds are done, on a runtime that is up. Endpoints strike their own (`endpoints.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from millrace.runtime import clock
from tests.runtime.jobs import CLUSTER, Jobs
from tests.runtime.process import RuntimeProcess, until
from tests.soak.books import Books
from tests.soak.work import DRAWN_FAILURE, SURVIVOR, Work

LONGEST_POOL_SECONDS = 3600
ENDED_POOL = ("Reused", "Terminated")


class Balance:
    """Holds the books against a runtime."""

    def __init__(self, runtime: RuntimeProcess, books: Books) -> None:
        self._runtime = runtime
        self._jobs = Jobs(runtime)
        self._books = books
        self._checks: Mapping[str, Callable[[Work, dict[str, Any]], None]] = {
            "pool": self._check_pool,
            "checkpoint": self._check_checkpoint,
        }
        """What is held against more than a job's own output, by what the job is."""

    def strike(self) -> None:
        """
        Raises:
            AssertionError: the books do not balance.
        """
        ended = {name: self._end(work) for name, work in self._books.jobs.items()}
        lost = {name for name, description in ended.items() if description is None} - self._books.unsure
        assert not lost, f"acknowledged jobs are lost: {sorted(lost)}"
        self._end_pools()
        self._described = {name: self._describe(self._books.jobs[name]) for name, found in ended.items() if found}
        for name, description in self._described.items():
            self._check(self._books.jobs[name], description)
        for key, digest in self._books.objects.items():
            assert _digest(self._body(key)) == digest, f"{key} is not as it was acknowledged"
        self._check_nothing_is_left()

    def _end_pools(self) -> None:
        """Let the time of every pool pass."""
        clock.advance(self._runtime.data_dir, LONGEST_POOL_SECONDS + 1)

        def standing() -> list[str]:
            rows = [
                row
                for status in ("Available", "InUse")
                for row in self._jobs.sagemaker.list_training_jobs(WarmPoolStatusEquals=status)["TrainingJobSummaries"]
            ]
            return [f"{row['TrainingJobName']} {row['WarmPoolStatus']}" for row in rows]

        with contextlib.suppress(AssertionError):
            until(lambda: not standing(), 30)
        left = standing()
        assert not left, f"pools whose time is over are left: {left}"

    def _check_nothing_is_left(self) -> None:
        until(lambda: not self._runtime.job_processes(), 30, "the end of every process of a job or a server")
        assert not self._runtime.find(SURVIVOR), "a process in a session of its own has survived its job"
        for what, pattern in (("trees of ended jobs", "jobs/*/**/ml"), ("caches of ended pools", "jobs/*/warm/*")):
            self._vanishes(what, pattern)
        whole = {**CLUSTER, "InstanceType": "ml.m5.24xlarge"}
        last = self._jobs.processing("true", ProcessingResources={"ClusterConfig": whole})
        assert self._jobs.end("processing", last, 60)["ProcessingJobStatus"] == "Completed", "capacity is still held"

    def _vanishes(self, what: str, pattern: str) -> None:
        """What is being removed in the background may be there for a moment."""
        with contextlib.suppress(AssertionError):
            until(lambda: not list(self._runtime.data_dir.glob(pattern)), 10)
        left = sorted(str(path) for path in self._runtime.data_dir.glob(pattern))
        assert not left, f"{what} are left: {left}"

    def _end(self, work: Work) -> dict[str, Any] | None:
        try:
            return self._jobs.end(work.api, work.name, 300)
        except ClientError as error:
            assert "not found" in str(error) or "Could not find" in str(error), error
            return None

    def _describe(self, work: Work) -> dict[str, Any]:
        return self._jobs.end(work.api, work.name, 10)

    def _check(self, work: Work, description: dict[str, Any]) -> None:
        """How the job ended, and what it has left."""
        status, reason = description[f"{work.api.capitalize()}JobStatus"], description.get("FailureReason", "")
        allowed = {work.ends} | ({"Stopped"} if work.name in self._books.stopped else set())
        assert status in allowed or reason == DRAWN_FAILURE, f"{work.name} ({work.what}) is {status}: {reason}"
        if status == "Completed" and work.leaves:
            left = self._left(work, description)
            assert left == work.leaves, f"{work.name} ({work.what}) has left {left}, and not {work.leaves}"
            self._books.done[f"{work.what} output right"] += 1
        if work.what in self._checks:
            self._checks[work.what](work, description)

    def _left(self, work: Work, description: dict[str, Any]) -> Mapping[str, bytes | None]:
        if work.api == "training":
            return self._jobs.model_files(description)
        return {name: self._body(f"out/{work.name}/{name}") for name in work.leaves}

    def _check_pool(self, work: Work, description: dict[str, Any]) -> None:
        """The pool is over, in the way that was asked for, and its cache has gone from hand to hand and nowhere else."""
        name, pool = work.name, description.get("WarmPoolStatus")
        if description["TrainingJobStatus"] != "Completed":
            assert pool is None or pool["Status"] == "Terminated", f"{name} has not completed, and its pool is {pool}"
            return
        assert pool is not None and pool["Status"] in ENDED_POOL, f"the pool of {name} is {pool}"
        assert name not in self._books.ended_pools or pool["Status"] == "Terminated", f"{name} was ended, and is {pool}"
        kept_alive = description["ResourceConfig"]["KeepAlivePeriodInSeconds"]
        assert kept_alive == self._books.kept_alive.get(name, kept_alive), f"{name} is kept for {kept_alive} s"
        *before, own = self._runs(description)
        assert own == name, f"{name} has found another's name behind its own: {before} {own}"
        caches = [self._runs(other) for other in self._described.values() if _reused_by(other) == name]
        is_lost = "Restarting" in _statuses(description)  # its first host has taken the cache with it
        assert before in caches or (not before and (not caches or is_lost)), (
            f"{name} found {before}, not one of {caches}"
        )
        self._books.done["pool reused with its cache"] += bool(before)

    def _runs(self, description: dict[str, Any]) -> list[str]:
        return self._jobs.model_files(description)["runs"].decode().split()

    def _check_checkpoint(self, work: Work, description: dict[str, Any]) -> None:
        """Each start went on from what the one before had saved at its end, and S3 has what was saved last.

        The job's log is the witness: it says "saved" after the number was written, and outlives every start.
        """
        reached = starts = 0
        for line in self._jobs.lines("training", work.name):
            said, _, number = line.rpartition(" ")
            if said == "begun at":
                assert int(number) >= reached, f"{work.name} had saved {reached}, and has begun at {number}"
                starts += 1
            if said in ("begun at", "saved"):
                reached = int(number)
        kept = int(self._body(f"checkpoints/{work.name}/count") or 0)
        seen = self._books.counts.get(work.name, 0)
        assert kept >= max(reached, seen), f"{work.name}: {kept} is in S3, {reached} was saved, {seen} was there before"
        self._books.done["start from a checkpoint"] += max(0, starts - 1)

    def _body(self, key: str) -> bytes | None:
        """An object's bytes; None when it is not there."""
        try:
            body: bytes = self._jobs.s3.get_object(Bucket="bucket", Key=key)["Body"].read()
        except self._jobs.s3.exceptions.NoSuchKey:
            return None
        return body


def _digest(body: bytes | None) -> str | None:
    return None if body is None else hashlib.sha256(body).hexdigest()


def _reused_by(description: dict[str, Any]) -> str | None:
    """The job that has taken over the pool of this one."""
    name: str | None = description.get("WarmPoolStatus", {}).get("ReusedByJob")
    return name


def _statuses(description: dict[str, Any]) -> list[str]:
    return [transition["Status"] for transition in description["SecondaryStatusTransitions"]]
