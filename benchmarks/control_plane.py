"""Control-plane calls with 10,000 stored jobs of each kind, against moto's server when it is empty.

A raw client asks both in turn, so that botocore is not the limit. The stored jobs are copies of two that have really
run: the runtime runs one training and one processing job, is stopped, and their documents are written again under
10,000 names through the runtime's own database, with ids, times, hyperparameters, statuses and tags of their own.
moto gets the same two requests and nothing else, so its pages hold one job. What moto has no answer for is printed by
name and not compared.

CreateProcessingJob and StopProcessingJob are the real ones: the job is run, stopped once it has started, and its end
waited for, all of it outside of the measured time. moto runs nothing.

    python -m benchmarks.control_plane [--jobs 10000] [--samples 100]
    python -m benchmarks.control_plane --quick
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.runtime.jobs import CLUSTER, Jobs
from tests.runtime.process import IMAGE, ROLE, RuntimeProcess, until

from benchmarks import servers
from benchmarks.figures import Figure, emit, ratio, rounded, verdict
from benchmarks.raw_http import Answer, RawClient
from millrace.runtime.database import Database, Query, Resource

TEMPLATES = {"training-job": "template-training", "processing-job": "template-processing"}
SECONDS_APART = 30.0
"""Between the creations of two stored jobs."""
STATUSES = ("Completed",) * 17 + ("Failed",) * 2 + ("Stopped",)
PIPELINES = ("digits", "churn", "forecast", "ranking")
TAGS = {"team": "ml-platform", "deployment": "prod", "dag_id": "digits_training", "run_id": "scheduled__2026-01-01"}
SLOW_SHARE, RUN_SHARE = 0.2, 0.3
"""Of the samples, for calls that look at every job, and for jobs that are run."""
SETTLE_SECONDS = 0.1
"""Between a job's start and its stop: its sandbox is up by then."""
LEAST_JOBS = 400
TARGET = 1.0
ACTIVE = ("InProgress", "Stopping")
Parameters = dict[str, Any]


def training_request(name: str) -> Parameters:
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["/bin/sh", "-c", "for i in 1 2 3; do echo loss: 0.$i; echo accuracy: 0.9$i; done"],
            "MetricDefinitions": [
                {"Name": "loss", "Regex": "loss: ([0-9.]+)"},
                {"Name": "accuracy", "Regex": "accuracy: ([0-9.]+)"},
            ],
        },
        "HyperParameters": {
            "sagemaker_program": '"train.py"', "sagemaker_submit_directory": '"s3://bucket/code/source.tar.gz"',
            "epochs": "10", "batch_size": "64", "learning_rate": "0.001", "hidden": "128",
        },
        "InputDataConfig": [
            {"ChannelName": channel, "DataSource": {"S3DataSource": {
                "S3DataType": "S3Prefix", "S3Uri": f"s3://bucket/data/{channel}/",
                "S3DataDistributionType": "FullyReplicated"}}}
            for channel in ("train", "validation")
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
        "ResourceConfig": CLUSTER,
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "Environment": {"OMP_NUM_THREADS": "1"},
        "Tags": tags(),
    }  # fmt: skip


def processing_request(name: str, script: str) -> Parameters:
    return {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["/bin/sh", "-c", script]},
        "ProcessingResources": {"ClusterConfig": CLUSTER},
        "ProcessingInputs": [{"InputName": "data", "S3Input": {
            "S3Uri": "s3://bucket/data/train/", "LocalPath": "/opt/ml/processing/input/data",
            "S3DataType": "S3Prefix", "S3InputMode": "File"}}],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "verdict", "S3Output": {
            "S3Uri": f"s3://bucket/processing/{name}/", "LocalPath": "/opt/ml/processing/output/verdict",
            "S3UploadMode": "EndOfJob"}}]},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "Environment": {"RUN_ID": "scheduled__2026-01-01"},
        "Tags": tags(),
    }  # fmt: skip


def tags() -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in TAGS.items()]


def run_templates(runtime: RuntimeProcess) -> None:
    """One job of each kind, to its end."""
    jobs = Jobs(runtime)
    jobs.s3.create_bucket(Bucket="bucket")
    for channel in ("train", "validation"):
        jobs.put(f"data/{channel}/part-0.csv", b"1,2,3\n")
    jobs.sagemaker.create_training_job(**training_request(TEMPLATES["training-job"]))
    jobs.sagemaker.create_processing_job(**processing_request(TEMPLATES["processing-job"], "true"))
    for kind in ("training", "processing"):
        described = jobs.end(kind, TEMPLATES[f"{kind}-job"])
        status = described[f"{kind.capitalize()}JobStatus"]
        assert status == "Completed", f"the template has ended as {status}: {described.get('FailureReason')}"


