"""A soak: for a while, at random but by a seed, jobs are created, stopped and struck, objects are written and deleted, and
the runtime is killed and started again. Then the books are balanced: what was acknowledged is there, nothing else is.

    python -m tests.soak.soak --seconds 1200 --seed 7

It stays on loopback, starts only a runtime of its own, and ends by itself. What it does not do: it draws no endpoints.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from millrace.runtime import fault_plan
from millrace.runtime.fault_plan import Rule
from millrace.runtime.faults import CrashHost, Delay, FailJob, InterruptJob, LoseResponse, Throttle
from tests.runtime.jobs import CLUSTER, Jobs
from tests.runtime.process import RuntimeProcess, until

SIZES = ("ml.t3.medium", "ml.m5.large", "ml.m5.xlarge", "ml.m5.4xlarge")
SCRIPTS = {
    "quick": "echo done > /opt/ml/processing/out/result",
    "slow": "sleep 1.5; echo done > /opt/ml/processing/out/result",
    "failing": "echo no >&2; exit 3",
    "forking": "setsid sleep 987654 & echo done > /opt/ml/processing/out/result",
    "deaf": "trap '' TERM; sleep 2; echo done > /opt/ml/processing/out/result",
}
EXPECTED = {"quick": "Completed", "slow": "Completed", "failing": "Failed", "forking": "Completed", "deaf": "Completed"}
TERMINAL = ("Completed", "Failed", "Stopped")
MOST_ACTIVE = 12
FAULTS: tuple[Callable[[], Rule], ...] = (
    lambda: Rule(Throttle(), operation="Describe*", times=2),
    lambda: Rule(LoseResponse(), operation="CreateProcessingJob", times=1),
    lambda: Rule(Delay(after_seconds=0.2), operation="Stop*", times=1),
    lambda: Rule(FailJob(reason="CapacityError: drawn by the soak"), operation="CreateProcessingJob", times=1),
    lambda: Rule(CrashHost(run_seconds=0.1), operation="CreateTrainingJob", times=1),
    lambda: Rule(InterruptJob(run_seconds=0.3), operation="CreateTrainingJob", times=1),
)


@dataclass
class Books:
    """What was asked for and acknowledged."""

    jobs: dict[str, str] = field(default_factory=dict)
    """The script of each job by its name; a job whose creation's answer was lost is in `unsure` as well."""
    unsure: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)
    objects: dict[str, str | None] = field(default_factory=dict)
    """The SHA-256 of each object by key, None for a deleted one; absent when the last write was not acknowledged."""
    done: Counter[str] = field(default_factory=Counter)


