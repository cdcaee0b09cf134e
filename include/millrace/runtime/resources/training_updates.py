"""UpdateTrainingJob: how long the warm pool that a job has left is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace.runtime.database import Database
from millrace.runtime.errors import ValidationException
from millrace.runtime.refuse import unless_offered
from millrace.runtime.warm_pools import WarmPools

OPERATION = "UpdateTrainingJob"


class TrainingUpdates:
    """The one operation that changes a training job; other settings than the warm pool's are refused by name."""

    def __init__(self, database: Database, pools: WarmPools) -> None:
        self._database = database
        self._pools = pools

    def table(self) -> dict[str, Callable[[dict[str, Any], str], dict[str, Any]]]:
        return {OPERATION: self.update}

    def update(self, params: dict[str, Any], region: str) -> dict[str, Any]:
        unless_offered(OPERATION, params, ("TrainingJobName", "ResourceConfig"))
        job = self._database.get("training-job", params["TrainingJobName"])
        if job is None:
            raise ValidationException("Requested resource not found.")
        seconds = (params.get("ResourceConfig") or {}).get("KeepAlivePeriodInSeconds")
        if seconds is None:
            raise ValidationException(
                f"{OPERATION}: ResourceConfig.KeepAlivePeriodInSeconds is needed; 0 ends the pool"
            )
        if not self._pools.update(job.name, seconds):
            raise ValidationException(
                f"{OPERATION}: the training job {job.name} has no warm pool that is Available; only such a pool can be "
                "kept longer or ended"
            )
        return {"TrainingJobArn": job.arn}