def multiply(data_dir: Path, count: int) -> None:
    """Store each template again under `count` names, in the database of a runtime that is stopped."""
    first = time.time() - count * SECONDS_APART
    moment = first
    database = Database(data_dir / "runtime.sqlite", lambda: moment)
    try:
        for kind, template in TEMPLATES.items():
            found = database.get(kind, template)
            assert found is not None, f"the runtime has not stored {template}"
            for number in range(count):
                moment = first + number * SECONDS_APART
                name = f"prod-{PIPELINES[number % len(PIPELINES)]}-{number:05}"
                status = STATUSES[number % len(STATUSES)]
                document = _copy_of(found, name, number, status, moment)
                arn = found.arn.replace(template, name)
                database.insert(kind, name, arn, status, document, {**TAGS, "number": str(number)})
        for kind in TEMPLATES:
            stored = len(database.list(kind, Query(limit=count + 10)))
            assert stored == count + 1, f"{stored} of {count + 1} {kind}s are stored"
    finally:
        database.close()


def _copy_of(template: Resource, name: str, number: int, status: str, created: float) -> dict[str, Any]:
    """A job's document as the runtime would have left it, had that job been the one that ran."""
    document: dict[str, Any] = json.loads(json.dumps(template.document).replace(template.name, name))
    later = created - template.created
    document["id"] = uuid.uuid4().hex
    for moment in ("started", "started_again", "ended"):
        if moment in document:
            document[moment] += later
    for transition in document["transitions"]:
        for moment in ("StartTime", "EndTime"):
            if moment in transition:
                transition[moment] += later
    document["transitions"][-1]["Status"] = status
    if status == "Failed":
        document["reason"] = "AlgorithmError: ExecuteUserScriptError: exit code 1"
    if "HyperParameters" in document["request"]:
        document["request"]["HyperParameters"]["epochs"] = str(number % 50)
    return document


@dataclass(frozen=True, slots=True)
class Call:
    """One measured call: the same parameters to both sides, and what a good answer holds."""

    name: str
    operation: str
    parameters: Mapping[str, Any]
    is_whole: Callable[[dict[str, Any]], bool]
    looks_at_all: bool = False


def calls(stored: int, *, peer: bool) -> list[Call]:
    """The reading calls, about jobs in the middle of those that are stored; the peer holds the templates only."""
    number = stored // 2 // len(PIPELINES) * len(PIPELINES) + PIPELINES.index("churn")
    middle = TEMPLATES["training-job"] if peer else f"prod-churn-{number:05}"
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{middle}"
    part = "template" if peer else f"churn-{number // 100:03}"

    def jobs(least: int) -> Callable[[dict[str, Any]], bool]:
        return lambda body: len(body["TrainingJobSummaries"]) >= (1 if peer else least)

    search = {"Filters": [{"Name": "TrainingJobName", "Operator": "Contains", "Value": part}]}
    by_parameter = {
        "Filters": [{"Name": "HyperParameters.epochs", "Operator": "Equals", "Value": "10" if peer else "1"}]
    }
    return [
        Call("Describe", "DescribeTrainingJob", {"TrainingJobName": middle}, lambda b: bool(b["TrainingJobArn"])),
        Call("ListTags", "ListTags", {"ResourceArn": arn}, lambda b: len(b["Tags"]) >= len(TAGS)),
        Call("List, first page", "ListTrainingJobs", {}, jobs(10)),
        Call("List, page of 100", "ListTrainingJobs", {"MaxResults": 100}, jobs(100)),
        Call("List by name", "ListTrainingJobs", {"NameContains": part}, jobs(10)),
        Call("List by status", "ListTrainingJobs", {"StatusEquals": "Completed"}, jobs(10)),
        Call("List by status that none has", "ListTrainingJobs", {"StatusEquals": "InProgress"},
             lambda b: "TrainingJobSummaries" in b),
        Call("List sorted by name", "ListTrainingJobs", {"SortBy": "Name", "SortOrder": "Ascending"}, jobs(10)),
        Call("List sorted by status", "ListTrainingJobs", {"SortBy": "Status"}, jobs(10)),
        Call("Search by name", "Search", {"Resource": "TrainingJob", "SearchExpression": search},
             lambda b: len(b["Results"]) >= 1, looks_at_all=True),
        Call("Search by hyperparameter", "Search", {"Resource": "TrainingJob", "SearchExpression": by_parameter},
             lambda b: len(b["Results"]) >= 1 or peer, looks_at_all=True),
    ]  # fmt: skip


