"""Monitoring schedules, driven by a real boto3 client: their executions are processing jobs, and hours pass by the clock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.exceptions
import pytest

from millrace.runtime import clock
from tests.runtime.jobs import Jobs
from tests.runtime.process import RuntimeProcess, running, until
from tests.runtime.schedules import (
    HOURLY,
    INPUT,
    SNAKE,
    Schedules,
    batch,
    definition,
    definition_of,
    request_of,
    table,
)
from tests.runtime.test_data_capture import capture, when_captured
from tests.runtime.test_endpoints import ANSWERS, Endpoint

WINDOW = {"DataAnalysisStartTime": "-PT1H", "DataAnalysisEndTime": "-PT0H"}


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    """A runtime whose clock is nobody else's."""
    with running(tmp_path_factory.mktemp("timed")) as process:
        yield process


@pytest.fixture
def schedules(timed: RuntimeProcess) -> Iterator[Schedules]:
    found = Schedules(Jobs(timed))
    yield found
    for schedule in found.sagemaker.list_monitoring_schedules(MaxResults=100)["MonitoringScheduleSummaries"]:
        found.sagemaker.delete_monitoring_schedule(MonitoringScheduleName=schedule["MonitoringScheduleName"])


@pytest.fixture(scope="module")
def baseline(timed: RuntimeProcess) -> dict[str, Any]:
    return Schedules(Jobs(timed)).baseline("baseline")


def to_the_next_hour(runtime: RuntimeProcess) -> datetime:
    """Advance the runtime's clock past the next full hour, and return that hour."""
    now = datetime.now(UTC).timestamp() + clock.advanced(runtime.data_dir)
    left = 3600 - now % 3600
    clock.advance(runtime.data_dir, left + 20)
    return datetime.fromtimestamp(round(now + left), UTC)


def test_one_time_schedule_runs_once_and_again_when_it_is_started(
    schedules: Schedules, baseline: dict[str, Any]
) -> None:
    jobs = schedules.jobs
    jobs.put("once/part.csv.out", table(seed=1))
    name = schedules.create(
        schedules.define(batch("s3://bucket/once"), "s3://bucket/once-reports", baseline), "NOW", **WINDOW
    )
    (execution,) = schedules.ended(name)
    assert execution["MonitoringExecutionStatus"] == "Completed", execution.get("FailureReason")
    job = schedules.sagemaker.describe_processing_job(
        ProcessingJobName=execution["ProcessingJobArn"].rpartition("/")[2]
    )
    assert job["ProcessingJobStatus"] == "Completed"
    assert job["Environment"]["sagemaker_monitoring_schedule_name"] == name
    hour = execution["ScheduledTime"].astimezone(UTC).strftime("%Y/%m/%d/%H")
    written = jobs.s3.list_objects_v2(Bucket="bucket", Prefix=f"once-reports/{name}/{hour}/")["Contents"]
    assert {item["Key"].rpartition("/")[2] for item in written} >= {
        "constraint_violations.json", "constraints.json", "statistics.json",
    }  # fmt: skip
    described = schedules.sagemaker.describe_monitoring_schedule(MonitoringScheduleName=name)
    assert described["MonitoringScheduleStatus"] == "Stopped"
    assert described["LastMonitoringExecutionSummary"] == execution
    schedules.sagemaker.start_monitoring_schedule(MonitoringScheduleName=name)
    assert len(schedules.ended(name, 2)) == 2


def test_violations_are_told_by_the_status(schedules: Schedules, baseline: dict[str, Any]) -> None:
    schedules.jobs.put("moved/part.csv", table(shift=5.0))
    defined = schedules.define(batch("s3://bucket/moved"), "s3://bucket/moved-reports", baseline)
    (execution,) = schedules.ended(schedules.create(defined, "NOW", **WINDOW))
    assert execution["MonitoringExecutionStatus"] == "CompletedWithViolations", execution.get("FailureReason")
    job = schedules.jobs.end("processing", execution["ProcessingJobArn"].rpartition("/")[2])
    assert job["ExitMessage"] == "CompletedWithViolations: Job completed successfully with 1 violations."


