"""Drives every active job from its request to its end, and finds them again after a restart.

One loop takes each active job's next step; slow steps (staging, uploading) run in a bounded pool. The phase is written
to the database before the step is taken, and each step may be taken twice, so a runtime that is killed anywhere goes on
where it was: instances live under shims of their own.

    queued -> staging -> running -> uploading -> done
       ^                    |
       +---- restarting <---+     a spot instance was taken away, or a host was lost and the job may be retried

Jobs get their instances in the order of their creation: the first that does not fit makes those behind it wait.

What it does not do: it neither checks requests nor answers calls.
"""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from . import capacity, faults, job_trees, outcomes, trees
from .database import Resource
from .errors import JobFailed
from .folder_sync import FolderSync
from .instance import Ended, Instance, Spec
from .jobs import ACTIVE, MESSAGE_BYTES, Host, JobType, lease_of, read_message, transition
from .launchers import Launcher
from .leases import Lease, Leases, lease_from
from .storage import StorageAway
from .warm_pools import AVAILABLE, IN_USE, WarmPools, keep_alive_seconds

log = logging.getLogger(__name__)
BUSY_SECONDS, QUEUE_SECONDS, IDLE_SECONDS, SYNC_SECONDS = 0.02, 1.0, 5.0, 1.0
AWAY_SECONDS, AGAIN_SECONDS = 3600, 2.0
"""How long a step is tried again when the S3 does not answer, and the pause before it is."""
MAX_RUNTIME, MAX_WAIT = "MaxRuntimeExceeded", "MaxWaitTimeExceeded"
LAUNCHER_TAG, TAG_CHARACTERS = "millrace:launcher", 256


class Running:
    """What the supervisor holds in memory about one active job."""

    def __init__(self, job_type: JobType, job: Resource) -> None:
        self.job_type = job_type
        self.job = job
        self.fault = faults.of_job(job.document)
        self.is_stale = False
        """Somebody else has changed the job: it is to be read again."""
        self.is_pending = job.document["transitions"][-1]["Status"] == "Pending"
        self.reset()

    def reset(self) -> None:
        """Forget the instances: the job has none, or none any more."""
        self.work: concurrent.futures.Future[Any] | None = None
        self.instances: list[Instance] = []
        self.stop_sent = False
        self.syncs: list[FolderSync] | None = None
        self.sync_work: concurrent.futures.Future[Any] | None = None
        self.next_sync = 0.0
        self.away_since: float | None = None
        """When a step first found that the S3 does not answer; None when it last did."""
        self.again_at = 0.0

    @property
    def key(self) -> tuple[str, str]:
        return self.job.kind, self.job.name