class Side:
    """The runtime or the peer: a client, and the samples of each call."""

    def __init__(self, name: str, port: int, *, is_peer: bool) -> None:
        self.name = name
        self.is_peer = is_peer
        self.client = RawClient(port, "sagemaker")
        self.samples: dict[str, list[float]] = {}
        self.lacks: dict[str, str] = {}
        """Calls that it cannot answer, and what it said."""

    def read(self, call: Call) -> None:
        if call.name in self.lacks:
            return
        elapsed, answer = self.timed(call.operation, call.parameters)
        if answer.status != 200:
            self._lack(call.name, answer)
            return
        body = json.loads(answer.body)
        assert call.is_whole(body), f"{self.name} answers {call.name} with {answer.body[:300]!r}"
        self.samples.setdefault(call.name, []).append(elapsed)

    def create_and_stop(self, number: int) -> None:
        if "Create" in self.lacks:
            return
        name = f"measured-{number}"
        elapsed, answer = self.timed("CreateProcessingJob", processing_request(name, "sleep 60"))
        if answer.status != 200:
            self._lack("Create", answer)
            return
        if not self.is_peer:
            until(lambda: "ProcessingStartTime" in self._described(name), 60, f"the start of {name}")
            time.sleep(SETTLE_SECONDS)
        stopped, stop = self.timed("StopProcessingJob", {"ProcessingJobName": name})
        self.samples.setdefault("Create", []).append(elapsed)
        if stop.status == 200:
            self.samples.setdefault("Stop", []).append(stopped)
        else:
            self._lack("Stop", stop)
        if not self.is_peer:
            until(lambda: self._described(name)["ProcessingJobStatus"] not in ACTIVE, 60, f"the end of {name}")

    def timed(self, operation: str, parameters: Mapping[str, Any]) -> tuple[float, Answer]:
        started = time.perf_counter()
        answer = self.client.sagemaker(operation, parameters)
        return (time.perf_counter() - started) * 1000, answer

    def _described(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            self.client.sagemaker("DescribeProcessingJob", {"ProcessingJobName": name}).body
        )
        return found

    def _lack(self, name: str, answer: Answer) -> None:
        if not self.is_peer:
            raise SystemExit(f"{self.name} refuses {name}: {answer.status} {answer.body[:300]!r}")
        self.lacks[name] = f"{answer.status} {answer.body[:120].decode(errors='replace')}"


def measure(ours: Side, theirs: Side, stored: int, samples: int) -> None:
    """Every call of both sides in turn; the first round is not counted."""
    rows = list(zip(calls(stored, peer=False), calls(stored, peer=True), strict=True))
    for done in _rounds(samples):
        for our, their in rows:
            if our.looks_at_all and done >= max(2, samples * SLOW_SHARE):
                continue
            ours.read(our)
            theirs.read(their)
        if done < max(2, samples * RUN_SHARE):
            ours.create_and_stop(done)
            theirs.create_and_stop(done)
        if done < 0:
            ours.samples.clear()
            theirs.samples.clear()


def _rounds(samples: int) -> Iterator[int]:
    yield -1
    yield from range(samples)


def show(ours: Side, theirs: Side, jobs: int) -> dict[str, Figure]:
    print(f"milliseconds a call, raw client: Millrace with {jobs} jobs of each kind, moto when empty")
    results: dict[str, Figure] = {}
    for name, samples in ours.samples.items():
        mine = results[f"{name}, Millrace"] = Figure.of(samples, "ms")
        if name not in theirs.samples:
            print(f"  {name:30} {mine}; moto has no answer: {theirs.lacks.get(name, 'not asked')}")
            continue
        peer = results[f"{name}, moto"] = Figure.of(theirs.samples[name], "ms")
        print(f"  {name:30} {mine}; moto {peer}; {ratio(mine, peer)}; {verdict(mine.median / peer.median, TARGET)}")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000, help="stored jobs of each kind")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="does it run at all: some seconds, figures of no worth")
    options = parser.parse_args()
    if options.quick:
        options.jobs, options.samples = LEAST_JOBS, 3
    if options.jobs < LEAST_JOBS:
        parser.error(f"--jobs is {options.jobs}; at least {LEAST_JOBS} are needed for full pages of what is asked for")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-control-")))
        runtime = RuntimeProcess(folder / "runtime")
        started = time.perf_counter()
        runtime.start()
        stack.callback(runtime.stop)
        print(f"the runtime is healthy {rounded(time.perf_counter() - started)} s after its start without jobs")
        run_templates(runtime)
        runtime.stop()
        started = time.perf_counter()
        multiply(runtime.data_dir, options.jobs)
        print(f"{options.jobs} jobs of each kind stored in {rounded(time.perf_counter() - started)} s")
        started = time.perf_counter()
        runtime.start()
        print(f"the runtime is healthy {rounded(time.perf_counter() - started)} s after its start with them")
        moto = stack.enter_context(servers.moto())
        ours, theirs = Side("Millrace", runtime.port, is_peer=False), Side("moto", moto, is_peer=True)
        stack.callback(ours.client.close)
        stack.callback(theirs.client.close)
        for operation, request in (
            ("CreateTrainingJob", training_request(TEMPLATES["training-job"])),
            ("CreateProcessingJob", processing_request(TEMPLATES["processing-job"], "true")),
        ):
            _, answer = theirs.timed(operation, request)
            assert answer.status == 200, f"moto refuses {operation}: {answer.body[:300]!r}"
        measure(ours, theirs, options.jobs, options.samples)
        results = show(ours, theirs, options.jobs)
        runtime.end_everything()
    emit("control_plane", {"jobs": options.jobs, **results, "moto has no answer": theirs.lacks})


if __name__ == "__main__":
    main()
