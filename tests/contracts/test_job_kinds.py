"""What every kind of job must satisfy: the table of kinds against botocore's model, and against jobs that really run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import botocore.exceptions
import pytest
from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import ServiceModel

from millrace.sagemaker import observe
from millrace.sagemaker.kinds import ALREADY_EXISTS_CODES, KINDS, JobKind, Outcome
from tests.runtime.jobs import CLUSTER, Jobs
from tests.runtime.process import IMAGE, ROLE

MODEL = ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")
OPERATIONS: dict[str, Any] = {xform_name(name): MODEL.operation_model(name) for name in MODEL.operation_names}
"""boto3's method names to the models of operations."""
OUTCOMES = {
    "active": Outcome.ACTIVE,
    "success": Outcome.SUCCEEDED,
    "failure": Outcome.FAILED,
    "stopped": Outcome.STOPPED,
}
# A status of a job that is being taken away: whoever waits for it waits in vain.
MAY_BE_ABSENT = {"Deleting", "DeleteFailed"}
SERVES = "def model_fn(d): return 1\ndef transform_fn(model, body, content_type, accept):\n    {act}\n    return body\n"


@dataclass(frozen=True)
class Small:
    """The least request of one kind, in three tempers."""

    jobs: Jobs
    kind: JobKind

    def request(self, name: str, temper: str) -> dict[str, Any]:
        """`ends` succeeds at once, `fails` fails at once, `lasts` runs until it is stopped."""
        script = {"ends": "true", "fails": "exit 3", "lasts": "sleep 300"}[temper]
        entrypoint = ["/bin/sh", "-c", script]
        if self.kind.name == "processing":
            return {
                "ProcessingJobName": name,
                "RoleArn": ROLE,
                "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": entrypoint},
                "ProcessingResources": {"ClusterConfig": CLUSTER},
            }
        if self.kind.name == "training":
            return {
                "TrainingJobName": name,
                "RoleArn": ROLE,
                "AlgorithmSpecification": {
                    "TrainingImage": IMAGE, "TrainingInputMode": "File", "ContainerEntrypoint": entrypoint,
                },
                "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
                "ResourceConfig": CLUSTER,
                "StoppingCondition": {"MaxRuntimeInSeconds": 600},
            }  # fmt: skip
        act = {"ends": "pass", "fails": "raise ValueError('no')", "lasts": "import time; time.sleep(300)"}[temper]
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": self.jobs.put(f"{name}/a.csv", b"1\n")}}
        return {
            "TransformJobName": name,
            "ModelName": self.jobs.model(SERVES.format(act=act)),
            "TransformInput": {"DataSource": source, "ContentType": "text/csv"},
            "TransformOutput": {"S3OutputPath": f"s3://bucket/{name}-out"},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        }

    def create(self, temper: str, name: str | None = None) -> str:
        name = name or self.jobs.name(self.kind.name)
        answer = getattr(self.jobs.sagemaker, self.kind.create)(**self.request(name, temper))
        assert answer[self.kind.arn_field].endswith(f"/{name}")
        return name

    def end(self, name: str) -> dict[str, Any]:
        return self.jobs.end(self.kind.name, name)

    def describe(self, name: str) -> dict[str, Any]:
        found = observe.describe(self.jobs.sagemaker, self.kind, name)
        assert found is not None
        return found


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def kind(request: pytest.FixtureRequest) -> JobKind:
    found: JobKind = request.param
    return found


@pytest.fixture
def small(jobs: Jobs, kind: JobKind) -> Small:
    return Small(jobs, kind)


def test_a_job_that_is_created_is_active_and_then_succeeds(small: Small) -> None:
    name = small.create("ends")
    first = small.describe(name)
    assert first[small.kind.name_field] == name
    assert small.kind.outcome(first) in (Outcome.ACTIVE, Outcome.SUCCEEDED)
    last = small.end(name)
    assert small.kind.outcome(last) is Outcome.SUCCEEDED, last.get("FailureReason")


def test_a_running_job_that_is_stopped_ends_stopped(small: Small) -> None:
    name = small.create("lasts")
    assert small.kind.outcome(small.describe(name)) is Outcome.ACTIVE
    getattr(small.jobs.sagemaker, small.kind.stop)(**{small.kind.name_field: name})
    last = small.end(name)
    assert small.kind.outcome(last) is Outcome.STOPPED
    assert last[small.kind.status_field] == "Stopped"


