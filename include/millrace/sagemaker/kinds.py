"""The one table of job kinds: operations, fields and states. Whoever needs one of these reads it here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Outcome(Enum):
    """What a status means for whoever waits."""

    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of thing that takes its time: a job or an endpoint. Operations are boto3's method names."""

    name: str
    create: str
    describe: str
    list: str
    operation: str
    """The API's name of `create`, which preflight checks against."""
    name_field: str
    arn_field: str
    status_field: str
    summaries_field: str
    """The member of a listing that holds the summaries."""
    active: frozenset[str]
    """The states that pass by themselves."""
    success: frozenset[str]
    failure: frozenset[str]
    stopped: frozenset[str]
    missing_codes: frozenset[str] = frozenset({"ValidationException", "ResourceNotFound"})
    """Error codes with which Describe says that there is none of that name."""
    name_limit: int = 63

    def outcome(self, description: Mapping[str, Any]) -> Outcome:
        """What the status of a Describe answer means. A status that this table does not know counts as failed."""
        status = description.get(self.status_field)
        if status in self.active:
            return Outcome.ACTIVE
        if status in self.success:
            return Outcome.SUCCEEDED
        if status in self.stopped:
            return Outcome.STOPPED
        return Outcome.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind(Kind):
    """A kind of SageMaker job: it can be stopped, and it leaves a log."""

    stop: str
    stopping: str = "Stopping"
    """The active state that ends in one of `stopped`."""
    log_group: str
    start_field: str
    end_field: str
    """AWS bills the time from `start_field` to `end_field`, on every instance."""
    cluster: tuple[str, ...]
    """The members that lead to the instances, in a request and a description alike."""


def _job(name: str, prefix: str, snake: str, *cluster: str) -> JobKind:
    return JobKind(
        name=name,
        create=f"create_{snake}",
        describe=f"describe_{snake}",
        stop=f"stop_{snake}",
        list=f"list_{snake}s",
        operation=f"Create{prefix}",
        name_field=f"{prefix}Name",
        arn_field=f"{prefix}Arn",
        status_field=f"{prefix}Status",
        summaries_field=f"{prefix}Summaries",
        log_group=f"/aws/sagemaker/{prefix}s",
        start_field=f"{prefix.removesuffix('Job')}StartTime",
        end_field=f"{prefix.removesuffix('Job')}EndTime",
        cluster=cluster,
        active=frozenset({"InProgress", "Stopping"}),
        success=frozenset({"Completed"}),
        failure=frozenset({"Failed"}),
        stopped=frozenset({"Stopped"}),
    )


TRAINING = _job("training", "TrainingJob", "training_job", "ResourceConfig")
PROCESSING = _job("processing", "ProcessingJob", "processing_job", "ProcessingResources", "ClusterConfig")
TRANSFORM = _job("transform", "TransformJob", "transform_job", "TransformResources")
KINDS: Mapping[str, JobKind] = {kind.name: kind for kind in (TRAINING, PROCESSING, TRANSFORM)}
ENDPOINT = Kind(
    name="endpoint",
    create="create_endpoint",
    describe="describe_endpoint",
    list="list_endpoints",
    operation="CreateEndpoint",
    name_field="EndpointName",
    arn_field="EndpointArn",
    status_field="EndpointStatus",
    summaries_field="Endpoints",
    active=frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}),
    success=frozenset({"InService"}),
    failure=frozenset({"Failed", "OutOfService", "UpdateRollbackFailed"}),
    stopped=frozenset(),
)
ALREADY_EXISTS_CODES = frozenset({"ResourceInUse"})
ALREADY_EXISTS_TEXT = "already exist"
"""Endpoints, their configurations and models say it in a ValidationException instead."""
