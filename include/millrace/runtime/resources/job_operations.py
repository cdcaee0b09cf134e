"""Create, Describe, Stop, List and Delete of the three kinds of job: one way for all, with each kind's own errors."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from millrace.runtime.config import ACCOUNT
from millrace.runtime.database import AlreadyExists, Resource
from millrace.runtime.errors import AwsError, ResourceInUse, ResourceLimitExceeded, ValidationException
from millrace.runtime.fault_plan import FaultPlan
from millrace.runtime.jobs import ACTIVE, Host, JobType, transition
from millrace.runtime.refuse import unless_offered
from millrace.runtime.supervisor import Supervisor

from .listing import page

LIST_FILTERS = (
    "NextToken", "MaxResults", "NameContains", "StatusEquals", "SortBy", "SortOrder", "CreationTimeAfter",
    "CreationTimeBefore", "LastModifiedTimeAfter", "LastModifiedTimeBefore",
)  # fmt: skip
SUMMARY_EXCERPT = {
    "ended": "$.ended",
    "secondary_status": "$.transitions[#-1].Status",
    "reason": "$.reason",
    "exit_message": "$.exit_message",
}
"""What a listing's row needs of a document, for every kind."""
Operation = Callable[[dict[str, Any], str], dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Wording:
    """AWS's own sentences for one kind of job; clients match on them."""

    missing: str
    duplicate: str


WORDINGS = {
    "TrainingJob": Wording(
        "Requested resource not found.",
        "Training job names must be unique within an AWS account and region, and a training job with this name "
        "already exists ({arn})",
    ),
    "ProcessingJob": Wording(
        "Could not find requested job with name: {name}",
        "Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})",
    ),
    "TransformJob": Wording(
        "Could not find requested job with name: {name}",
        "Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})",
    ),
}


class JobOperations:
    """The operations of one job type, by name."""

    def __init__(self, job_type: JobType, host: Host, supervisor: Supervisor, faults: FaultPlan) -> None:
        self._type = job_type
        self._host = host
        self._supervisor = supervisor
        self._faults = faults
        self._words = WORDINGS[job_type.prefix]
        self._name_field = f"{job_type.prefix}Name"

    def table(self) -> dict[str, Operation]:
        prefix = self._type.prefix
        return {
            f"Create{prefix}": self.create,
            f"Describe{prefix}": self.describe,
            f"Stop{prefix}": self.stop,
            f"List{prefix}s": self.list,
        } | ({f"Delete{prefix}": self.delete} if prefix != "TransformJob" else {})

    def create(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        job_type = self._type
        name = params[self._name_field]
        arn = f"arn:aws:sagemaker:{region}:{ACCOUNT}:{job_type.kind}/{name}"
        existing = self._host.database.get(job_type.kind, name)
        if existing is not None:
            raise ResourceInUse(self._words.duplicate.format(arn=existing.arn))
        job_type.check(params, self._host)
        types = job_type.instance_types(params)
        count = len(types)
        if count > self._host.config.max_instances:
            raise ResourceLimitExceeded(
                f"The account-level service limit for instances of one {job_type.kind} is "
                f"{self._host.config.max_instances} Instances, and this request asks for {count} Instances. Start the "
                "runtime with a larger --max-instances."
            )
        tags = {tag["Key"]: tag["Value"] for tag in params.get("Tags") or []}
        document = {
            "id": uuid.uuid4().hex,
            "region": region,
            "request": params,
            "instances": count,
            "instance_types": types,
            "phase": "queued",
            "transitions": [
                {"Status": "Starting", "StartTime": self._host.clock.now(), "StatusMessage": "Preparing the instances"}
            ],
            "fault": self._faults.settle(f"Create{job_type.prefix}", name),
        }
        try:
            job = self._host.database.insert(job_type.kind, name, arn, "InProgress", document, tags)
        except AlreadyExists as clash:
            raise ResourceInUse(self._words.duplicate.format(arn=clash.resource.arn)) from clash
        self._supervisor.submit(job_type, job)
        return {f"{job_type.prefix}Arn": job.arn}

    def describe(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        return self.description(self._find(params[self._name_field]))

    def description(self, job: Resource) -> dict[str, Any]:
        """What Describe answers for a job."""
        prefix = self._type.prefix
        return {
            **self._type.describe(job),
            f"{prefix}Arn": job.arn,
            f"{prefix}Status": job.status,
            "FailureReason": job.document.get("reason"),
            "CreationTime": job.created,
            "LastModifiedTime": job.modified,
        }

    def stop(self, params: dict[str, Any], region: str) -> None:
        job = self._find(params[self._name_field])

        now = self._host.clock.now()

        def edit(document: dict[str, Any]) -> str | None:
            if document["phase"] == "done":
                return None
            if document["phase"] in ("staging", "running") and document["transitions"][-1]["Status"] != "Stopping":
                transition(document, now, "Stopping", "Stopping the job")
            return "Stopping"

        # Stopping what is being stopped is no error: a stop may be repeated.
        if job.status not in ACTIVE:
            raise ValidationException(
                f"The request was rejected because the {self._type.kind.replace('-', ' ')} is in status {job.status}."
            )
        self._host.database.change(self._type.kind, job.name, edit)
        self._supervisor.notice(job)

    def list(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        prefix = self._type.prefix
        unless_offered(f"List{prefix}s", params, (*LIST_FILTERS, *self._type.list_filters))
        excerpt = {**SUMMARY_EXCERPT, **self._type.summary_excerpt}
        jobs, token = page(self._host.database, self._type.kind, params, self._type.list_filters, excerpt)
        summaries = [self._summary(job) for job in jobs]
        return {f"{prefix}Summaries": summaries, "NextToken": token}

    def delete(self, params: dict[str, Any], region: str) -> None:
        job = self._find(params[self._name_field])
        if job.status in ACTIVE:
            raise ValidationException(
                f"The job {job.name} is in status {job.status}; it can be deleted once it has ended. Stop it first."
            )
        if why := self._type.undeletable_because(job):
            raise ValidationException(why)
        self._host.database.delete(self._type.kind, job.name)
        self._supervisor.discard(job)

    def _find(self, name: str) -> Resource:
        job = self._host.database.get(self._type.kind, name)
        if job is None:
            raise self._missing(name)
        return job

    def _missing(self, name: str) -> AwsError:
        return ValidationException(self._words.missing.format(name=name))

    def _summary(self, job: Resource) -> dict[str, Any]:
        prefix = self._type.prefix
        return {
            self._name_field: job.name,
            f"{prefix}Arn": job.arn,
            f"{prefix}Status": job.status,
            "CreationTime": job.created,
            "LastModifiedTime": job.modified,
            f"{prefix.removesuffix('Job')}EndTime": job.document["ended"],
            **self._type.summary(job),
            "SecondaryStatus": job.document["secondary_status"],
            "FailureReason": job.document["reason"],
            "ExitMessage": job.document["exit_message"],
        }