def test_hours_that_pass_are_run_one_by_one_each_on_its_own_folder(
    schedules: Schedules, baseline: dict[str, Any], timed: RuntimeProcess
) -> None:
    defined = schedules.define(batch("s3://bucket/hours"), "s3://bucket/hours-reports", baseline)
    name = schedules.create(defined, HOURLY)
    first = to_the_next_hour(timed)
    (empty,) = schedules.ended(name)
    assert empty["MonitoringExecutionStatus"] == "Failed"
    assert empty["FailureReason"].startswith('No S3 objects found under S3 URL "s3://bucket/hours"')
    assert "ProcessingJobArn" not in empty
    assert empty["ScheduledTime"] == first
    for index in (0, 1):
        hour = (first + timedelta(hours=index)).strftime("%Y/%m/%d/%H")
        schedules.jobs.put(f"hours/{hour}/part.csv", table(shift=5.0 * index, seed=2))
    clock.advance(timed.data_dir, 2 * 3600)
    found = schedules.ended(name, 3)
    assert [row["ScheduledTime"] for row in found] == [first + timedelta(hours=index) for index in range(3)]
    assert [row["MonitoringExecutionStatus"] for row in found] == ["Failed", "Completed", "CompletedWithViolations"]
    after_first = schedules.executions(name, ScheduledTimeAfter=first, StatusEquals="Completed")
    assert [row["ScheduledTime"] for row in after_first] == [first + timedelta(hours=1)]
    before_last = schedules.executions(name, ScheduledTimeBefore=first + timedelta(hours=2))
    assert [row["ScheduledTime"] for row in before_last] == [first, first + timedelta(hours=1)]
    assert found[2]["CreationTime"] >= found[1]["LastModifiedTime"], "two executions of a schedule ran at once"


def test_hours_missed_while_the_runtime_was_down_are_made_up_for_within_a_day(own_runtime: RuntimeProcess) -> None:
    schedules = Schedules(Jobs(own_runtime))
    name = schedules.create(schedules.define(batch("s3://bucket/none"), "s3://bucket/reports"), HOURLY)
    own_runtime.kill()
    clock.advance(own_runtime.data_dir, 72 * 3600)
    own_runtime.start()
    times = [row["ScheduledTime"] for row in until(lambda: _all(schedules, name, 24), 60, "the missed hours")]
    now = datetime.now(UTC) + timedelta(seconds=clock.advanced(own_runtime.data_dir))
    assert times == [times[0] + timedelta(hours=index) for index in range(24)]
    assert now - times[0] < timedelta(hours=24)


def _all(schedules: Schedules, name: str, count: int) -> list[dict[str, Any]] | None:
    found = schedules.executions(name, MaxResults=100)
    return found if len(found) == count else None


def test_execution_outlives_a_killed_runtime_and_is_not_run_twice(own_runtime: RuntimeProcess) -> None:
    jobs = Jobs(own_runtime)
    schedules = Schedules(jobs)
    jobs.put("kept/part.csv", table())
    waits = {"ImageUri": "local/jobs", "ContainerEntrypoint": ["/bin/sleep", "3"]}
    defined = schedules.define(batch("s3://bucket/kept"), "s3://bucket/kept-reports", DataQualityAppSpecification=waits)
    name = schedules.create(defined, "NOW", **WINDOW)
    until(lambda: schedules.executions(name, StatusEquals="InProgress"), 30, "the execution")
    own_runtime.kill()
    own_runtime.start()
    (execution,) = schedules.ended(name)
    assert execution["MonitoringExecutionStatus"] == "Completed", execution.get("FailureReason")
    assert len(schedules.sagemaker.list_processing_jobs()["ProcessingJobSummaries"]) == 1


def test_stopped_job_stops_its_execution_and_a_stopped_schedule_runs_no_more(
    schedules: Schedules, timed: RuntimeProcess
) -> None:
    schedules.jobs.put("stopped/part.csv", table())
    waits = {"ImageUri": "local/jobs", "ContainerEntrypoint": ["/bin/sleep", "60"]}
    defined = schedules.define(
        batch("s3://bucket/stopped"), "s3://bucket/stopped-reports", DataQualityAppSpecification=waits
    )
    name = schedules.create(defined, HOURLY)
    to_the_next_hour(timed)
    (execution,) = until(lambda: schedules.executions(name, StatusEquals="InProgress"), 30, "the execution")
    schedules.sagemaker.stop_monitoring_schedule(MonitoringScheduleName=name)
    schedules.sagemaker.stop_processing_job(ProcessingJobName=execution["ProcessingJobArn"].rpartition("/")[2])
    assert schedules.ended(name)[0]["MonitoringExecutionStatus"] == "Stopped"
    other = schedules.create(schedules.define(batch("s3://bucket/none"), "s3://bucket/none-reports"), HOURLY)
    to_the_next_hour(timed)
    schedules.ended(other)  # so the hour has been looked at
    assert len(schedules.executions(name)) == 1


