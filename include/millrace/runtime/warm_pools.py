"""Warm pools: what a training job leaves standing for the next one that is like it.

A job with KeepAlivePeriodInSeconds that has completed keeps its lease for so long. The next job with the same role, cluster,
network and isolation takes it over without waiting for capacity, and finds in /opt/ml/sagemaker/warmpoolcache what the one
before has left there. A pool never keeps a job waiting: when capacity is lacking, the oldest pools go first.

Everything about a pool is in the document of the job that left it, so a restarted runtime finds it again. What it does not
do: no interpreter is started ahead of time. Source:
https://docs.aws.amazon.com/sagemaker/latest/dg/train-warm-pools.html.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from . import trees
from .capacity import Share, shares_of
from .database import Query, Resource
from .jobs import Host
from .leases import Leases, lease_from

log = logging.getLogger(__name__)
KIND, EVERYTHING = "training-job", 2**31
CACHE = "sagemaker/warmpoolcache"
"""Below /opt/ml."""
KEPT = "warm"
"""Where the caches of a pool lie, below the folder of the job that left it."""
AVAILABLE, REUSED, IN_USE, TERMINATED = "Available", "Reused", "InUse", "Terminated"
MATCHED = ("RoleArn", "VpcConfig", "EnableInterContainerTrafficEncryption", "EnableNetworkIsolation")


def keep_alive_seconds(request: dict[str, Any]) -> int:
    return int((request.get("ResourceConfig") or {}).get("KeepAlivePeriodInSeconds") or 0)


class WarmPools:
    """All methods may be called from any thread."""

    def __init__(self, host: Host, leases: Leases) -> None:
        self._host = host
        self._leases = leases
        self._lock = threading.RLock()
        self._available: dict[str, Resource] = {}
        """The jobs that have left a pool, oldest first, by name."""

    def start(self, active: Iterable[Resource]) -> None:
        """Find the pools of an earlier life, and end what it has left undone with them.

        Args:
            active: the jobs that have not ended; some have taken over a pool.
        """
        heirs = {job.document["warm_from"]: job for job in active if job.document.get("warm_from")}
        left = Query(
            document_equals={"$.warm_pool.Status": AVAILABLE},
            sort_by="LastModifiedTime",
            descending=False,
            limit=EVERYTHING,
        )
        for job in list(self._host.database.each(KIND, left)):
            if job.name in heirs:
                self.hand_over(job, heirs[job.name])
                continue
            lease = lease_from(job.document["lease"])
            self._leases.hold(lease)
            self.keep(job)
            if [len(gpus) for gpus in lease.gpus] != [share.gpus for share in self._shares(job)]:
                self._terminate(job)  # the machine, or what of it jobs may have, is another
        sources = [self._host.database.get(KIND, name) for name in heirs]
        needed = {self._host.folder(job) for job in (*self._available.values(), *sources) if job}
        folders = (self._host.config.data_dir / "jobs").glob(f"*/{KEPT}")
        trees.remove(folder for folder in folders if folder.parent not in needed)

    def _shares(self, job: Resource) -> list[Share]:
        return shares_of(job.document["instance_types"], len(self._host.config.gpus))

    def left_by(self, job: Resource, status: str, now: float) -> dict[str, Any] | None:
        """The pool that a job leaves when it ends like this, for its document; None if it asked for none."""
        seconds = keep_alive_seconds(job.document["request"])
        if job.kind != KIND or not seconds or "warm_pool" not in job.document:  # it never had instances
            return None
        if status != "Completed":
            return {"Status": TERMINATED, "since": now, "ended": now}
        return {"Status": AVAILABLE, "since": now, "until": now + seconds}

    def keep(self, job: Resource) -> None:
        """Put the lease and the cache of a job, whose document says that it leaves a pool, aside for the next.

        It may be done twice: the cache is moved at once.
        """
        for index in range(job.document["instances"]):
            try:
                _move(self._host.instance_folder(job, index) / "ml", CACHE, self._cache(job, index))
            except OSError as error:
                log.warning("the cache of %s is not kept: %s", job.name, error)
        with self._lock:
            self._available[job.name] = job

    def claim(self, job: Resource) -> Resource | None:
        """The job whose pool fits another, out of everyone else's reach: it is to be handed over, or put back. None when
        there is none."""
        with self._lock:
            if job.kind != KIND:
                return None
            found = next((pool for pool in self._available.values() if _key(pool) == _key(job)), None)
            return self._available.pop(found.name) if found else None

    def hand_over(self, pool: Resource, heir: Resource) -> None:
        """Record who has a claimed pool. The heir's own document says so before: a runtime that is killed between the two
        finds there that the pool is taken."""
        with self._lock:
            self._end(pool, REUSED, heir.name)

    def put_back(self, pool: Resource) -> None:
        """A claimed pool is not taken after all."""
        with self._lock:
            self._available[pool.name] = pool

    def restore_cache(self, job: Resource) -> None:
        """Give a job that has taken over a pool the cache that lies there."""
        for kept, target in self._caches(job):
            if kept.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
                kept.rename(target)

    def take_cache_back(self, job: Resource) -> None:
        """Undo `restore_cache` for a job that has not run since: it is staged again, which begins with empty folders."""
        for kept, target in self._caches(job):
            if target.is_dir() and not kept.exists():
                kept.parent.mkdir(parents=True, exist_ok=True)
                target.rename(kept)

    def drop_cache(self, job: Resource) -> None:
        """Remove the cache that a job which has ended was to find and has not: it was stopped before."""
        trees.remove(kept for kept, _ in self._caches(job))

    def _caches(self, job: Resource) -> Iterator[tuple[Path, Path]]:
        """Where the caches of the pool that a job has taken over lie, and where the job is to find them."""
        source = self._host.database.get(KIND, job.document.get("warm_from", ""))
        if source is None:
            return
        for index in range(job.document["instances"]):
            yield self._cache(source, index), self._host.instance_folder(job, index) / "ml" / CACHE

    def expire(self) -> None:
        """End the pools whose time is over."""
        with self._lock:
            now = self._host.clock.now()
            for job in [job for job in self._available.values() if job.document["warm_pool"]["until"] <= now]:
                self._terminate(job)

    def make_room(self) -> bool:
        """End the oldest pool, because a job waits for capacity; False when there is none."""
        with self._lock:
            oldest = next(iter(self._available.values()), None)
            if oldest is not None:
                self._terminate(oldest)
            return oldest is not None

    def update(self, name: str, seconds: int) -> bool:
        """Keep a pool for another time, counted from now; 0 ends it. False when the job has no available pool."""
        with self._lock:
            job = self._available.get(name)
            if job is None:
                return False
            if not seconds:
                self._terminate(job)
                return True

            def edit(document: dict[str, Any]) -> None:
                document["warm_pool"]["until"] = self._host.clock.now() + seconds
                document["request"]["ResourceConfig"]["KeepAlivePeriodInSeconds"] = seconds

            changed = self._host.database.change(KIND, name, edit)
            if changed is not None:
                self._available[name] = changed
            return True

    def _terminate(self, job: Resource) -> None:
        self._end(job, TERMINATED)
        self._leases.free(lease_from(job.document["lease"]))
        trees.remove(self._cache(job, index) for index in range(job.document["instances"]))

    def _end(self, job: Resource, status: str, reused_by: str | None = None) -> None:
        """Record what has become of a pool."""
        now = self._host.clock.now()

        def edit(document: dict[str, Any]) -> None:
            pool = document["warm_pool"]
            pool |= {"Status": status, "ended": min(now, pool["until"])}
            if reused_by:
                pool["ReusedByJob"] = reused_by

        self._host.database.change(KIND, job.name, edit)
        self._available.pop(job.name, None)

    def _cache(self, job: Resource, index: int) -> Path:
        return self._host.folder(job) / KEPT / str(index)


def status_of(job: Resource) -> dict[str, Any] | None:
    """WarmPoolStatus, as Describe and List have it; None for a job that asked for no pool."""
    pool = job.document.get("warm_pool")
    if pool is None:
        return None
    retained = int(pool["ended"] - pool["since"]) if "ended" in pool else None
    shown = {"Status": pool["Status"], "ReusedByJob": pool.get("ReusedByJob")}
    return {**shown, "ResourceRetainedBillableTimeInSeconds": retained}


def _key(job: Resource) -> str:
    """What two jobs must have in common for one to take over the pool of the other."""
    request = job.document["request"]
    cluster = {k: v for k, v in request["ResourceConfig"].items() if k != "KeepAlivePeriodInSeconds"}
    return json.dumps(
        [job.document["region"], cluster, *(request.get(name) or None for name in MATCHED)], sort_keys=True
    )


def _move(root: Path, relative: str, target: Path) -> None:
    """Move a folder that a job has left, unless a link stands in its place or on the way to it."""
    path = root
    for part in Path(relative).parts:
        path = path / part
        if path.is_symlink() or not path.is_dir():
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
