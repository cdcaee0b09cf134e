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
class JobKind:
    """One kind of SageMaker job. Operations are boto3's method names."""

    name: str
    create: str
    describe: str
    stop: str
    list: str
    operation: str
    """The API's name of `create`, which preflight checks against."""
    name_field: str
    arn_field: str
    status_field: str
    log_group: str
    active: frozenset[str]
    success: frozenset[str]
    failure: frozenset[str]
    stopped: frozenset[str]
    missing_codes: frozenset[str]
    """Error codes with which Describe says that there is no such job."""
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


def _job(name: str, prefix: str, snake: str) -> JobKind:
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
        log_group=f"/aws/sagemaker/{prefix}s",
        active=frozenset({"InProgress", "Stopping"}),
        success=frozenset({"Completed"}),
        failure=frozenset({"Failed"}),
        stopped=frozenset({"Stopped"}),
        missing_codes=frozenset({"ValidationException", "ResourceNotFound"}),
    )


TRAINING = _job("training", "TrainingJob", "training_job")
PROCESSING = _job("processing", "ProcessingJob", "processing_job")
TRANSFORM = _job("transform", "TransformJob", "transform_job")
KINDS: Mapping[str, JobKind] = {kind.name: kind for kind in (TRAINING, PROCESSING, TRANSFORM)}
ALREADY_EXISTS_CODES = frozenset({"ResourceInUse"})
ALREADY_EXISTS_TEXT = "already exist"
"""Endpoints, their configurations and models say it in a ValidationException instead."""
