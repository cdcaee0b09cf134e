"""Monitoring schedules and the list of their executions: the calls. `monitoring_scheduler.py` runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace.runtime import data_capture, monitoring_definition, schedule_times
from millrace.runtime.clock import Clock
from millrace.runtime.config import ACCOUNT
from millrace.runtime.database import AlreadyExists, Database, Query, Resource
from millrace.runtime.errors import ResourceInUse, ResourceNotFound, ValidationException
from millrace.runtime.monitoring_scheduler import EXECUTION, SCHEDULE, MonitoringScheduler

from .listing import page

FILTERS = {
    "EndpointName": "$.endpoint", "MonitoringJobDefinitionName": "$.definition", "MonitoringTypeEquals": "$.type",
}  # fmt: skip
EXECUTION_FILTERS = {**FILTERS, "MonitoringScheduleName": "$.schedule"}
EXCERPT = {"endpoint": "$.endpoint", "definition": "$.definition", "type": "$.type"}
EXECUTION_EXCERPT = {
    **EXCERPT, "schedule": "$.schedule", "scheduled": "$.scheduled", "job": "$.job", "reason": "$.reason",
}  # fmt: skip


class MonitoringSchedules:
    """The operations."""

    def __init__(self, database: Database, clock: Clock, scheduler: MonitoringScheduler) -> None:
        self._database = database
        self._clock = clock
        self._scheduler = scheduler

    def table(self) -> dict[str, Callable[[dict[str, Any], str], dict[str, Any] | None]]:
        return {
            "CreateMonitoringSchedule": self.create,
            "DescribeMonitoringSchedule": self.describe,
            "ListMonitoringSchedules": self.list,
            "UpdateMonitoringSchedule": self.update,
            "StartMonitoringSchedule": self.start,
            "StopMonitoringSchedule": self.stop,
            "DeleteMonitoringSchedule": self.delete,
            "ListMonitoringExecutions": self.executions,
        }

    def create(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        name = params["MonitoringScheduleName"]
        arn = f"arn:aws:sagemaker:{region}:{ACCOUNT}:{SCHEDULE}/{name.lower()}"
        existing = self._database.get(SCHEDULE, name)
        if existing is None:
            document = {"region": region, "revision": 0, **self._checked("CreateMonitoringSchedule", params)}
            tags = {tag["Key"]: tag["Value"] for tag in params.get("Tags") or []}
            try:
                self._database.insert(SCHEDULE, name, arn, "Scheduled", document, tags)
            except AlreadyExists as clash:
                existing = clash.resource
            else:
                self._scheduler.notice()
                return {"MonitoringScheduleArn": arn}
        raise ResourceInUse(
            "Monitoring schedule names must be unique within an AWS account and region, and a schedule with this name "
            f"already exists ({existing.arn})"
        )

    def update(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        schedule = self._find(params)
        checked = self._checked("UpdateMonitoringSchedule", params)
        self._change(schedule.name, None, checked)
        return {"MonitoringScheduleArn": schedule.arn}

    def start(self, params: dict[str, Any], region: str) -> None:
        schedule = self._find(params)
        if schedule.status != "Scheduled":
            self._change(schedule.name, "Scheduled", {"next": self._next(schedule.document["config"])})

    def stop(self, params: dict[str, Any], region: str) -> None:
        """No execution is started any more; one that runs goes on."""
        self._change(self._find(params).name, "Stopped", {})

    def delete(self, params: dict[str, Any], region: str) -> None:
        """Its executions stay listed, and one that runs goes on."""
        self._database.delete(SCHEDULE, self._find(params).name)

    def describe(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        schedule = self._find(params)
        by_schedule = {"$.schedule": schedule.name}
        last = self._database.list(
            EXECUTION, Query(document_equals=by_schedule, sort_by="ScheduledTime", excerpt=EXECUTION_EXCERPT, limit=1)
        )
        return {
            **_summary(schedule),
            "MonitoringScheduleConfig": schedule.document["config"],
            "LastMonitoringExecutionSummary": _execution_summary(last[0]) if last else None,
        }

    def list(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        found, token = page(self._database, SCHEDULE, params, FILTERS, EXCERPT)
        return {"MonitoringScheduleSummaries": [_summary(row) for row in found], "NextToken": token}

    def executions(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        times = {"ScheduledTime": "$.scheduled"}
        found, token = page(self._database, EXECUTION, params, EXECUTION_FILTERS, EXECUTION_EXCERPT, times)
        return {"MonitoringExecutionSummaries": [_execution_summary(row) for row in found], "NextToken": token}

    def _checked(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """A MonitoringScheduleConfig, and what the schedule's document says of it.

        Raises:
            ValidationException: SageMaker would refuse it, or this runtime does not offer it.
        """
        config = params["MonitoringScheduleConfig"]
        definition = monitoring_definition.scheduled(config, self._database)
        monitoring_definition.check(operation, definition)
        due = self._next(config)
        schedule_times.window_of(config, definition.source, due)
        if definition.endpoint is not None:
            self._must_capture(operation, definition.endpoint)
        return {
            "config": config,
            "next": due,
            "endpoint": definition.endpoint,
            "definition": config.get("MonitoringJobDefinitionName"),
            "type": definition.type.monitoring_type,
        }

    def _must_capture(self, operation: str, name: str) -> None:
        endpoint = self._database.get("endpoint", name)
        if endpoint is None:
            raise ValidationException(f'Could not find endpoint "{name}".')
        settings = [endpoint.document.get(member) for member in ("capture", "next_capture")]
        if not any(map(data_capture.of_config, settings)):
            raise ValidationException(
                f"{operation}: the endpoint {name} captures no data; create it with, or update it to, an endpoint "
                "configuration with a DataCaptureConfig"
            )

    def _next(self, config: dict[str, Any]) -> float:
        return schedule_times.times_of(config).after(self._clock.now())

    def _change(self, name: str, status: str | None, changes: dict[str, Any]) -> None:
        def edit(document: dict[str, Any]) -> str | None:
            document.update(changes)
            document["revision"] += 1
            return status

        self._database.change(SCHEDULE, name, edit)
        self._scheduler.notice()

    def _find(self, params: dict[str, Any]) -> Resource:
        name = params["MonitoringScheduleName"]
        found = self._database.get(SCHEDULE, name)
        if found is None:
            raise ResourceNotFound(f'Could not find monitoring schedule "{name}".')
        return found


def _summary(schedule: Resource) -> dict[str, Any]:
    return {
        "MonitoringScheduleName": schedule.name,
        "MonitoringScheduleArn": schedule.arn,
        "MonitoringScheduleStatus": schedule.status,
        "CreationTime": schedule.created,
        "LastModifiedTime": schedule.modified,
        "EndpointName": schedule.document["endpoint"],
        "MonitoringJobDefinitionName": schedule.document["definition"],
        "MonitoringType": schedule.document["type"],
    }


def _execution_summary(execution: Resource) -> dict[str, Any]:
    document = execution.document
    return {
        "MonitoringScheduleName": document["schedule"],
        "ScheduledTime": document["scheduled"],
        "CreationTime": execution.created,
        "LastModifiedTime": execution.modified,
        "MonitoringExecutionStatus": execution.status,
        "ProcessingJobArn": document["job"],
        "EndpointName": document["endpoint"],
        "FailureReason": document["reason"],
        "MonitoringJobDefinitionName": document["definition"],
        "MonitoringType": document["type"],
    }