def test_inline_definition_updated_listed_and_deleted(schedules: Schedules, baseline: dict[str, Any]) -> None:
    schedules.jobs.put("inline/part.csv", table(seed=3))
    asked = definition("unused", batch("s3://bucket/inline"), "s3://bucket/inline-reports", baseline)
    inline = {
        "BaselineConfig": asked["DataQualityBaselineConfig"],
        "MonitoringInputs": [asked["DataQualityJobInput"]],
        "MonitoringOutputConfig": asked["DataQualityJobOutputConfig"],
        "MonitoringResources": asked["JobResources"],
        "MonitoringAppSpecification": asked["DataQualityAppSpecification"],
        "RoleArn": asked["RoleArn"],
        "Environment": {"publish_cloudwatch_metrics": "Disabled"},
    }
    name = schedules.jobs.name("schedule")
    sagemaker = schedules.sagemaker
    sagemaker.create_monitoring_schedule(
        MonitoringScheduleName=name, MonitoringScheduleConfig={"MonitoringJobDefinition": inline},
        Tags=[{"Key": "team", "Value": "risk"}],
    )  # fmt: skip
    arn = sagemaker.describe_monitoring_schedule(MonitoringScheduleName=name)["MonitoringScheduleArn"]
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "risk"}]
    with pytest.raises(sagemaker.exceptions.ResourceInUse):
        sagemaker.create_monitoring_schedule(
            MonitoringScheduleName=name, MonitoringScheduleConfig={"MonitoringJobDefinition": inline}
        )
    config = {"MonitoringJobDefinition": inline, "ScheduleConfig": {"ScheduleExpression": "NOW", **WINDOW}}
    sagemaker.update_monitoring_schedule(MonitoringScheduleName=name, MonitoringScheduleConfig=config)
    (execution,) = schedules.ended(name)
    assert execution["MonitoringExecutionStatus"] == "Completed", execution.get("FailureReason")
    (listed,) = sagemaker.list_monitoring_schedules(NameContains=name)["MonitoringScheduleSummaries"]
    assert (listed["MonitoringScheduleArn"], listed["MonitoringType"]) == (arn, "DataQuality")
    sagemaker.delete_monitoring_schedule(MonitoringScheduleName=name)
    for call in (sagemaker.describe_monitoring_schedule, sagemaker.delete_monitoring_schedule):
        with pytest.raises(sagemaker.exceptions.ResourceNotFound):
            call(MonitoringScheduleName=name)
    assert len(schedules.executions(name)) == 1  # the history stays


def test_definition_is_described_listed_and_deleted(schedules: Schedules) -> None:
    sagemaker = schedules.sagemaker
    asked = definition(schedules.jobs.name("definition"), batch("s3://bucket/a"), "s3://bucket/b", {})
    arn = sagemaker.create_data_quality_job_definition(**asked)["JobDefinitionArn"]
    name = asked["JobDefinitionName"]
    assert arn.endswith(f":data-quality-job-definition/{name}")
    described = sagemaker.describe_data_quality_job_definition(JobDefinitionName=name)
    assert {member: described[member] for member in asked} == asked
    rows = sagemaker.list_data_quality_job_definitions(NameContains=name)["JobDefinitionSummaries"]
    assert [row["MonitoringJobDefinitionName"] for row in rows] == [name]
    with pytest.raises(sagemaker.exceptions.ResourceInUse):
        sagemaker.create_data_quality_job_definition(**asked)
    sagemaker.delete_data_quality_job_definition(JobDefinitionName=name)
    with pytest.raises(sagemaker.exceptions.ResourceNotFound):
        sagemaker.describe_data_quality_job_definition(JobDefinitionName=name)


