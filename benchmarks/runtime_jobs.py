"""What the runtime adds to a job: from Create to the first line of a script, and until a channel's files are there.

    first line   a training and a processing job whose entrypoint is a Python that prints the time, with and without
                 sandbox, against the same Python started directly (and under a bare bubblewrap). Where the time goes is
                 read from Describe's own times
    warm pool    a job that prints the time after `import torch`, on the pool that the job before it has left
                 (KeepAlivePeriodInSeconds), against the same Python started directly. It counts only when Describe says
                 that the pool was reused; a runtime that refuses pools is printed as not offering them
    channel      10,000 objects of 1 MiB (10 GB): from the job's Downloading to its Training transition, against
                 `cp -al` of the same files; what a plain copy would take is measured on 1,000 of them

The 10,000 objects are server-side copies of one, which the store makes as hard links: 10,000 names that hold 10 GB
together and share their blocks. Nothing here reads them, and the links of distinct files are made as quickly while
their inodes are in memory. The job counts files and bytes, so that a channel that is not whole is no figure.

    python -m benchmarks.runtime_jobs [--samples 15] [--files 10000] [--rounds 3] [--warm-samples 5]
    python -m benchmarks.runtime_jobs --quick
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from tests.runtime.jobs import CLUSTER, Jobs
from tests.runtime.process import IMAGE, ROLE, RuntimeProcess

from benchmarks.figures import Figure, emit, ratio, rounded, verdict
from benchmarks.raw_http import RawClient
from millrace.runtime.sandbox import bubblewrap_works

BUCKET = "bucket"
"""tests/runtime/jobs.py writes there too."""
SAY_TIME = [sys.executable, "-c", "import time; print(time.time(), flush=True)"]
IMPORT_TORCH = [sys.executable, "-c", "import torch, time; print(time.time(), flush=True)"]
COUNT = "import os, sys; sizes = [e.stat().st_size for e in os.scandir(sys.argv[1])]; print(len(sizes), sum(sizes))"
"""One line: SageMaker takes no other in an entrypoint."""
BARE_BUBBLEWRAP = [
    "bwrap",
    "--die-with-parent",
    "--unshare-pid",
    "--ro-bind",
    "/",
    "/",
    "--dev",
    "/dev",
    "--proc",
    "/proc",
]
FIRST_LINE_TARGET_MS, CHANNEL_TARGET_S, WARM_TARGET_MS = 150.0, 2.0, 300.0
FILE_BYTES = 1024 * 1024
COPIED_FILES = 1000
FREE_BYTES = 4 * 1024**3
"""What a plain copy of 1,000 files and the links' own blocks need, with room to spare."""
Samples = dict[str, list[float]]


class FirstLine:
    """One kind of job on one runtime, again and again."""

    def __init__(self, jobs: Jobs, kind: str) -> None:
        self.jobs = jobs
        self.kind = kind

    def sample(self) -> dict[str, float]:
        """Milliseconds of each leg, the whole way first."""
        name = self.jobs.name(self.kind)
        submitted = time.time()
        self._create(name)
        created = time.time()
        described = self.jobs.end(self.kind, name)
        status = described[f"{self.kind.capitalize()}JobStatus"]
        lines = self.jobs.lines(self.kind, name)
        if status != "Completed" or not lines:
            raise SystemExit(f"{name} has ended as {status}: {described.get('FailureReason')}; its log: {lines}")
        printed = float(lines[-1])
        legs = {"submit to first line": printed - submitted, "Create answered": created - submitted}
        if self.kind == "training":
            marks = {row["Status"]: row["StartTime"].timestamp() for row in described["SecondaryStatusTransitions"]}
            legs |= {
                "Create sent to Starting": marks["Starting"] - submitted,
                "Starting to Downloading (supervisor wakes, lease)": marks["Downloading"] - marks["Starting"],
                "Downloading to Training (staging)": marks["Training"] - marks["Downloading"],
                "Training to first line (shim, sandbox, Python)": printed - marks["Training"],
                "first line to Uploading": marks["Uploading"] - printed,
                "Uploading to Completed": marks["Completed"] - marks["Uploading"],
            }
        return {leg: seconds * 1000 for leg, seconds in legs.items()}

    def _create(self, name: str) -> None:
        if self.kind == "processing":
            application = {"ImageUri": IMAGE, "ContainerEntrypoint": SAY_TIME}
            self.jobs.processing("", name, AppSpecification=application)
        else:
            self.jobs.sagemaker.create_training_job(**training(name, SAY_TIME))


def training(name: str, entrypoint: list[str], **more: Any) -> dict[str, Any]:
    """A training job that runs a program of its own, not script mode."""
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": entrypoint,
        },
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/output"},
        "ResourceConfig": CLUSTER,
        "StoppingCondition": {"MaxRuntimeInSeconds": 300},
        **more,
    }