def test_a_job_whose_program_fails_has_failed_with_a_reason(small: Small) -> None:
    last = small.end(small.create("fails"))
    assert small.kind.outcome(last) is Outcome.FAILED
    assert last["FailureReason"]


def test_a_name_that_is_taken_is_refused_with_a_known_code_and_the_first_job_stands(small: Small) -> None:
    name = small.create("ends")
    first = small.end(name)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        small.create("fails", name)
    assert caught.value.response["Error"]["Code"] in ALREADY_EXISTS_CODES
    assert small.describe(name)["CreationTime"] == first["CreationTime"]
    assert small.kind.outcome(small.describe(name)) is Outcome.SUCCEEDED


def test_a_name_that_nobody_took_is_not_there(small: Small) -> None:
    assert observe.describe(small.jobs.sagemaker, small.kind, "never-made") is None


def test_a_job_of_one_kind_is_not_there_for_the_others(small: Small) -> None:
    name = small.create("ends")
    for other in KINDS.values():
        found = observe.describe(small.jobs.sagemaker, other, name)
        assert (found is not None) is (other is small.kind)


def test_jobs_are_listed_by_the_beginning_of_their_names(small: Small) -> None:
    prefix = small.jobs.name("listed")
    names = {small.create("ends", f"{prefix}-{number}") for number in range(2)}
    small.create("ends")
    listed = getattr(small.jobs.sagemaker, small.kind.list)(NameContains=prefix)
    (rows,) = (value for key, value in listed.items() if key.endswith("Summaries"))
    assert {row[small.kind.name_field] for row in rows} == names
    assert all(row[small.kind.status_field] for row in rows)


def test_the_log_of_a_job_lies_in_the_group_that_the_table_names(small: Small) -> None:
    name = small.create("ends")
    small.end(name)
    streams = small.jobs.logs.describe_log_streams(logGroupName=small.kind.log_group, logStreamNamePrefix=f"{name}/")[
        "logStreams"
    ]
    assert [re.sub(r"-\d+$", "", stream["logStreamName"]) for stream in streams] == [f"{name}/algo-1"]


def test_operations_and_fields_are_ones_that_botocore_knows(kind: JobKind) -> None:
    create, describe, stop, listing = (OPERATIONS[name] for name in (kind.create, kind.describe, kind.stop, kind.list))
    assert create.name == kind.operation
    for operation in (create, describe, stop):
        assert kind.name_field in operation.input_shape.required_members
    assert kind.arn_field in create.output_shape.members
    assert {kind.name_field, kind.arn_field, kind.status_field} <= set(describe.output_shape.members)
    assert "NameContains" in listing.input_shape.members
    assert kind.name_limit <= create.input_shape.members[kind.name_field].metadata["max"]


def test_error_codes_are_ones_that_the_operations_declare_or_any_may_give(kind: JobKind) -> None:
    common = {"ValidationException"}  # documented for every operation, declared by none
    declared = {shape.name for shape in OPERATIONS[kind.describe].error_shapes}
    assert kind.missing_codes <= declared | common
    assert {shape.name for shape in OPERATIONS[kind.create].error_shapes} >= ALREADY_EXISTS_CODES


def test_every_status_of_the_model_is_in_exactly_one_set_of_the_table(kind: JobKind) -> None:
    known = set(OPERATIONS[kind.describe].output_shape.members[kind.status_field].enum)
    sets = {name: getattr(kind, name) for name in OUTCOMES}
    placed = [status for statuses in sets.values() for status in statuses]
    assert len(placed) == len(set(placed))
    assert set(placed) <= known
    assert known - set(placed) <= MAY_BE_ABSENT
    for name, statuses in sets.items():
        assert {kind.outcome({kind.status_field: status}) for status in statuses} == {OUTCOMES[name]}
    for status in known - set(placed):
        assert kind.outcome({kind.status_field: status}) is Outcome.FAILED


@pytest.mark.parametrize("status", [None, "Paused", "completed", ""])
def test_a_status_that_the_table_does_not_know_counts_as_failed(kind: JobKind, status: str | None) -> None:
    assert kind.outcome({kind.status_field: status}) is Outcome.FAILED
    assert kind.outcome({}) is Outcome.FAILED


def test_the_kinds_share_no_operation_field_or_log_group() -> None:
    told_apart = ("create", "describe", "stop", "list", "operation", "name_field", "status_field", "log_group")
    for field in told_apart:
        assert len({getattr(kind, field) for kind in KINDS.values()}) == len(KINDS), field
    assert all(name == kind.name for name, kind in KINDS.items())
