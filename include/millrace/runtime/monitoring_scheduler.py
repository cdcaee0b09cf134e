"""Starts the executions of monitoring schedules at their times, and follows each one's processing job to its end.

One thread looks at every schedule about once a second, on the runtime's clock. An execution is on record before its job is
created, and both have the name that follows from the scheduled time, so that a runtime that is killed anywhere goes on where
it was. Executions of one schedule run one after the other. Those that were missed (the runtime was down, or its clock was
advanced) are made up for, oldest first, as far as they are less than 24 hours late; older ones are skipped.

What it does not do: it answers no calls (`resources/monitoring_schedules.py`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from . import monitoring_definition, monitoring_execution, schedule_times
from .config import ACCOUNT
from .database import AlreadyExists, Resource
from .errors import AwsError, JobFailed
from .jobs import MESSAGE_BYTES, Host
from .monitoring_execution import Execution
from .schedule_times import DAY
from .storage import StorageAway

log = logging.getLogger(__name__)
SCHEDULE, EXECUTION = "monitoring-schedule", "monitoring-execution"
PROCESSING_JOB = "processing-job"
ACTIVE = ("Pending", "InProgress", "Stopping")
LOOK_SECONDS = 1.0
SETTLE_SECONDS = 15
"""An execution starts so much later than its time, when what was captured before that time is in S3. SageMaker may take 20
minutes."""
CreateJob = Callable[[dict[str, Any], str], dict[str, Any]]


class MonitoringScheduler:
    """One thread for all schedules."""

    def __init__(self, host: Host, create_job: CreateJob) -> None:
        """
        Args:
            create_job: CreateProcessingJob.
        """
        self._host = host
        self._database = host.database
        self._create_job = create_job
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop, name="monitoring-scheduler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the loop; executions go on as jobs do, and are followed again by the next life."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout=10)

    def notice(self) -> None:
        """Look at once: a schedule was created or changed."""
        self._wake.set()

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._each((SCHEDULE, ("Scheduled",)), self._begin_due)
            self._each((EXECUTION, ACTIVE), self._follow)
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()

    def _each(self, which: tuple[str, tuple[str, ...]], step: Callable[[Resource], None]) -> None:
        kind, statuses = which
        for resource in self._database.all(kind, *statuses):
            try:
                step(resource)
            except StorageAway as error:
                log.warning("%s %s goes on when its storage does: %s", kind, resource.name, error)
            except Exception:
                log.exception("%s %s is looked at again later", kind, resource.name)

    def _begin_due(self, schedule: Resource) -> None:
        """Record the next execution of a schedule if its time has come, and when the one after it is due."""
        due, now = schedule.document["next"], self._host.clock.now()
        times = schedule_times.times_of(schedule.document["config"])
        if now < due + (0 if times.is_once else SETTLE_SECONDS) or self._is_executing(schedule):
            return
        if due < now - DAY and not times.is_once:
            due = times.after(now - DAY)
            log.warning("schedule %s goes on with the last 24 hours; what was due before is skipped", schedule.name)
        self._record(schedule, due)

        def edit(document: dict[str, Any]) -> str | None:
            if document["revision"] != schedule.document["revision"]:
                return None  # it was updated, stopped or started meanwhile
            document["next"] = times.after(due)
            return "Stopped" if times.is_once else None

        self._database.change(SCHEDULE, schedule.name, edit, touch=False)

    def _is_executing(self, schedule: Resource) -> bool:
        return any(
            execution.document["schedule"] == schedule.name for execution in self._database.all(EXECUTION, *ACTIVE)
        )

    def _record(self, schedule: Resource, due: float) -> None:
        document, name = schedule.document, monitoring_execution.job_name(schedule, due)
        config = document["config"]
        recorded = {
            "schedule": schedule.name,
            "scheduled": due,
            "region": document["region"],
            "config": config,
            "endpoint": document["endpoint"],
            "definition": document["definition"],
            "type": document["type"],
        }
        arn = f"arn:aws:sagemaker:{document['region']}:{ACCOUNT}:{EXECUTION}/{name}"
        try:
            self._database.insert(EXECUTION, name, arn, "Pending", recorded, {})
        except AlreadyExists:
            return  # a kill came between this and the schedule's next time

    def _follow(self, execution: Resource) -> None:
        job = self._database.get(PROCESSING_JOB, execution.name)
        try:
            if job is None:
                self._create(execution)
                return
            status = self._status(execution, job)
        except (JobFailed, AwsError) as error:
            self._settle(execution, "Failed", str(error))
            return
        if status != execution.status or "job" not in execution.document:
            self._settle(execution, status, job.document.get("reason"), job.arn)

    def _create(self, execution: Resource) -> None:
        """Create the job of an execution that has none yet."""
        document = execution.document
        if "job" in document:
            raise JobFailed(f"ClientError: the processing job {execution.name} was deleted")
        definition = monitoring_definition.scheduled(document["config"], self._database)
        request = monitoring_execution.processing_request(
            definition,
            Execution(
                schedule=document["schedule"],
                job_name=execution.name,
                scheduled=document["scheduled"],
                window=schedule_times.window_of(document["config"], definition.source, document["scheduled"]),
            ),
            self._database,
            self._host.objects,
        )
        created = self._create_job(request, document["region"])
        self._settle(execution, "InProgress", None, created["ProcessingJobArn"])

    def _status(self, execution: Resource, job: Resource) -> str:
        """An execution's status by that of its job."""
        if job.status != "Completed":
            return job.status
        uri = job.document["request"]["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
        return "CompletedWithViolations" if monitoring_execution.violations_in(uri, self._host.objects) else "Completed"

    def _settle(self, execution: Resource, status: str, reason: str | None, job_arn: str | None = None) -> None:
        def edit(document: dict[str, Any]) -> str:
            if job_arn:
                document["job"] = job_arn
            if reason:
                document["reason"] = reason[:MESSAGE_BYTES]
            return status

        self._database.change(EXECUTION, execution.name, edit)
        self._wake.set()  # the schedule's next one may be due