class Soak:
    """One soak on a runtime of its own."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._draw = random.Random(seed)
        self._runtime = RuntimeProcess(folder / "runtime")
        self._books = Books()
        self._deeds: tuple[tuple[int, Callable[[], None]], ...] = (
            (30, self._create_processing),
            (10, self._create_training),
            (14, self._stop),
            (30, self._put),
            (10, self._delete),
            (6, self._kill),
            (8, self._plan_fault),
        )

    def run(self, seconds: float) -> Counter[str]:
        """Soak, balance the books, and return how often each deed was done.

        Raises:
            AssertionError: the books do not balance.
        """
        self._runtime.start()
        try:
            self._jobs = Jobs(self._runtime)
            self._jobs.s3.create_bucket(Bucket="bucket")
            deadline = time.monotonic() + seconds
            weights, deeds = zip(*self._deeds, strict=True)
            while time.monotonic() < deadline:
                (deed,) = self._draw.choices(deeds, weights)
                deed()
                self._books.done[deed.__name__.strip("_")] += 1
            self._balance()
        finally:
            fault_plan.clear(self._runtime.data_dir)
            self._runtime.end_everything()
        return self._books.done

    def _create_processing(self) -> None:
        if self._active() >= MOST_ACTIVE:
            return
        kind = self._draw.choice(sorted(SCRIPTS))
        name = self._jobs.name("soak")
        output = {"S3Uri": f"s3://bucket/out/{name}", "LocalPath": "/opt/ml/processing/out",
                  "S3UploadMode": self._draw.choice(["EndOfJob", "Continuous"])}  # fmt: skip
        cluster = CLUSTER | {"InstanceType": self._draw.choice(SIZES), "InstanceCount": self._draw.choice([1, 1, 2])}
        self._acknowledged(
            name, kind,
            lambda: self._jobs.processing(
                SCRIPTS[kind], name, ProcessingResources={"ClusterConfig": cluster},
                ProcessingOutputConfig={"Outputs": [{"OutputName": "out", "S3Output": output}]},
            ),
        )  # fmt: skip

    def _create_training(self) -> None:
        if self._active() >= MOST_ACTIVE:
            return
        name = self._jobs.name("soak-training")
        entrypoint = ["/bin/sh", "-c", "sleep 0.8; echo m > /opt/ml/model/m"]
        self._acknowledged(
            name, "training",
            lambda: self._jobs.training(
                "", name, EnableManagedSpotTraining=True, RetryStrategy={"MaximumRetryAttempts": 2},
                StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 3600},
                AlgorithmSpecification={"TrainingImage": "local/jobs", "TrainingInputMode": "File",
                                        "ContainerEntrypoint": entrypoint},
            ),
        )  # fmt: skip

    def _acknowledged(self, name: str, script: str, create: Callable[[], Any]) -> None:
        try:
            create()
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceInUse":  # a try whose answer was lost got through
                self._books.jobs[name] = script
            return
        except BotoCoreError:
            self._books.unsure.add(name)
            self._books.jobs[name] = script
            return
        self._books.jobs[name] = script

    def _stop(self) -> None:
        if not self._books.jobs:
            return
        name = self._draw.choice(sorted(self._books.jobs)[-MOST_ACTIVE:])
        kind = "training" if "training" in name else "processing"
        try:
            getattr(self._jobs.sagemaker, f"stop_{kind}_job")(**{f"{kind.capitalize()}JobName": name})
        except (ClientError, BotoCoreError):
            return
        self._books.stopped.add(name)

    def _put(self) -> None:
        key = f"object-{self._draw.randrange(40)}"
        body = self._draw.randbytes(self._draw.choice([0, 10, 5_000, 2_000_000]))
        self._books.objects.pop(key, None)
        try:
            self._jobs.s3.put_object(Bucket="bucket", Key=key, Body=body)
        except (ClientError, BotoCoreError):
            return
        self._books.objects[key] = hashlib.sha256(body).hexdigest()

    def _delete(self) -> None:
        if not self._books.objects:
            return
        key = self._draw.choice(sorted(self._books.objects))
        self._books.objects.pop(key)
        try:
            self._jobs.s3.delete_object(Bucket="bucket", Key=key)
        except (ClientError, BotoCoreError):
            return
        self._books.objects[key] = None

    def _kill(self) -> None:
        """kill -9 of the front, the control plane or everything of the runtime, at any moment; then a new one."""
        own = self._runtime.find("millrace.runtime.control") if self._draw.random() < 0.5 else []
        for process in own:
            process.kill()
        self._runtime.kill()
        time.sleep(self._draw.random())
        self._runtime.start()
        self._jobs = Jobs(self._runtime)

    def _plan_fault(self) -> None:
        fault_plan.write(self._runtime.data_dir, [self._draw.choice(FAULTS)()])

    def _active(self) -> int:
        try:
            return sum(
                len(getattr(self._jobs.sagemaker, f"list_{kind}_jobs")(StatusEquals="InProgress", MaxResults=100)[rows])
                for kind, rows in (("processing", "ProcessingJobSummaries"), ("training", "TrainingJobSummaries"))
            )
        except (ClientError, BotoCoreError):
            return MOST_ACTIVE

    def _balance(self) -> None:
        """What was acknowledged is there, ended as it had to, and has left nothing that runs, waits or takes room."""
        fault_plan.clear(self._runtime.data_dir)
        described = {name: self._end(name) for name in self._books.jobs}
        found = {name: description for name, description in described.items() if description is not None}
        assert set(found) >= set(self._books.jobs) - self._books.unsure, "acknowledged jobs are lost"
        for name, description in found.items():
            self._check(name, self._books.jobs[name], description)
        for key, digest in self._books.objects.items():
            assert self._digest(key) == digest, f"{key} is not as it was acknowledged"
        until(lambda: not self._runtime.job_processes(), 30, "the end of every process of a job")
        assert not self._runtime.find("987654"), "a process in a session of its own has survived its job"
        trees = [path for path in self._runtime.data_dir.glob("jobs/*/**/ml") if path.exists()]
        assert not trees, f"trees of ended jobs are left: {trees}"
        whole = {**CLUSTER, "InstanceType": "ml.m5.24xlarge"}
        last = self._jobs.processing("true", ProcessingResources={"ClusterConfig": whole})
        assert self._jobs.end("processing", last, 60)["ProcessingJobStatus"] == "Completed", "capacity is still held"

    def _end(self, name: str) -> dict[str, Any] | None:
        try:
            return self._jobs.end("training" if "training" in name else "processing", name, 300)
        except ClientError as error:
            assert "not found" in str(error) or "Could not find" in str(error), error
            return None

    def _check(self, name: str, script: str, description: dict[str, Any]) -> None:
        if script == "training":
            allowed = {"Completed"} | ({"Stopped"} if name in self._books.stopped else set())
            status, reason = description["TrainingJobStatus"], description.get("FailureReason", "")
            assert status in allowed, f"{name} is {status}: {reason}"
            return
        status, reason = description["ProcessingJobStatus"], description.get("FailureReason", "")
        allowed = {EXPECTED[script]} | ({"Stopped"} if name in self._books.stopped else set())
        assert status in allowed or "drawn by the soak" in reason, f"{name} ({script}) is {status}: {reason}"
        if status == "Completed":
            body = self._jobs.s3.get_object(Bucket="bucket", Key=f"out/{name}/result")["Body"].read()
            assert body == b"done\n", f"{name} has uploaded {body!r}"

    def _digest(self, key: str) -> str | None:
        try:
            body = self._jobs.s3.get_object(Bucket="bucket", Key=key)["Body"].read()
        except ClientError as error:
            assert error.response["Error"]["Code"] == "NoSuchKey", error
            return None
        return hashlib.sha256(body).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.seconds:.0f} s", flush=True)  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="millrace-soak-") as folder:
        done = Soak(Path(folder), options.seed).run(options.seconds)
    print("the books balance: " + ", ".join(f"{count} x {deed}" for deed, count in sorted(done.items())))  # noqa: T201


if __name__ == "__main__":
    main()