def directly(command: list[str]) -> float:
    """Milliseconds from starting a program that prints the time to its first line."""
    started = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return (float(done.stdout) - started) * 1000


@contextmanager
def runtime(folder: Path, *options: str) -> Iterator[Jobs]:
    process = RuntimeProcess(folder, *options)
    process.start()
    try:
        process.client("s3").create_bucket(Bucket=BUCKET)
        yield Jobs(process)
    finally:
        process.end_everything()


def first_lines(folder: Path, samples: int) -> dict[str, Figure]:
    """Both kinds of job, with and without sandbox, and the floors, in turn."""
    sandboxed = bubblewrap_works()
    ways = {"sandbox": "bubblewrap", "no sandbox": "process"} if sandboxed else {"no sandbox": "process"}
    taken: Samples = {}

    def note(name: str, value: float) -> None:
        taken.setdefault(name, []).append(value)

    runtimes = {way: runtime(folder / isolation, "--isolation", isolation) for way, isolation in ways.items()}
    with _all(runtimes) as jobs:
        rows = [(kind, way, FirstLine(jobs[way], kind)) for way in ways for kind in ("training", "processing")]
        for _, _, row in rows:
            row.sample()  # imports, connections, bytecode
        for _ in range(samples):
            note("Python directly", directly(SAY_TIME))
            if sandboxed:
                note("Python under a bare bubblewrap", directly([*BARE_BUBBLEWRAP, *SAY_TIME]))
            for kind, way, row in rows:
                for leg, value in row.sample().items():
                    note(f"{kind}, {way}: {leg}", value)
    return {name: Figure.of(values, "ms") for name, values in taken.items()}


@contextmanager
def _all(contexts: Mapping[str, AbstractContextManager[Jobs]]) -> Iterator[dict[str, Jobs]]:
    """Enter several runtimes; whatever happens, each is ended."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(context) for name, context in contexts.items()}


def show_first_lines(figures: dict[str, Figure]) -> None:
    print("from submit to the first line of a no-op script, milliseconds")
    for name, figure in figures.items():
        print(f"  {name:80} {figure}")
    floor = figures["Python directly"]
    for name, figure in figures.items():
        if name.endswith("submit to first line"):
            added = figure.median - floor.median
            print(f"  {name} - Python directly: {rounded(added)} ms, {ratio(figure, floor)}; "
                  f"{verdict(added, FIRST_LINE_TARGET_MS)}")  # fmt: skip


def warm_pool(folder: Path, samples: int) -> tuple[dict[str, Figure], str]:
    """The first line after `import torch` on a reused pool, and directly; or why there is none."""
    taken: Samples = {}
    with runtime(folder / "warm") as jobs:
        resources = {**CLUSTER, "KeepAlivePeriodInSeconds": 600}

        def run() -> tuple[str, float]:
            """A job's name, and milliseconds from its submission to its first line."""
            name = jobs.name("warm")
            submitted = time.time()
            jobs.sagemaker.create_training_job(**training(name, IMPORT_TORCH, ResourceConfig=resources))
            described = jobs.end("training", name)
            lines = jobs.lines("training", name)
            if described["TrainingJobStatus"] != "Completed" or not lines:
                raise SystemExit(f"{name} has not completed: {described.get('FailureReason')}; its log: {lines}")
            return name, (float(lines[-1]) - submitted) * 1000

        try:
            before, cold = run()
        except ClientError as refusal:
            return {}, f"not offered by the runtime: {refusal}"
        for _ in range(samples):
            directly_ms = directly(IMPORT_TORCH)
            name, elapsed = run()
            status = jobs.sagemaker.describe_training_job(TrainingJobName=before).get("WarmPoolStatus", {})
            if status.get("ReusedByJob") != name:
                return {}, f"not offered by the runtime: after {name} the pool of {before} is {status}"
            taken.setdefault("Python with torch directly", []).append(directly_ms)
            taken.setdefault("warm pool: submit to first line", []).append(elapsed)
            before = name
        jobs.sagemaker.update_training_job(TrainingJobName=before, ResourceConfig={"KeepAlivePeriodInSeconds": 0})
    figures = {name: Figure.of(values, "ms") for name, values in taken.items()}
    return figures | {"the first job, no pool yet": Figure.of([cold], "ms")}, ""


def show_warm_pool(figures: dict[str, Figure], lack: str) -> None:
    print("from submit to the first line behind `import torch`, milliseconds")
    if lack:
        print(f"  warm pool: {lack}; target {rounded(WARM_TARGET_MS)} ms: not measured")
        return
    for name, figure in figures.items():
        print(f"  {name:40} {figure}")
    warm, floor = figures["warm pool: submit to first line"], figures["Python with torch directly"]
    print(f"  warm pool: {verdict(warm.median, WARM_TARGET_MS)}; over Python with torch directly: "
          f"{rounded(warm.median - floor.median)} ms, {ratio(warm, floor)}")  # fmt: skip


