"""The fault plan: dealt by a real runtime to a real boto3 client, counted, written down, and never dealt unasked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from millrace.runtime import fault_plan, faults, protocol
from millrace.runtime.fault_plan import FaultPlan, Rule, name_in, parse
from millrace.runtime.faults import (
    Delay,
    DropConnection,
    FailCall,
    FailJob,
    FaultPlanError,
    HangJob,
    HoldJob,
    InterruptJob,
    LoseResponse,
    RefuseCapacity,
    SlowBody,
    StopJob,
    Throttle,
)
from millrace.runtime.s3.routes import COPIES, ROUTES
from tests.runtime.jobs import CLUSTER, Jobs
from tests.runtime.process import IMAGE, REGION, RuntimeProcess, until

CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance"
)
ECHO = "def model_fn(d): return 1\ndef transform_fn(model, body, content_type, accept):\n    return body\n"


@pytest.fixture
def faulty(started: RuntimeProcess) -> Iterator[RuntimeProcess]:
    """A runtime whose plan and whose book of dealt faults begin and end empty."""
    (started.data_dir / fault_plan.DEALT).unlink(missing_ok=True)
    yield started
    fault_plan.clear(started.data_dir)


@pytest.fixture
def jobs(faulty: RuntimeProcess) -> Jobs:
    """Its client tries each call once."""
    found = Jobs(faulty)
    found.sagemaker, found.logs = client(faulty, "sagemaker"), client(faulty, "logs")
    return found


def client(runtime: RuntimeProcess, service: str, attempts: int = 1) -> Any:
    return boto3.client(
        service, endpoint_url=runtime.url, region_name=REGION, aws_access_key_id="any", aws_secret_access_key="any",
        config=Config(retries={"mode": "standard", "total_max_attempts": attempts}),
    )  # type: ignore[call-overload]  # fmt: skip


def dealt(runtime: RuntimeProcess) -> list[tuple[str, str, str]]:
    return [(line.fault, line.operation, line.name) for line in fault_plan.dealt(runtime.data_dir)]


def script(command: str) -> dict[str, Any]:
    """Changes to a training request by which it runs one shell command."""
    algorithm = {"TrainingImage": IMAGE, "TrainingInputMode": "File", "ContainerEntrypoint": ["/bin/sh", "-c", command]}
    return {"AlgorithmSpecification": algorithm, "HyperParameters": {}}


def transform(jobs: Jobs) -> str:
    name = jobs.name("transform")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": jobs.put(f"{name}/a.csv", b"1\n")}}
    jobs.sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=jobs.model(ECHO),
        TransformInput={"DataSource": source, "ContentType": "text/csv"},
        TransformOutput={"S3OutputPath": f"s3://bucket/{name}-out"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    return name


def status(jobs: Jobs, name: str) -> str:
    return str(jobs.sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"])


def is_missing(jobs: Jobs, name: str) -> bool:
    try:
        jobs.sagemaker.describe_processing_job(ProcessingJobName=name)
    except botocore.exceptions.ClientError as error:
        assert "Could not find" in str(error)
        return True
    return False


class TestCalls:
    def test_without_a_plan_nothing_is_dealt(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        assert jobs.end("processing", jobs.processing("true"))["ProcessingJobStatus"] == "Completed"
        assert not (faulty.data_dir / fault_plan.PLAN).exists()
        assert not (faulty.data_dir / fault_plan.DEALT).exists()

    def test_throttled_calls_are_retried_by_botocore_until_one_passes(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        fault_plan.write(faulty.data_dir, [Rule(Throttle(), operation="CreateProcessingJob", times=2)])
        jobs.sagemaker = client(faulty, "sagemaker", attempts=3)
        name = jobs.processing("true")
        assert dealt(faulty) == [("throttle", "CreateProcessingJob", name)] * 2
        assert jobs.end("processing", name)["ProcessingJobStatus"] == "Completed"
        assert f"fault throttle dealt to CreateProcessingJob '{name}'" in (faulty.data_dir / "control.log").read_text()

    def test_a_throttled_call_is_refused_in_aws_words_and_not_carried_out(
        self, jobs: Jobs, faulty: RuntimeProcess
    ) -> None:
        fault_plan.write(faulty.data_dir, [Rule(Throttle(), operation="CreateProcessingJob", times=1)])
        name = jobs.name()
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            jobs.processing("true", name)
        assert caught.value.response["Error"] == {"Code": "ThrottlingException", "Message": "Rate exceeded"}
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert is_missing(jobs, name)
        jobs.processing("true", name)

    def test_calls_for_logs_are_throttled_too(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        name = jobs.processing("echo hello")
        jobs.end("processing", name)
        fault_plan.write(faulty.data_dir, [Rule(Throttle(), operation="GetLogEvents", name=name, times=1)])
        with pytest.raises(botocore.exceptions.ClientError, match=r"ThrottlingException.*Rate exceeded"):
            jobs.lines("processing", name)
        assert jobs.lines("processing", name) == ["hello"]

    def test_a_rule_for_seconds_passes_by_itself(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        fault_plan.write(faulty.data_dir, [Rule(Throttle(), operation="List*", seconds=1)])
        begun = time.monotonic()

        def passes() -> bool:
            try:
                jobs.sagemaker.list_processing_jobs()
            except botocore.exceptions.ClientError:
                return False
            return True

        assert not passes()
        until(passes, 10, "the end of the throttling")
        assert time.monotonic() - begun > 0.9
        assert len(dealt(faulty)) > 1

    def test_a_lost_response_leaves_exactly_one_job(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        fault_plan.write(faulty.data_dir, [Rule(LoseResponse(), operation="CreateProcessingJob", times=1)])
        name = jobs.name()
        with pytest.raises(botocore.exceptions.ConnectionClosedError):
            jobs.processing("true", name)
        assert dealt(faulty) == [("lose_response", "CreateProcessingJob", name)]
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            jobs.processing("true", name)
        assert caught.value.response["Error"]["Code"] == "ResourceInUse"
        listed = jobs.sagemaker.list_processing_jobs(NameContains=name)["ProcessingJobSummaries"]
        assert [row["ProcessingJobName"] for row in listed] == [name]
        assert jobs.end("processing", name)["ProcessingJobStatus"] == "Completed"

    def test_botocore_repeats_a_call_whose_response_is_lost_and_finds_its_own_job(
        self, jobs: Jobs, faulty: RuntimeProcess
    ) -> None:
        fault_plan.write(faulty.data_dir, [Rule(LoseResponse(), operation="CreateProcessingJob", times=1)])
        jobs.sagemaker = client(faulty, "sagemaker", attempts=3)
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            jobs.processing("true")
        assert caught.value.response["Error"]["Code"] == "ResourceInUse"

    def test_a_refusal_is_lost_like_any_answer(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        fault_plan.write(faulty.data_dir, [Rule(LoseResponse(), operation="DescribeProcessingJob", times=1)])
        with pytest.raises(botocore.exceptions.ConnectionClosedError):
            jobs.sagemaker.describe_processing_job(ProcessingJobName="never-made")

    def test_a_lost_response_leaves_no_complaint_in_the_log(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        fault_plan.write(faulty.data_dir, [Rule(LoseResponse(), operation="ListProcessingJobs", times=1)])
        log = faulty.data_dir / "control.log"
        before = len(log.read_text())
        with pytest.raises(botocore.exceptions.ConnectionClosedError):
            jobs.sagemaker.list_processing_jobs()
        jobs.sagemaker.list_processing_jobs()
        assert "ASGI" not in log.read_text()[before:]

    def test_a_dropped_connection_carries_nothing_out(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        fault_plan.write(faulty.data_dir, [Rule(DropConnection(), operation="CreateProcessingJob", times=1)])
        name = jobs.name()
        with pytest.raises(botocore.exceptions.ConnectionClosedError):
            jobs.processing("true", name)
        assert is_missing(jobs, name)

    def test_a_failing_call_is_a_server_error_and_carries_nothing_out(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        fault_plan.write(faulty.data_dir, [Rule(FailCall(), operation="CreateProcessingJob", times=1)])
        name = jobs.name()
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            jobs.processing("true", name)
        assert caught.value.response["Error"]["Code"] == "InternalFailure"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        assert is_missing(jobs, name)

    @pytest.mark.parametrize(
        ("kind", "quota"),
        [
            ("training", "ml.m5.large for training job usage"),
            ("processing", "ml.m5.large for processing job usage"),
            ("transform", "ml.m5.large for transform job usage"),
            ("endpoint", "instances for endpoint usage"),
        ],
    )
    def test_what_is_over_a_quota_is_refused_in_aws_words_and_not_made(
        self, jobs: Jobs, faulty: RuntimeProcess, kind: str, quota: str
    ) -> None:
        def endpoint() -> None:
            config = jobs.endpoint_config(jobs.model(ECHO))
            jobs.sagemaker.create_endpoint(EndpointName=jobs.name("endpoint"), EndpointConfigName=config)

        create: dict[str, Callable[[], object]] = {
            "training": lambda: jobs.training("", **script("true")),
            "processing": lambda: jobs.processing("true"),
            "transform": lambda: transform(jobs),
            "endpoint": endpoint,
        }
        fault_plan.write(faulty.data_dir, [Rule(RefuseCapacity(), times=1)])
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            create[kind]()
        error = caught.value.response["Error"]
        assert error["Code"] == "ResourceLimitExceeded"
        assert error["Message"].startswith(
            f"The account-level service limit '{quota}' is 0 Instances, with current utilization of 0 Instances and a "
            "request delta of 1 Instances."
        )
        ((fault, _, name),) = dealt(faulty)
        assert fault == "refuse_capacity"
        with pytest.raises(botocore.exceptions.ClientError, match=r"not find|not found"):
            (jobs.sagemaker.describe_endpoint(EndpointName=name) if kind == "endpoint"
             else getattr(jobs.sagemaker, f"describe_{kind}_job")(**{f"{kind.capitalize()}JobName": name}))  # fmt: skip

    @pytest.mark.parametrize(
        ("delay", "missing_meanwhile"),
        [(Delay(before_seconds=1.5), True), (Delay(after_seconds=1.5), False)],
        ids=["before", "after"],
    )
    def test_a_slow_call_is_carried_out_after_or_before_the_wait_and_delays_no_other(
        self, jobs: Jobs, faulty: RuntimeProcess, delay: Delay, missing_meanwhile: bool
    ) -> None:
        fault_plan.write(faulty.data_dir, [Rule(delay, operation="CreateProcessingJob", times=1)])
        name = jobs.name()
        began = time.monotonic()
        creating = threading.Thread(target=jobs.processing, args=("true", name))
        creating.start()
        until(lambda: dealt(faulty), 10, "the delay")
        time.sleep(0.5)  # the operation itself takes a few milliseconds
        assert is_missing(Jobs(faulty), name) is missing_meanwhile
        assert creating.is_alive()
        creating.join()
        assert time.monotonic() - began > 1.5
        assert jobs.end("processing", name)["ProcessingJobStatus"] == "Completed"

    def test_the_first_rule_that_is_not_used_up_takes_the_call(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        fault_plan.write(
            faulty.data_dir,
            [Rule(Throttle(), operation="List*", times=1), Rule(FailCall(), operation="ListProcessingJobs", times=1)],
        )
        codes = []
        for _ in range(2):
            with pytest.raises(botocore.exceptions.ClientError) as caught:
                jobs.sagemaker.list_processing_jobs()
            codes.append(caught.value.response["Error"]["Code"])
        assert codes == ["ThrottlingException", "InternalFailure"]
        jobs.sagemaker.list_processing_jobs()

    def test_a_rule_by_name_spares_the_others(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        fault_plan.write(faulty.data_dir, [Rule(Throttle(), name="chosen-*", seconds=600)])
        other = jobs.processing("true")
        jobs.end("processing", other)
        with pytest.raises(botocore.exceptions.ClientError, match="Rate exceeded"):
            jobs.processing("true", "chosen-job")
        jobs.sagemaker.list_processing_jobs()


class TestPlanInForce:
    def test_a_plan_is_heeded_and_ended_without_a_restart(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        for _ in range(3):
            jobs.sagemaker.list_processing_jobs()
            fault_plan.write(faulty.data_dir, [Rule(Throttle(), operation="List*", seconds=600)])
            with pytest.raises(botocore.exceptions.ClientError, match="Rate exceeded"):
                jobs.sagemaker.list_processing_jobs()
            fault_plan.clear(faulty.data_dir)
        jobs.sagemaker.list_processing_jobs()

    def test_a_malformed_plan_is_told_and_the_last_good_one_stays(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        fault_plan.write(faulty.data_dir, [Rule(Throttle(), operation="List*", seconds=600)])
        with pytest.raises(botocore.exceptions.ClientError, match="Rate exceeded"):
            jobs.sagemaker.list_processing_jobs()
        for text in (b'[{"fault": "nonsense"}]', b"{", b"\xff\xfe", b""):
            (faulty.data_dir / fault_plan.PLAN).write_bytes(text)
            with pytest.raises(botocore.exceptions.ClientError, match="Rate exceeded"):
                jobs.sagemaker.list_processing_jobs()
        log = (faulty.data_dir / "control.log").read_text()
        assert "rule 1 of the plan: fault is 'nonsense'; it must be one of throttle" in log
        assert log.count("the 1 rules of the last good plan stay in force") == 4
        fault_plan.write(faulty.data_dir, [])
        jobs.sagemaker.list_processing_jobs()

    def test_a_plan_written_by_hand_counts_from_its_last_change(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        plan = faulty.data_dir / fault_plan.PLAN
        plan.write_text('[{"fault": "throttle", "operation": "List*", "times": 1}]')
        for _ in range(2):
            with pytest.raises(botocore.exceptions.ClientError, match="Rate exceeded"):
                jobs.sagemaker.list_processing_jobs()
            jobs.sagemaker.list_processing_jobs()
            time.sleep(0.01)
            plan.touch()

    def test_what_is_used_up_stays_so_over_a_kill(self, own_runtime: RuntimeProcess) -> None:
        fault_plan.write(own_runtime.data_dir, [Rule(Throttle(), operation="List*", times=2)])
        sagemaker = client(own_runtime, "sagemaker")
        for _ in range(2):
            with pytest.raises(botocore.exceptions.ClientError, match="Rate exceeded"):
                sagemaker.list_processing_jobs()
            own_runtime.kill()
            own_runtime.start()
        sagemaker.list_processing_jobs()
        assert len(dealt(own_runtime)) == 2

    def test_a_runtime_starts_beside_a_malformed_plan(self, own_runtime: RuntimeProcess) -> None:
        own_runtime.stop()
        (own_runtime.data_dir / fault_plan.PLAN).write_text('{"fault": "throttle"}')
        own_runtime.start()
        client(own_runtime, "sagemaker").list_processing_jobs()
        assert (
            "the plan is a JSON dict; it must be a list of rules" in (own_runtime.data_dir / "control.log").read_text()
        )


class TestJobs:
    def test_a_held_job_waits_and_then_runs(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        fault_plan.write(faulty.data_dir, [Rule(HoldJob(hold_seconds=2), times=1)])
        name = jobs.training("", **script("true"))
        held = jobs.sagemaker.describe_training_job(TrainingJobName=name)
        assert (held["TrainingJobStatus"], held["SecondaryStatus"]) == ("InProgress", "Starting")
        assert "TrainingStartTime" not in held
        assert jobs.end("processing", jobs.processing("true"))["ProcessingJobStatus"] == "Completed"  # no rule is left
        ended = jobs.end("training", name)
        assert ended["TrainingJobStatus"] == "Completed"
        assert (ended["TrainingStartTime"] - ended["CreationTime"]).total_seconds() >= 2
        assert dealt(faulty) == [("hold_job", "CreateTrainingJob", name)]

    @pytest.mark.parametrize("kind", ["training", "processing"])
    def test_a_held_job_can_be_stopped(self, jobs: Jobs, faulty: RuntimeProcess, kind: str) -> None:
        fault_plan.write(faulty.data_dir, [Rule(HoldJob(hold_seconds=600), times=1)])
        name = jobs.training("", **script("true")) if kind == "training" else jobs.processing("true")
        getattr(jobs.sagemaker, f"stop_{kind}_job")(**{f"{kind.capitalize()}JobName": name})
        ended = jobs.end(kind, name, 10)
        assert ended[f"{kind.capitalize()}JobStatus"] == "Stopped"
        assert "FailureReason" not in ended
        if kind == "training":
            assert [t["Status"] for t in ended["SecondaryStatusTransitions"]] == ["Starting", "Stopped"]

    def test_a_held_job_stays_held_over_a_kill_of_the_runtime_and_the_end_of_the_plan(
        self, own_runtime: RuntimeProcess
    ) -> None:
        jobs = Jobs(own_runtime)
        fault_plan.write(
            own_runtime.data_dir,
            [
                Rule(HoldJob(hold_seconds=8), name="held", times=1),
                Rule(FailJob(reason=CAPACITY, hold_seconds=5), name="failing", times=1),
                Rule(HoldJob(hold_seconds=600), name="stopped", times=1),
            ],
        )
        for name in ("held", "failing", "stopped"):
            jobs.processing("true", name)
        own_runtime.kill()
        fault_plan.clear(own_runtime.data_dir)
        own_runtime.start()
        jobs.sagemaker.stop_processing_job(ProcessingJobName="stopped")
        assert jobs.end("processing", "stopped")["ProcessingJobStatus"] == "Stopped"
        failed = jobs.end("processing", "failing")
        assert (failed["ProcessingJobStatus"], failed["FailureReason"]) == ("Failed", CAPACITY)
        held = jobs.end("processing", "held")
        assert held["ProcessingJobStatus"] == "Completed"
        assert (held["ProcessingStartTime"] - held["CreationTime"]).total_seconds() >= 8

    @pytest.mark.parametrize("kind", ["training", "processing", "transform"])
    def test_a_job_fails_without_ever_starting(self, jobs: Jobs, faulty: RuntimeProcess, kind: str) -> None:
        fault_plan.write(faulty.data_dir, [Rule(FailJob(reason=CAPACITY, hold_seconds=0.5), times=1)])
        name = {
            "training": lambda: jobs.training("", **script("true")),
            "processing": lambda: jobs.processing("true"),
            "transform": lambda: transform(jobs),
        }[kind]()
        ended = jobs.end(kind, name)
        word = kind.capitalize()
        assert (ended[f"{word}JobStatus"], ended["FailureReason"]) == ("Failed", CAPACITY)
        assert f"{word}StartTime" not in ended
        assert (ended[f"{word}EndTime"] - ended["CreationTime"]).total_seconds() >= 0.5
        (row,) = getattr(jobs.sagemaker, f"list_{kind}_jobs")(NameContains=name)[f"{word}JobSummaries"]
        assert row[f"{word}JobStatus"] == "Failed"
        if kind == "training":
            first, last = ended["SecondaryStatusTransitions"]
            assert (first["Status"], last["Status"], ended["SecondaryStatus"]) == ("Starting", "Failed", "Failed")
            assert abs(first["StartTime"] - ended["CreationTime"]).total_seconds() < 0.1
            assert last["StatusMessage"] == CAPACITY
            assert first["EndTime"] == last["StartTime"]
            assert "BillableTimeInSeconds" not in ended

    def test_a_job_fails_after_having_run_and_leaves_its_log(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        reason = "AlgorithmError: ExecuteUserScriptError: loss is nan, exit code: 1"
        fault_plan.write(faulty.data_dir, [Rule(FailJob(reason=reason, run_seconds=1), times=1)])
        name = jobs.training("", **script("echo begun; sleep 300"))
        ended = jobs.end("training", name)
        assert (ended["TrainingJobStatus"], ended["FailureReason"]) == ("Failed", reason)
        assert ended["TrainingEndTime"] > ended["TrainingStartTime"]
        statuses = [t["Status"] for t in ended["SecondaryStatusTransitions"]]
        assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Failed"]
        assert jobs.lines("training", name) == ["begun"]
        assert "ModelArtifacts" not in ended or not ended["ModelArtifacts"].get("S3ModelArtifacts")

    def test_a_job_whose_program_succeeds_fails_all_the_same(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        fault_plan.write(faulty.data_dir, [Rule(FailJob(reason="InternalServerError: gone", run_seconds=600), times=1)])
        ended = jobs.end("processing", jobs.processing("true"))
        assert (ended["ProcessingJobStatus"], ended["FailureReason"]) == ("Failed", "InternalServerError: gone")

    def test_a_job_is_stopped_while_it_runs_and_keeps_what_it_saved(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        fault_plan.write(faulty.data_dir, [Rule(StopJob(run_seconds=1), times=1)])
        saves = 'trap "exit 0" TERM; echo saved > ${SAGEMAKER_BASE_DIR:-/opt/ml}/model/m.txt; sleep 300 & wait'
        ended = jobs.end("training", jobs.training("", **script(saves)))
        assert ended["TrainingJobStatus"] == ended["SecondaryStatus"] == "Stopped"
        assert "FailureReason" not in ended
        assert ended["ModelArtifacts"]["S3ModelArtifacts"]

    def test_a_job_is_stopped_before_it_starts(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        fault_plan.write(faulty.data_dir, [Rule(StopJob(), times=1)])
        ended = jobs.end("processing", jobs.processing("true"))
        assert ended["ProcessingJobStatus"] == "Stopped"
        assert "ProcessingStartTime" not in ended

    def test_stopping_a_job_that_is_to_fail_stops_it(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        fault_plan.write(faulty.data_dir, [Rule(FailJob(reason="AlgorithmError: late", run_seconds=600), times=1)])
        name = jobs.processing("echo begun; sleep 300")
        until(lambda: status(jobs, name) == "InProgress" and faulty.find("sleep 300"), what="the script's start")
        jobs.sagemaker.stop_processing_job(ProcessingJobName=name)
        assert jobs.end("processing", name)["ProcessingJobStatus"] == "Stopped"

    def test_a_refused_creation_uses_no_rule_up(self, jobs: Jobs, faulty: RuntimeProcess) -> None:
        fault_plan.write(faulty.data_dir, [Rule(StopJob(), times=1)])
        with pytest.raises(botocore.exceptions.ClientError):
            jobs.processing("true", ProcessingResources={"ClusterConfig": CLUSTER | {"InstanceCount": 99}})
        assert dealt(faulty) == []
        assert jobs.end("processing", jobs.processing("true"))["ProcessingJobStatus"] == "Stopped"


class TestPlan:
    @pytest.mark.parametrize(
        "rule",
        [
            Rule(Throttle(), operation="Create*", name="a-*", times=3),
            Rule(Delay(before_seconds=1, after_seconds=0.5), seconds=60),
            Rule(FailJob(reason=CAPACITY, hold_seconds=2), operation="CreateTransformJob", times=1),
            Rule(StopJob(run_seconds=0), times=1),
            Rule(SlowBody(bytes_per_second=0.5), operation="s3:*", name="bucket/*.tar.gz", seconds=60),
            Rule(DropConnection(after_bytes=3), operation="UploadPart", times=1),
            Rule(RefuseCapacity(), operation="CreateEndpoint", times=1),
        ],
        ids=lambda rule: rule.fault.word,
    )
    def test_what_is_written_is_read(self, tmp_path: Path, rule: Rule) -> None:
        fault_plan.write(tmp_path / "new", [rule])
        assert fault_plan.read(tmp_path / "new") == (rule,)

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("throttle", "it is a JSON str; it must be an object"),
            ({}, "fault is None; it must be one of throttle, "),
            ({"fault": "throttle"}, "a rule needs either times or seconds"),
            ({"fault": "throttle", "times": 1, "seconds": 1}, "a rule needs either times or seconds"),
            ({"fault": "throttle", "times": 0}, "times is 0; it must be a whole number of 1 or more"),
            ({"fault": "throttle", "times": True}, "times is True"),
            ({"fault": "throttle", "seconds": float("nan")}, "seconds is nan"),
            ({"fault": "throttle", "seconds": 10**400}, "it must be a number of seconds"),
            ({"fault": "throttle", "times": 1, "name": ""}, "name is ''"),
            ({"fault": "throttle", "times": 1, "operation": "CreateTrainnigJob"}, "'CreateTrainnigJob', which is none"),
            ({"fault": "hold_job", "times": 1, "hold_seconds": 5, "operation": "Describe*"}, "is none that hold_job"),
            ({"fault": "throttle", "times": 1, "rate": 3}, "throttle has no parameter 'rate'; it takes no parameters"),
            ({"fault": "fail_job", "times": 1}, "fail_job needs reason"),
            ({"fault": "fail_job", "times": 1, "reason": 3}, "reason is 3; it must be a text"),
            ({"fault": "fail_job", "times": 1, "reason": "x" * 1025}, "reason has 1025 characters"),
            ({"fault": "hold_job", "times": 1}, "hold_seconds above 0"),
            ({"fault": "hold_job", "times": 1, "hold_seconds": -1}, "hold_seconds is -1"),
            ({"fault": "stop_job", "times": 1, "run_seconds": "5"}, "run_seconds is '5'"),
            ({"fault": "delay", "times": 1}, "delay needs before_seconds or after_seconds"),
            ({"fault": "slow_body", "times": 1}, "slow_body needs bytes_per_second"),
            ({"fault": "slow_body", "times": 1, "bytes_per_second": 0}, "bytes_per_second above 0"),
            ({"fault": "slow_body", "times": 1, "bytes_per_second": "1M"}, "'1M'; it must be a number of bytes"),
            (
                {"fault": "slow_body", "times": 1, "bytes_per_second": 9, "operation": "ListObjectsV2"},
                "none that slow_body can befall: that is PutObject, UploadPart, GetObject, or a glob",
            ),
            ({"fault": "drop_connection", "times": 1, "after_bytes": 0.5}, "after_bytes is 0.5; it must be a whole"),
            (
                {"fault": "drop_connection", "times": 1, "after_bytes": 9, "operation": "HeadObject"},
                "none that drop_connection can befall: that is PutObject, UploadPart, GetObject",
            ),
            ({"fault": "refuse_capacity", "times": 1, "operation": "UpdateEndpoint"}, "none that refuse_capacity can"),
            (
                {"fault": "throttle", "times": 1, "operation": "s3:CreateTrainingJob"},
                "'s3:CreateTrainingJob', which is",
            ),
            ({"fault": "throttle", "times": 1, "operation": "PutObjects"}, "none that throttle can befall: such as"),
        ],
    )
    def test_a_rule_that_cannot_be_used_is_refused_by_its_number(self, row: Any, message: str) -> None:
        good = {"fault": "throttle", "times": 1}
        with pytest.raises(FaultPlanError) as caught:
            parse(json.dumps([good, row]), time.time())
        assert str(caught.value).startswith("rule 2 of the plan: ")
        assert message in str(caught.value)

    @pytest.mark.parametrize(
        ("rule", "operation", "name", "matches"),
        [
            (Rule(Throttle(), times=1), "PutObject", "bucket/key", True),
            (Rule(Throttle(), times=1), "NoSuchOperation", "", False),
            (Rule(Throttle(), operation="s3:*", times=1), "PutObject", "bucket/key", True),
            (Rule(Throttle(), operation="s3:*", times=1), "ListEndpoints", "", False),
            (Rule(Throttle(), operation="sagemaker:List*", times=1), "ListEndpoints", "", True),
            (Rule(Throttle(), operation="sagemaker:List*", times=1), "ListObjectsV2", "bucket/", False),
            (Rule(Throttle(), name="bucket/*.json", times=1), "PutObject", "bucket/a/b.json", True),
            (Rule(Throttle(), name="bucket/*.json", times=1), "PutObject", "other/a/b.json", False),
            (Rule(SlowBody(bytes_per_second=1), times=1), "HeadObject", "bucket/key", False),
            (Rule(InterruptJob(), times=1), "CreateProcessingJob", "job", False),
            (Rule(HangJob(), times=1), "CreateProcessingJob", "job", True),
        ],
    )
    def test_a_rule_matches_what_its_globs_are_about_and_its_fault_can_befall(
        self, rule: Rule, operation: str, name: str, matches: bool
    ) -> None:
        assert rule.matches(operation, name) is matches

    def test_no_two_services_have_an_operation_of_one_name(self) -> None:
        count = len({route.name for route in (*ROUTES.values(), *COPIES.values())})
        for service in ("sagemaker", "logs"):
            count += len(protocol.service_model(service).operation_names)
        assert len(faults.services()) == count

    def test_an_id_that_is_there_twice_is_refused(self) -> None:
        with pytest.raises(FaultPlanError, match="several rules of the plan have the id 'a'"):
            parse(json.dumps([{"fault": "throttle", "times": 1, "id": "a"}] * 2), time.time())

    def test_a_line_that_was_cut_off_is_passed_over(self, tmp_path: Path) -> None:
        rule = Rule(StopJob(), times=2)
        fault_plan.write(tmp_path, [rule])
        plan = FaultPlan(tmp_path)
        assert plan.settle("CreateTrainingJob", "a") == {"fault": "stop_job", "hold_seconds": 0}
        with (tmp_path / fault_plan.DEALT).open("a") as stream:
            stream.write('{"time": 17')
        again = FaultPlan(tmp_path)
        assert again.settle("CreateTrainingJob", "b") is not None
        assert again.settle("CreateTrainingJob", "c") is None

    @pytest.mark.parametrize(
        ("operation", "params", "name"),
        [
            ("CreateTransformJob", {"TransformJobName": "job", "ModelName": "model"}, "job"),
            ("CreateEndpointConfig", {"EndpointConfigName": "config"}, "config"),
            ("UpdateEndpoint", {"EndpointName": "endpoint", "EndpointConfigName": "config"}, "endpoint"),
            ("UpdateEndpointWeightsAndCapacities", {"EndpointName": "endpoint"}, "endpoint"),
            ("ListTags", {"ResourceArn": "arn:aws:sagemaker:us-east-1:1:training-job/job"}, "job"),
            ("GetLogEvents", {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamName": "job/algo-1-1"}, "job"),
            ("DescribeLogStreams", {"logStreamNamePrefix": "job/"}, "job"),
            ("FilterLogEvents", {"logGroupName": "/aws/sagemaker/Endpoints/endpoint"}, "endpoint"),
            ("ListTrainingJobs", {"NameContains": "job"}, ""),
            ("DescribeTrainingJob", {"TrainingJobName": 3}, ""),
            ("DescribeTrainingJob", [], ""),
        ],
    )
    def test_the_name_in_a_request_is_what_it_is_about(self, operation: str, params: Any, name: str) -> None:
        assert name_in(operation, json.dumps(params).encode()) == name

    def test_a_body_that_is_no_json_has_no_name(self) -> None:
        assert name_in("DescribeTrainingJob", b"{") == ""