class Supervisor:
    """Owns the threads that run jobs."""

    def __init__(
        self,
        host: Host,
        job_types: Mapping[str, JobType],
        leases: Leases,
        pools: WarmPools,
        on_start: Callable[[Resource], None] = lambda _job: None,
    ) -> None:
        """
        Args:
            on_start: called with a job whenever its instances run, also when they are found again.
        """
        self._host = host
        self._types = job_types
        self._leases = leases
        self._pools = pools
        self._on_start = on_start
        self._running: dict[tuple[str, str], Running] = {}
        self._is_full = False
        """An earlier job waits for capacity; only the loop touches it."""
        self._next_queue = 0.0
        """When jobs that wait for capacity are looked at again, unless some becomes free before; thousands may wait."""
        self._wake = threading.Event()
        self._stopping = threading.Event()
        # A job has at most one step under way and one sync, so that nobody's slow one (packages, say) keeps others waiting.
        threads = 2 * host.config.max_instances + 2
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="job-step")
        self._thread = threading.Thread(target=self._loop, name="supervisor", daemon=True)
        self._steps: dict[str, Callable[[Running], None]] = {
            "queued": self._when_queued,
            "staging": self._when_staging,
            "running": self._when_running,
            "restarting": self._when_restarting,
            "uploading": self._when_uploading,
        }

    def start(self) -> None:
        """Take up the jobs of an earlier life, then loop."""
        found = [(kind, job) for kind in self._types for job in self._host.database.all(kind, *ACTIVE)]
        for kind, job in sorted(found, key=lambda pair: pair[1].created):
            running = Running(self._types[kind], job)
            if "lease" in job.document:
                self._leases.hold(lease_from(job.document["lease"]))
            self._running[running.key] = running
        self._pools.start([job for _, job in found])
        self._sweep()
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _sweep(self) -> None:
        """Remove the trees of ended jobs that a kill left behind; logs and exit statuses stay."""
        active = {running.job.document["id"] for running in self._running.values()}
        for folder in (self._host.config.data_dir / "jobs").glob("*"):
            if folder.name not in active:
                job_trees.remove(job_trees.every_start(folder))

    def stop(self) -> None:
        """End the loop; jobs go on under their shims."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout=10)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def submit(self, job_type: JobType, job: Resource) -> None:
        """Take up a job that was just created."""
        running = Running(job_type, job)
        running.is_stale = True  # a stop may have come before this
        self._running[running.key] = running
        self._wake.set()

    def notice(self, job: Resource) -> None:
        """Heed a change that somebody else has made to an active job."""
        running = self._running.get((job.kind, job.name))
        if running is not None:
            running.is_stale = True
        self._wake.set()

    def discard(self, job: Resource) -> None:
        """Forget a deleted job's folder."""
        trees.remove([self._host.folder(job)])

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(BUSY_SECONDS if self._running else IDLE_SECONDS)
            self._wake.clear()
            self._is_full = False
            try:
                self._pools.expire()
            except Exception:
                log.exception("warm pools are looked at again later")
            is_queue_due = time.monotonic() >= self._next_queue
            if is_queue_due:
                self._next_queue = time.monotonic() + QUEUE_SECONDS
            for running in list(self._running.values()):
                if running.is_pending and not running.is_stale and not is_queue_due:
                    self._is_full = True
                    continue
                try:
                    self._step(running)
                except Exception:
                    # A full disk, say: one job's surprise must not end the others' supervisor. The next pass tries again.
                    log.exception("%s %s could not be taken further", *running.key)
                    running.is_stale = True
                    self._stopping.wait(1)

    def _step(self, running: Running) -> None:
        """Take one job one step further."""
        if running.is_stale:
            running.is_stale = False
            job = self._host.database.get(*running.key)
            if job is None or job.status not in ACTIVE:
                self._running.pop(running.key, None)
                return
            running.job = job
        try:
            self._steps[running.job.document["phase"]](running)
        except JobFailed as error:
            self._finish(running, "Failed", str(error))
        except Exception as error:
            log.exception("the step %s of %s failed", running.job.document["phase"], running.job.name)
            self._finish(running, "Failed", f"InternalServerError: {type(error).__name__}: {error}")

    def _when_queued(self, running: Running) -> None:
        job, now = running.job, self._host.clock.now()
        if job.status == "Stopping":
            self._finish(running, "Stopped", None)
            return
        if self._wait_is_over(running):
            self._finish(running, "Stopped", None, {"limit": MAX_WAIT})
            return
        if running.fault.is_held(job.document.get("interrupted", job.created), now):
            return
        if running.fault.ending and not running.fault.starts:
            self._finish(running, *running.fault.ending)
            return
        shares = capacity.shares_of(job.document["instance_types"], len(self._host.config.gpus))
        pool = self._pools.claim(job)
        lease = lease_from(pool.document["lease"]) if pool else None
        if lease is None and not self._is_full:
            lease = self._leases.take(shares, named_hosts=self._host.sandboxed)
            if lease is None and self._pools.make_room():
                self._next_queue = 0.0
                self._is_full = True  # nobody behind it may take what has become free
                return
        if lease is None:
            self._say_pending(running, shares)
            return

        def edit(document: dict[str, Any]) -> None:
            document["lease"] = asdict(lease)
            document["phase"] = "staging"
            document["warm_from"] = pool.name if pool else ""
            if keep_alive_seconds(document["request"]):
                document["warm_pool"] = {"Status": IN_USE}
            transition(document, now, "Downloading", "Downloading input data")

        try:
            self._change(running, edit)
        except Exception:
            if pool:
                self._pools.put_back(pool)
            else:
                self._leases.free(lease)
            raise
        if pool:
            self._pools.hand_over(pool, job)
        running.is_pending = False
        self._when_staging(running)

    def _stage(self, job_type: JobType, job: Resource) -> None:
        self._host.objects.refresh()
        self._pools.take_cache_back(job)
        job_type.stage(job, self._host)
        self._pools.restore_cache(job)

    def _begin(self, step: Callable[..., Any], *arguments: Any) -> concurrent.futures.Future[Any]:
        """Take a slow step in the pool; the loop is woken when it is done."""
        work = self._pool.submit(step, *arguments)
        work.add_done_callback(lambda _work: self._wake.set())
        return work

    def _say_pending(self, running: Running, shares: list[capacity.Share]) -> None:
        self._is_full = True
        if running.is_pending:
            return
        running.is_pending = True
        lack = self._leases.lack(shares) or "its turn: jobs that were created earlier wait for capacity"
        log.info("%s %s waits: it needs %s", *running.key, lack)
        now = self._host.clock.now()
        self._change(
            running,
            lambda document: transition(document, now, "Pending", f"Waiting for capacity: the job needs {lack}"),
        )

    def _when_staging(self, running: Running) -> None:
        if (
            running.work is None and running.job.status != "Stopping"
        ):  # not begun, cut off by a kill, or to be taken again
            if time.monotonic() < running.again_at:
                return
            running.work = self._begin(self._stage, running.job_type, running.job)
        if running.work is not None:
            if not running.work.done():
                return
            if not self._is_taken(running, running.work) and running.job.status != "Stopping":
                running.work = None
                return
        if running.job.status == "Stopping":
            self._finish(running, "Stopped", None)
            return
        # The phase comes first: a runtime killed between the two finds instances that were not started, and starts them.
        self._set_phase(running, "running", "Training", "Training image is running")
        self._start_instances(running)

    def _is_taken(self, running: Running, step: concurrent.futures.Future[Any]) -> bool:
        """Whether a step has been taken. False: the S3 does not answer, and it is to be taken again after a pause.

        Raises:
            JobFailed: the S3 has not answered for too long. And whatever the step has raised.
        """
        try:
            step.result()
        except StorageAway as error:
            now = self._host.clock.now()
            running.away_since = running.away_since or now
            if now - running.away_since > AWAY_SECONDS:
                raise JobFailed(f"InternalServerError: for {AWAY_SECONDS // 60} minutes: {error}") from error
            log.warning("%s %s goes on when its storage does: %s", *running.key, error)
            running.again_at = time.monotonic() + AGAIN_SECONDS
            return False
        running.away_since = None
        return True

    def _start_instances(self, running: Running) -> None:
        """Start those that were not started yet, and remember all."""
        job = running.job
        running.instances = self._host.instances(job)
        lease = lease_of(job)
        for index, instance in enumerate(running.instances):
            if instance.was_started:
                continue
            command = running.job_type.command(job, index, self._host)
            self._tell_substitution(running, instance, command.launcher)
            _tell_gpus(job.document["instance_types"][index], instance, lease, index)
            instance.start(
                Spec(
                    argv=command.box.wrap(command.argv),
                    env=command.env,
                    cwd=str(command.box.ml),
                    sandboxed=command.box.sandboxed,
                    cpus=lease.cpus[index],
                    grace_seconds=running.job_type.grace_seconds,
                    max_seconds=self._seconds_left(running),
                    memory_bytes=lease.memory_of(index),
                    beside=command.beside,
                    shares_network=command.box.shares_network,
                )
            )
        if "started_again" not in job.document:
            now = self._host.clock.now()

            def edit(document: dict[str, Any]) -> None:
                document.setdefault("started", now)
                document["started_again"] = now

            self._change(running, edit)
        self._on_start(running.job)

    def _tell_substitution(self, running: Running, instance: Instance, launcher: Launcher) -> None:
        """Say in the job's log and tags what stands for its image, when that is something else."""
        if launcher.substitutes:
            instance.say(f"[millrace] {launcher.name} of this machine stands for the job's image")
            self._host.database.tag(running.job.arn, {LAUNCHER_TAG: launcher.name[:TAG_CHARACTERS]})

    def _seconds_left(self, running: Running) -> int | None:
        """What the job may still run: its limit covers all its starts, and its wait ends for good."""
        request, document = running.job.document["request"], running.job.document
        limit, wait = running.job_type.max_seconds(request), running.job_type.max_wait_seconds(request)
        left = [] if limit is None else [limit - document.get("ran_seconds", 0)]
        if wait is not None:
            left.append(running.job.created + wait - self._host.clock.now())
        return max(1, round(min(left))) if left else None

    def _wait_is_over(self, running: Running) -> bool:
        wait = running.job_type.max_wait_seconds(running.job.document["request"])
        return wait is not None and self._host.clock.now() >= running.job.created + wait

    def _when_running(self, running: Running) -> None:
        if not running.instances:
            self._start_instances(running)
        job = running.job
        ended = [instance.ended() for instance in running.instances]
        if all(end is not None for end in ended):
            self._after_running(running)
            return
        self._befall(running)
        # One instance's failure ends the job, as on SageMaker; its peers would wait for it forever.
        failed = any(end is not None and end.exit_code != 0 for end in ended)
        over = failed or job.document.get("interrupting") or self._is_cut_short(running) or self._wait_is_over(running)
        if (job.status == "Stopping" or over) and not running.stop_sent:
            alive = [instance for instance, end in zip(running.instances, ended, strict=True) if end is None]
            running.stop_sent = all([instance.stop() for instance in alive])  # noqa: C419 - every one is to be asked
        self._sync(running)

    def _ran_seconds(self, running: Running) -> float:
        return self._host.clock.now() - float(running.job.document["started_again"])

    def _is_cut_short(self, running: Running) -> bool:
        return running.fault.is_cut_short(self._ran_seconds(running))

    def _befall(self, running: Running) -> None:
        """Let happen to a running job what the fault plan has settled for it."""
        job, fault = running.job, running.fault
        if not fault.strikes(self._ran_seconds(running), job.document.get("struck", 0)):
            return
        if fault.interrupts and not running.job_type.is_spot(job.document["request"]):
            return  # only spot instances are taken away

        def edit(document: dict[str, Any]) -> None:
            document["struck"] = document.get("struck", 0) + 1
            if fault.interrupts:
                document["interrupting"] = True

        self._change(running, edit)
        log.warning("fault %s strikes %s", fault.word, job.name)
        if not fault.interrupts:
            fault.strike(running.instances)

    def _sync(self, running: Running) -> None:
        """Keep the folders in S3 that are to be kept there, about once a second."""
        if running.syncs is None:
            running.syncs = running.job_type.syncs(running.job, self._host)
        if not running.syncs or time.monotonic() < running.next_sync:
            return
        if running.sync_work is not None:
            if not running.sync_work.done():
                return
            self._is_taken(running, running.sync_work)  # the next look finds what this one has left
        running.next_sync = time.monotonic() + SYNC_SECONDS
        running.sync_work = self._pool.submit(_look, list(running.syncs), final=False)

    def _after_running(self, running: Running) -> None:
        """All instances have ended: start the job again, or see what it has left."""
        if running.sync_work is not None:
            if not running.sync_work.done():
                return
            self._is_taken(running, running.sync_work)
        running.work = running.sync_work = None
        if self._restart_status(running):
            self._set_phase(running, "restarting")
            return
        job_type, now = running.job_type, self._host.clock.now()
        outcome = outcomes.outcome(
            running.job, _ended(running), running.fault.ending, self._wait_is_over(running),
            lambda ended: job_type.failure_reason(running.job, self._host, ended),
        )  # fmt: skip

        def edit(document: dict[str, Any]) -> None:
            document["phase"] = "uploading"
            document["outcome"] = outcome  # from now on a stop comes too late to change it
            transition(document, now, "Uploading", "Uploading generated artifacts")

        self._change(running, edit)

    def _restart_status(self, running: Running) -> str:
        retries = running.job_type.retries(running.job.document["request"])
        return outcomes.restart_status(running.job, _ended(running), retries, self._wait_is_over(running))

    def _when_restarting(self, running: Running) -> None:
        """Keep what the job has saved, give its instances back, and queue it again."""
        if not self._last_look(running):
            return
        running.instances = running.instances or self._host.instances(running.job)
        status = self._restart_status(running) or "Restarting"
        now = self._host.clock.now()
        ran = outcomes.longest(_ended(running))
        lease = lease_from(running.job.document["lease"])
        over = [instance.folder for instance in running.instances]

        def edit(document: dict[str, Any]) -> None:
            document["phase"] = "queued"
            document["restarts"] = document.get("restarts", 0) + 1
            document["ran_seconds"] = document.get("ran_seconds", 0) + ran
            for gone in ("lease", "started_again", "interrupting"):
                document.pop(gone, None)
            if status == "Interrupted":
                document["interrupted"] = now
            else:
                document["retried"] = document.get("retried", 0) + 1
            transition(document, now, status, outcomes.RESTARTS[status])
            transition(document, now, "Starting", "Preparing the instances for training again")

        self._change(running, edit)
        self._free(lease)
        running.reset()
        self._pool.submit(job_trees.remove, over)

    def _last_look(self, running: Running) -> bool:
        """See the last changes of synced folders to S3; True when that is done."""
        if running.syncs is None:
            running.syncs = running.job_type.syncs(running.job, self._host)
        if not running.syncs:
            return True
        if running.sync_work is None:
            if time.monotonic() < running.again_at:
                return False
            running.sync_work = self._pool.submit(_look, list(running.syncs), final=True)
        if not running.sync_work.done():
            return False
        if not self._is_taken(running, running.sync_work):
            running.sync_work = None
            return False
        return True

    def _when_uploading(self, running: Running) -> None:
        job, job_type = running.job, running.job_type
        running.instances = running.instances or self._host.instances(job)
        if not self._last_look(running):
            return
        ended = _ended(running)
        status, reason = job.document["outcome"]
        uploads = {
            "Completed": True,
            "Stopped": job_type.uploads_when_stopped,
            "Failed": job_type.uploads_when_failed,
        }
        changes: dict[str, Any] = {}
        if uploads[status] or running.work is not None:  # an upload that has begun is seen to its end
            if running.work is None:
                if time.monotonic() < running.again_at:
                    return
                running.work = self._begin(job_type.harvest, job, self._host)
            if not running.work.done():
                return
            if not self._is_taken(running, running.work):
                running.work = None
                return
            changes = running.work.result()
        changes["ran_seconds"] = job.document.get("ran_seconds", 0) + outcomes.longest(ended)
        if any(end.ended_by == "limit" for end in ended):
            changes["limit"] = MAX_WAIT if self._wait_is_over(running) else MAX_RUNTIME
        elif self._wait_is_over(running) and status == "Stopped" and job.status != "Stopping":
            changes["limit"] = MAX_WAIT
        self._finish(running, status, reason, changes)

    def _finish(self, running: Running, status: str, reason: str | None, changes: Mapping[str, Any] = {}) -> None:
        """Record a job's end, and clear away what it worked on."""
        job = running.job
        if job.document["phase"] == "done":
            return  # whatever failed after the end was recorded: it stays as it was
        instances = running.instances or (self._host.instances(job) if "lease" in job.document else [])
        for instance in instances:
            if instance.was_started and instance.ended() is None:
                instance.kill()
        concluded = running.job_type.conclude(job, self._host)
        message = "\n".join(filter(None, (read_message(i.folder / "ml", "output/message") for i in instances)))
        now = self._host.clock.now()
        warm_pool = self._pools.left_by(job, status, now)

        def edit(document: dict[str, Any]) -> str:
            document.update(concluded)
            document.update(changes)
            if warm_pool:
                document["warm_pool"] = warm_pool
            document["phase"] = "done"
            document["ended"] = now
            if message:
                document["exit_message"] = message[:MESSAGE_BYTES]
            if reason:
                document["reason"] = reason[:MESSAGE_BYTES]
            transition(
                document, now, changes.get("limit", status), reason or f"{running.job_type.prefix} {status.lower()}"
            )
            document["transitions"][-1]["EndTime"] = now
            return status

        # The end is on record before anything is removed: a kill in between must not upload half a tree.
        self._change(running, edit)
        if self._running.get(running.key) is running:  # else it was deleted already, and another took its name
            self._running.pop(running.key)
        if warm_pool and warm_pool["Status"] == AVAILABLE:
            self._pools.keep(running.job)
        elif "lease" in job.document:
            self._free(lease_from(job.document["lease"]))
        self._pool.submit(self._pools.drop_cache, running.job)
        self._pool.submit(job_trees.remove, job_trees.every_start(self._host.folder(job)))

    def _free(self, lease: Lease) -> None:
        """Give a lease back, and look at once at those who wait for one."""
        self._leases.free(lease)
        self._next_queue = 0.0
        self._wake.set()

    def _set_phase(self, running: Running, phase: str, secondary: str | None = None, message: str = "") -> None:
        now = self._host.clock.now()

        def edit(document: dict[str, Any]) -> None:
            document["phase"] = phase
            if secondary:
                transition(document, now, secondary, message)

        self._change(running, edit)

    def _change(self, running: Running, edit: Callable[[dict[str, Any]], str | None]) -> None:
        """Commit a change of the job, and go on with what it is then."""
        changed = self._host.database.change(running.job.kind, running.job.name, edit)
        if changed is not None:
            running.job = changed


def _tell_gpus(instance_type: str, instance: Instance, lease: Lease, index: int) -> None:
    """Say in the instance's log when it has fewer GPUs than its type."""
    wanted, given = capacity.share_of(instance_type).gpus, len(lease.gpus_of(index))
    if given < wanted:
        instance.say(f"[millrace] {instance_type} has {wanted} GPUs; of this machine the instance gets {given}")


def _look(syncs: list[FolderSync], *, final: bool) -> None:
    for sync in syncs:
        sync.look(final=final)


def _ended(running: Running) -> list[Ended]:
    """How those of its instances ended that have."""
    return [end for instance in running.instances if (end := instance.ended()) is not None]