def make_objects(port: int, count: int) -> None:
    """One object of 1 MiB and `count` copies of it, made by the store."""
    with RawClient(port, "s3") as client:
        client.expect("PUT", f"/{BUCKET}/seed", os.urandom(FILE_BYTES))

    def copy(share: range) -> None:
        source = {"x-amz-copy-source": f"/{BUCKET}/seed"}
        with RawClient(port, "s3") as client:
            for number in share:
                client.expect("PUT", f"/{BUCKET}/many/{number:05}.bin", headers=source)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(copy, [range(count)[first::8] for first in range(8)]))


def channel(folder: Path, count: int, rounds: int) -> dict[str, Figure]:
    """A job's channel of `count` files, and the floors over the store's own files, in turn."""
    if shutil.disk_usage(folder).free < FREE_BYTES:
        raise SystemExit(f"less than {FREE_BYTES >> 30} GiB are free in {folder}; set TMPDIR to a roomier disk")
    data = folder / "channel"
    taken: Samples = {}
    with runtime(data, "--isolation", "bubblewrap") as jobs:
        started = time.perf_counter()
        make_objects(jobs.runtime.port, count)
        making = time.perf_counter() - started
        objects, copies = data / "s3/objects", folder / "copies"
        for _ in range(rounds):
            taken.setdefault("cp -al of the same files", []).append(_cp(["-al", str(objects)], copies))
            some = [str(path) for path in sorted(objects.glob("*/*"))[: min(count, COPIED_FILES)]]
            copies.mkdir()
            taken.setdefault(f"plain copy of {len(some)} of them", []).append(_cp(some, copies))
            for leg, value in _channel_job(jobs, count).items():
                taken.setdefault(leg, []).append(value)
    gigabytes = count * FILE_BYTES / 1e9
    print(f"{count} files, {gigabytes:.3g} GB in one channel (made as copies in {rounded(making)} s), seconds")
    return {name: Figure.of(values, "s") for name, values in taken.items()}


def _cp(sources: list[str], target: Path) -> float:
    os.sync()
    started = time.perf_counter()
    subprocess.run(["cp", *sources, str(target)], check=True)
    elapsed = time.perf_counter() - started
    shutil.rmtree(target)
    return elapsed


def _channel_job(jobs: Jobs, count: int) -> dict[str, float]:
    name = jobs.name("channel")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/many/", "S3DataDistributionType": "FullyReplicated"}
    entrypoint = [sys.executable, "-c", COUNT, "/opt/ml/input/data/train"]
    os.sync()
    submitted = time.time()
    jobs.sagemaker.create_training_job(
        **training(name, entrypoint, InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}])
    )
    described = jobs.end("training", name, 300)
    lines = jobs.lines("training", name)
    if lines != [f"{count} {count * FILE_BYTES}"]:
        raise SystemExit(f"{name} has seen {lines} and not {count} files: {described.get('FailureReason')}")
    marks = {row["Status"]: row["StartTime"].timestamp() for row in described["SecondaryStatusTransitions"]}
    return {
        "Downloading to Training, Millrace": marks["Training"] - marks["Downloading"],
        "submit to Completed, Millrace": marks["Completed"] - submitted,
    }


def show_channel(figures: dict[str, Figure]) -> None:
    for name, figure in figures.items():
        print(f"  {name:40} {figure}")
    ready, links = figures["Downloading to Training, Millrace"], figures["cp -al of the same files"]
    print(f"  channel ready: {rounded(ready.median)} s; {verdict(ready.median, CHANNEL_TARGET_S)}")
    print(f"  channel ready / cp -al: {ratio(ready, links)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=15)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm-samples", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="does it run at all: some seconds, figures of no worth")
    options = parser.parse_args()
    if options.quick:
        options.samples, options.files, options.rounds, options.warm_samples = 2, 200, 1, 1
    with tempfile.TemporaryDirectory(prefix="millrace-jobs-") as folder:
        lines = first_lines(Path(folder), options.samples)
        show_first_lines(lines)
        warm, lack = warm_pool(Path(folder), options.warm_samples)
        show_warm_pool(warm, lack)
        files: dict[str, Figure] = {}
        if bubblewrap_works():
            files = channel(Path(folder), options.files, options.rounds)
            show_channel(files)
        else:
            print("channels are linked under bubblewrap only, which does not work here: not measured")
    emit("runtime_jobs", {"files": options.files, **lines, **warm, **files, "warm pool": lack or "reused"})


if __name__ == "__main__":
    main()
