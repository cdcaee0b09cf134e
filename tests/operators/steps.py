"""A processing step for tests of what happens around a job, in a deployment of its own; most of its jobs cost no process."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from airflow.sdk import Asset

from millrace.runtime import fault_plan
from millrace.runtime.fault_plan import Rule
from millrace.runtime.faults import Fault, HoldJob
from millrace.sagemaker import ledger
from operators.processing import ProcessingOperator, split_uri
from tests.operators.attempts import Attempts
from tests.runtime.jobs import Jobs
from tests.runtime.process import RuntimeProcess

COUNTER = itertools.count()
ASSET = Asset("numbers")
HELD = HoldJob(hold_seconds=600)
"""A job that waits for instances until it is stopped."""


@dataclass
class Steps:
    """The steps of one deployment. A worker's environment must name it (see the fixture `steps`)."""

    runtime: RuntimeProcess
    jobs: Jobs
    deployment: str = field(default_factory=lambda: f"steps{next(COUNTER)}")

    def deal(self, *dealt: Fault, operation: str = "CreateProcessingJob", times: int = 99) -> None:
        """Let these faults, one after the other, befall what this deployment asks for; none: all goes well again."""
        rules = [Rule(fault, operation=operation, name=f"{self.deployment}-*", times=times) for fault in dealt]
        fault_plan.write(self.runtime.data_dir, rules)

    def deal_to(self, name: str, fault: Fault, *, operation: str) -> None:
        """Let a fault befall the next call of an operation about this name."""
        fault_plan.write(self.runtime.data_dir, [Rule(fault, operation=operation, name=name, times=1)])

    def operator(self, **options: Any) -> ProcessingOperator:
        told: dict[str, Any] = {
            "task_id": "step", "module": "timeit", "packages": ("tests.contracts.job_code",), "outputs": ("out",),
            "arguments": ["-n", "1", "-r", "1", "print('worked')"], "instance_type": "ml.m5.large", "poll_seconds": 0.5,
        }  # fmt: skip
        return ProcessingOperator(**told | options)

    def names(self) -> list[str]:
        """Every job that was ever made here, the oldest first."""
        found = self.jobs.sagemaker.list_processing_jobs(
            NameContains=f"{self.deployment}-", MaxResults=100, SortBy="CreationTime", SortOrder="Ascending"
        )
        return [row["ProcessingJobName"] for row in found["ProcessingJobSummaries"]]

    def files(self, uri: str) -> list[str]:
        """The names of the objects below an S3 prefix."""
        bucket, prefix = split_uri(uri)
        found = self.jobs.s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])
        return [item["Key"].removeprefix(f"{prefix}/") for item in found]

    def status(self, name: str) -> str:
        return str(self.jobs.sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"])

    def account(self, attempts: Attempts) -> list[ledger.Entry]:
        """What is entered for the run of some attempts."""
        found = ledger.read_run(self.jobs.s3, "bucket", self.deployment, attempts.ti.dag_id, attempts.run)
        assert not found.unreadable
        return list(found.entries)


@dataclass(frozen=True)
class Finished:
    """A step whose job has really run; its outlet is ASSET."""

    operator: ProcessingOperator
    attempts: Attempts
    result: dict[str, Any]
    steps: Steps