OTHERS = {
    "ModelQuality": ({"ProblemType": "Regression"}, {"GroundTruthS3Input": {"S3Uri": "s3://bucket/truth"}}),
    "ModelBias": ({"ConfigUri": "s3://bucket/config.json"}, {"GroundTruthS3Input": {"S3Uri": "s3://bucket/truth"}}),
    "ModelExplainability": ({"ConfigUri": "s3://bucket/config.json"}, {}),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_kinds_are_kept_as_they_were_given(schedules: Schedules, kind: str) -> None:
    application, truth = OTHERS[kind]
    source = batch("s3://bucket/a") | truth
    request = request_of(kind, schedules.jobs.name("definition"), source, "s3://bucket/b", {}, application)
    getattr(schedules.sagemaker, f"create_{SNAKE[kind]}_job_definition")(**request)
    describe = getattr(schedules.sagemaker, f"describe_{SNAKE[kind]}_job_definition")
    described = describe(JobDefinitionName=request["JobDefinitionName"])
    assert {member: described[member] for member in request} == request


def test_features_are_left_out_of_data_quality_only(schedules: Schedules) -> None:
    source = batch("s3://bucket/a")
    source["BatchTransformInput"]["ExcludeFeaturesAttribute"] = "size"
    schedules.define(source, "s3://bucket/b")
    application, truth = OTHERS["ModelBias"]
    with pytest.raises(botocore.exceptions.ClientError, match="ExcludeFeaturesAttribute is not offered"):
        definition_of("ModelBias", schedules.jobs, source | truth, "s3://bucket/b", {}, application)


def test_schedule_that_needs_ground_truth_takes_no_inline_definition(schedules: Schedules) -> None:
    asked = definition("unused", batch("s3://bucket/inline"), "s3://bucket/inline-reports", {})
    inline = {
        "MonitoringInputs": [asked["DataQualityJobInput"]],
        "MonitoringOutputConfig": asked["DataQualityJobOutputConfig"],
        "MonitoringResources": asked["JobResources"],
        "MonitoringAppSpecification": asked["DataQualityAppSpecification"],
        "RoleArn": asked["RoleArn"],
    }
    config = {"MonitoringJobDefinition": inline, "MonitoringType": "ModelQuality"}
    with pytest.raises(botocore.exceptions.ClientError, match="ModelQuality needs a GroundTruthS3Input"):
        schedules.sagemaker.create_monitoring_schedule(MonitoringScheduleName="no", MonitoringScheduleConfig=config)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"DataQualityJobInput": {}}, "either EndpointInput or BatchTransformInput"),
        ({"DataQualityAppSpecification": {"ImageUri": "x", "RecordPreprocessorSourceUri": "s3://bucket/x.py"}},
         "RecordPreprocessorSourceUri is not offered"),
        ({"DataQualityJobInput": {"BatchTransformInput": {**batch("s3://bucket/a")["BatchTransformInput"],
                                                          "S3InputMode": "Pipe"}}}, "S3InputMode='Pipe' is not offered"),
        ({"DataQualityJobInput": {"BatchTransformInput": {**batch("s3://bucket/a")["BatchTransformInput"],
                                                          "LocalPath": "/etc"}}}, "must be a path below"),
        ({"DataQualityJobInput": {"BatchTransformInput": {**batch("s3://bucket/a")["BatchTransformInput"],
                                                          "InferenceAttribute": "0"}}}, "InferenceAttribute is not offered"),
    ],
)  # fmt: skip
def test_definition_that_cannot_be_run_is_refused(schedules: Schedules, changes: dict[str, Any], why: str) -> None:
    asked = definition(schedules.jobs.name("definition"), batch("s3://bucket/a"), "s3://bucket/b", {})
    with pytest.raises(botocore.exceptions.ClientError, match=why):
        schedules.sagemaker.create_data_quality_job_definition(**asked | changes)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({}, "either MonitoringJobDefinitionName"),
        ({"MonitoringJobDefinitionName": "nowhere"}, 'Could not find job definition "nowhere"'),
    ],
)
def test_schedule_that_cannot_be_run_is_refused(schedules: Schedules, config: dict[str, Any], why: str) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match=why):
        schedules.sagemaker.create_monitoring_schedule(
            MonitoringScheduleName="refused", MonitoringScheduleConfig=config
        )


def test_definition_that_is_gone_fails_the_execution(schedules: Schedules, timed: RuntimeProcess) -> None:
    defined = schedules.define(batch("s3://bucket/gone"), "s3://bucket/gone-reports")
    name = schedules.create(defined, HOURLY)
    schedules.sagemaker.delete_data_quality_job_definition(JobDefinitionName=defined)
    to_the_next_hour(timed)
    (execution,) = schedules.ended(name)
    assert execution["FailureReason"].startswith(f'Could not find job definition "{defined}"')


def test_file_of_violations_that_is_none_fails_the_execution(schedules: Schedules) -> None:
    schedules.jobs.put("odd/part.csv", table())
    script = 'echo "{}" > "${SAGEMAKER_BASE_DIR:-/opt/ml}/processing/output/constraint_violations.json"'
    odd = {"ImageUri": "local/jobs", "ContainerEntrypoint": ["/bin/sh", "-c", script]}
    defined = schedules.define(batch("s3://bucket/odd"), "s3://bucket/odd-reports", DataQualityAppSpecification=odd)
    (execution,) = schedules.ended(schedules.create(defined, "NOW", **WINDOW))
    assert execution["MonitoringExecutionStatus"] == "Failed"
    assert "KeyError" in execution["FailureReason"]


@pytest.mark.parametrize(("shift", "status"), [(0.0, "Completed"), (6.0, "CompletedWithViolations")])
def test_captured_requests_of_an_endpoint_are_held_against_the_baseline(
    schedules: Schedules, baseline: dict[str, Any], shift: float, status: str
) -> None:
    jobs = schedules.jobs
    endpoint = Endpoint(jobs)
    prefix = f"traffic/{shift:.0f}"
    model, settings = jobs.model(ANSWERS.format(answer="a")), capture(f"s3://bucket/{prefix}/", "Input")
    rows = table(shift=shift, rows=100, seed=7).decode().splitlines()[1:]
    endpoint.create(jobs.endpoint_config(model, capture=settings))
    for first in (0, 25):
        endpoint.ask("\n".join(rows[first : first + 25]))
    endpoint.update(jobs.endpoint_config(model, capture=settings, VariantName="later"))
    for first in (50, 75):
        endpoint.ask("\n".join(rows[first : first + 25]))
    when_captured(jobs, f"{prefix}/{endpoint.name}/", 4)
    source = {"EndpointInput": {"EndpointName": endpoint.name, "LocalPath": INPUT}}
    name = schedules.create(schedules.define(source, f"s3://bucket/{prefix}-reports", baseline), "NOW", **WINDOW)
    (execution,) = schedules.ended(name)
    assert execution["MonitoringExecutionStatus"] == status, execution.get("FailureReason")
    assert execution["EndpointName"] == endpoint.name
    hour = execution["ScheduledTime"].astimezone(UTC).strftime("%Y/%m/%d/%H")
    key = f"{prefix}-reports/{endpoint.name}/{name}/{hour}/statistics.json"
    statistics = json.loads(jobs.s3.get_object(Bucket="bucket", Key=key)["Body"].read())
    assert [feature["name"] for feature in statistics["features"]] == ["size", "word"]
    assert statistics["dataset"]["item_count"] == 100
    listed = schedules.sagemaker.list_monitoring_schedules(EndpointName=endpoint.name)["MonitoringScheduleSummaries"]
    assert [row["MonitoringScheduleName"] for row in listed] == [name]
    endpoint.delete()


def test_endpoint_that_captures_nothing_is_refused(schedules: Schedules) -> None:
    jobs = schedules.jobs
    endpoint = Endpoint(jobs)
    endpoint.create(jobs.endpoint_config(jobs.model(ANSWERS.format(answer="a"))))
    for name, why in ((endpoint.name, "captures no data"), ("nowhere", 'Could not find endpoint "nowhere"')):
        source = {"EndpointInput": {"EndpointName": name, "LocalPath": INPUT}}
        defined = schedules.define(source, "s3://bucket/reports")
        with pytest.raises(botocore.exceptions.ClientError, match=why):
            schedules.create(defined)
    endpoint.delete()
