"""Jobs of several instances under network isolation: they reach each other, and nothing else.

The first half drives jobs; the second starts instances without a runtime, for what is about the order of their starts.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from millrace.runtime import fault_plan, shared_network, shim
from millrace.runtime.fault_plan import Rule
from millrace.runtime.faults import CrashHost
from millrace.runtime.instance import Instance, Spec
from millrace.runtime.sandbox import Box
from tests.runtime.jobs import CLUSTER, Jobs, archive
from tests.runtime.process import RuntimeProcess, needs_sandbox, until
from tests.runtime.test_processing_jobs import source, target
from tests.runtime.test_training_jobs import RENDEZVOUS, channel

pytestmark = [pytest.mark.e2e, needs_sandbox]

REACHED = """
import json, os, pathlib, socket
def reaches(family, address):
    with socket.socket(family) as trial:
        trial.settimeout(5)
        try:
            trial.connect(tuple(address) if family == socket.AF_INET else address)
        except OSError:
            return False
    return True
reached = [name for name, (family, address) in {places!r}.items() if reaches(family, address)]
folder = os.environ.get("SM_MODEL_DIR", "/opt/ml/processing/output/reached")
pathlib.Path(folder, socket.gethostname() + ".json").write_text(json.dumps(reached))
"""
MEET = """
import os, socket, time
def hear(address):
    while True:
        try:
            with socket.create_connection(address) as connection:
                return connection.recv(100).decode()
        except ConnectionRefusedError:
            time.sleep(0.02)
def tell(address, text, times):
    with socket.create_server(address) as server:
        for _ in range(times):
            with server.accept()[0] as connection:
                connection.sendall(text.encode())
own, first = os.environ.get("TRAINING_JOB_NAME", "processing"), ("algo-1", 25001)
"""


@pytest.fixture
def places(runtime: RuntimeProcess) -> Iterator[dict[str, Any]]:
    """Sockets of the host: name to family and address."""
    abstract = f"\0millrace-{os.getpid()}"
    with (
        socket.create_server(("", 0)) as everywhere,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        unix.bind(abstract)
        unix.listen()
        yield {
            "runtime": (socket.AF_INET.value, ("127.0.0.1", runtime.port)),
            "loopback": (socket.AF_INET.value, ("127.0.0.1", everywhere.getsockname()[1])),
            "abstract": (socket.AF_UNIX.value, abstract),
        }


def isolated(jobs: Jobs, script: str, instances: int = 2, **options: Any) -> str:
    """An isolated training job; its code comes as a channel."""
    folder = jobs.name("isolated")
    jobs.put(f"{folder}/source.tar.gz", archive({"train.py": script}))
    return jobs.training(
        script, instances=instances, EnableNetworkIsolation=True, InputDataConfig=channel(f"s3://bucket/{folder}/"),
        hyperparameters={"sagemaker_submit_directory": '"/opt/ml/input/data/train/source.tar.gz"'}, **options,
    )  # fmt: skip


def completed(jobs: Jobs, name: str) -> dict[str, Any]:
    description = jobs.end("training", name, 150)
    assert description["TrainingJobStatus"] == "Completed", (
        description.get("FailureReason"),
        jobs.lines("training", name),
    )
    return description


def test_without_isolation_an_instance_reaches_the_host(jobs: Jobs, places: dict[str, Any]) -> None:
    files = jobs.model_files(completed(jobs, jobs.training(REACHED.format(places=places))))
    assert json.loads(files["algo-1.json"]) == list(places)  # else what follows would show nothing


def test_isolated_instances_rendezvous_and_reach_nothing_of_the_host(jobs: Jobs, places: dict[str, Any]) -> None:
    script = RENDEZVOUS + REACHED.format(places=places)
    name = isolated(jobs, script, 2, torchrun=True)
    files = {file: json.loads(body) for file, body in jobs.model_files(completed(jobs, name)).items()}
    assert files.pop("sum.json") == {"sum": 3.0, "world": 2}
    assert files == {"algo-1.json": [], "algo-2.json": []}


def test_isolated_processing_instances_meet_and_reach_nothing_of_the_host(jobs: Jobs, places: dict[str, Any]) -> None:
    script = MEET + (
        "if socket.gethostname() == 'algo-1':\n    tell(first, 'met', 1)\nelse:\n    print('heard', hear(first))\n"
    )
    jobs.put("isolated-processing/in/run.py", (script + REACHED.format(places=places)).encode())
    name = jobs.processing(
        "python /opt/ml/processing/input/code/run.py",
        ProcessingInputs=[source("code", "s3://bucket/isolated-processing/in/")],
        ProcessingResources={"ClusterConfig": CLUSTER | {"InstanceCount": 2}},
        NetworkConfig={"EnableNetworkIsolation": True},
        ProcessingOutputConfig={"Outputs": [target("reached", "s3://bucket/isolated-processing/out")]},
    )
    description = jobs.end("processing", name)
    assert description["ProcessingJobStatus"] == "Completed", jobs.lines("processing", name)
    assert jobs.lines("processing", name) == ["heard met"]
    for host in ("algo-1", "algo-2"):
        body = jobs.s3.get_object(Bucket="bucket", Key=f"isolated-processing/out/{host}.json")["Body"].read()
        assert json.loads(body) == []


def test_two_isolated_jobs_have_the_same_port_and_never_meet(jobs: Jobs) -> None:
    script = MEET + (
        "address = ('127.0.0.9', 25001)\n"
        "if socket.gethostname() == 'algo-1':\n    tell(address, own, 10**9)\n"
        "print('heard', hear(address), flush=True)\ntime.sleep(600)\n"
    )
    names = [isolated(jobs, script) for _ in range(2)]
    until(lambda: all(any("heard" in line for line in lines(jobs, name)) for name in names), 60, "both jobs' words")
    assert [jobs.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] for name in names] == [
        "InProgress", "InProgress",
    ]  # fmt: skip
    for name in names:
        jobs.sagemaker.stop_training_job(TrainingJobName=name)
    for name in names:
        assert jobs.end("training", name)["TrainingJobStatus"] == "Stopped"
        assert [line for line in lines(jobs, name) if "heard" in line] == [f"heard {name}"]


def lines(jobs: Jobs, name: str) -> list[str]:
    try:
        return jobs.lines("training", name)
    except jobs.logs.exceptions.ResourceNotFoundException:
        return []


def test_network_lasts_as_long_as_anybody_is_in_it(jobs: Jobs) -> None:
    script = MEET + (
        "mine = socket.gethostname()\n"
        "if mine == 'algo-2':\n    tell((mine, 25001), 'two', 1)\n    tell((mine, 25001), 'two again', 1)\n"
        "if mine == 'algo-3':\n    assert hear(('algo-2', 25001)) == 'two'\n    time.sleep(1)\n"
        "    assert hear(('algo-2', 25001)) == 'two again'\n"
    )
    completed(jobs, isolated(jobs, script, 3))  # algo-1 ends at once, and it may be the one that has made the network


def test_runtime_killed_between_two_starts_starts_the_second_into_the_firsts_network(
    own_runtime: RuntimeProcess,
) -> None:
    jobs = Jobs(own_runtime)
    script = MEET + (
        "if socket.gethostname() == 'algo-1':\n    print('serves', flush=True)\n    tell(first, own, 1)\n"
        "else:\n"
        "    while not os.path.exists('/opt/ml/go'):\n        time.sleep(0.02)\n"
        "    print('heard', hear(first))\n"
    )
    name = isolated(jobs, script)
    until(lambda: "serves" in lines(jobs, name), 30, "the first's words")
    second = until(lambda: list(own_runtime.data_dir.glob("jobs/*/algo-2/payload.json")), 30, "the second")[0].parent
    own_runtime.kill()
    Instance(second).kill()
    for record in ("lock", "shim.json", "payload.json", "spec.json", "shim.err"):  # as if it had not been started
        (second / record).unlink(missing_ok=True)
    (second / "ml/go").touch()
    own_runtime.start()
    completed(jobs, name)
    assert f"heard {name}" in lines(jobs, name)


def test_start_after_a_lost_host_has_a_network_again(own_runtime: RuntimeProcess) -> None:
    jobs = Jobs(own_runtime)
    script = MEET + (
        "if socket.gethostname() == 'algo-1':\n    tell(first, own, 1)\nelse:\n    print('heard', hear(first), flush=True)\n"
        "time.sleep(2)\n"
    )
    fault_plan.write(own_runtime.data_dir, [Rule(CrashHost(run_seconds=0.5), operation="CreateTrainingJob", times=1)])
    name = isolated(jobs, script, RetryStrategy={"MaximumRetryAttempts": 1})
    statuses = [row["Status"] for row in completed(jobs, name)["SecondaryStatusTransitions"]]
    assert statuses.count("Restarting") == 1
    assert lines(jobs, name)[-1] == f"heard {name}"


SHOW = "readlink /proc/self/ns/net"
STAY = f"{SHOW}; sleep 600"
OF_THE_HOST = str(Path("/proc/self/ns/net").readlink())
HOSTS = {f"algo-{number}": f"127.64.1.{number}" for number in range(1, 5)}


class Start:
    """One start of a job of four isolated instances, each a shell script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.instances: dict[int, Instance] = {}

    def run(self, number: int, script: str, bwrap: Path | None = None) -> Instance:
        """
        Args:
            bwrap: a program that stands for bubblewrap.
        """
        folder = self.folder / f"algo-{number}"
        box = Box(
            ml=folder / "ml", hostname=f"algo-{number}", hosts=HOSTS, sandboxed=True, isolate_network=True
        )  # fmt: skip
        box.ml.mkdir(parents=True)
        self.instances[number] = Instance(folder)
        argv = box.wrap(["/bin/sh", "-c", script])
        self.instances[number].start(spec([str(bwrap or argv[0]), *argv[1:]], cwd=box.ml))
        return self.instances[number]

    def said(self, number: int) -> str:
        return network_in(self.instances[number].log)

    def network(self, number: int) -> str:
        return until(lambda: self.said(number), 20, f"the words of algo-{number}")

    def waits(self, number: int) -> bool:
        """Whether its shim waits for a lock."""
        pid = json.loads((self.instances[number].folder / "shim.json").read_text())["pid"]
        return bool(re.search(rf"-> FLOCK +ADVISORY +WRITE {pid} ", Path("/proc/locks").read_text()))

    def init(self, number: int) -> dict[str, Any]:
        self.network(number)
        record = self.instances[number].folder / "payload.json"
        until(record.exists, 20, "its record")
        found: dict[str, Any] = json.loads(record.read_text())["init"]
        return found

    def close(self) -> None:
        for instance in self.instances.values():
            instance.kill()
            until(instance.ended, 20, f"the end of {instance.folder}")


def spec(argv: Sequence[str], cwd: Path) -> Spec:
    return Spec(
        argv=list(argv), env={"PATH": "/usr/bin:/bin"}, cwd=str(cwd), sandboxed=True, cpus=[], grace_seconds=1,
        max_seconds=60, shares_network=True,
    )  # fmt: skip


def network_in(log: Path) -> str:
    text = log.read_text() if log.exists() else ""
    found = re.search(r"net:\[\d+\]", text)
    assert found or "rror" not in text, text
    return found[0] if found else ""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with contextlib.closing(Start(tmp_path / "job")) as start:
        yield start


def test_instances_that_start_at_once_agree(start: Start, tmp_path: Path) -> None:
    slow, go = tmp_path / "bwrap", tmp_path / "go"
    slow.write_text(f'#!/bin/sh\nwhile ! [ -e {go} ]; do sleep 0.02; done\nexec bwrap "$@"\n')
    slow.chmod(0o755)
    start.run(1, STAY, bwrap=slow)
    for number in (2, 3, 4):
        start.run(number, STAY)
        until(lambda number=number: start.waits(number) or start.said(number), 20, f"algo-{number}")  # type: ignore[misc]
    go.touch()
    networks = {start.network(number) for number in range(1, 5)}
    assert len(networks) == 1
    assert networks != {OF_THE_HOST}


def test_instance_that_starts_when_all_its_peers_have_ended_has_a_network_that_works(start: Start) -> None:
    first = start.run(1, SHOW)
    assert until(first.ended, 20, "the end of the first").exit_code == 0
    talk = "import socket; s = socket.create_server(('algo-2', 8001)); socket.create_connection(('algo-2', 8001))"
    second = start.run(2, f'{SHOW}; exec {sys.executable} -c "{talk}"')
    ended = until(second.ended, 20, "the end of the second")
    assert ended.exit_code == 0, second.log.read_text()


def test_third_joins_the_second_where_the_first_has_ended(start: Start) -> None:
    first = start.run(1, f"{SHOW}; while ! [ -e /opt/ml/end ]; do sleep 0.02; done")
    start.run(2, STAY)
    assert start.network(1) == start.network(2)
    (first.folder / "ml/end").touch()
    until(first.ended, 20, "the end of the first")
    start.run(3, STAY)
    assert start.network(3) == start.network(2)


@pytest.mark.parametrize("changed", [{}, {"start_time": "1"}, {"boot_id": "another"}])
def test_pid_alone_is_no_peer(start: Start, tmp_path: Path, changed: dict[str, str]) -> None:
    with contextlib.closing(Start(tmp_path / "other")) as other:
        other.run(1, STAY)
        forged = start.folder / "algo-1" / "payload.json"
        forged.parent.mkdir(parents=True)
        forged.write_text(json.dumps({"started": 1.0, "init": other.init(1) | changed}))
        start.run(2, STAY)
        assert (start.network(2) == other.network(1)) is (not changed)


NOBODY = 65534
SYSTEM_PYTHON = Path("/usr/bin/python3")


@pytest.mark.skipif(
    os.geteuid() != 0 or not SYSTEM_PYTHON.exists(), reason="who is not root sees it by the other tests of this file"
)
def test_who_is_not_root_shares_a_network_as_well() -> None:
    as_nobody: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    bwrap = ["bwrap", "--die-with-parent", "--unshare-pid", "--unshare-net", "--cap-drop", "ALL", "--ro-bind", "/", "/",
             "--dev", "/dev", "--proc", "/proc"]  # fmt: skip
    if subprocess.run([*bwrap, "true"], **as_nobody, check=False).returncode != 0:
        pytest.skip("this machine gives user namespaces to root only")
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are root's alone
        job = Path(name)
        os.chown(job, NOBODY, NOBODY)
        program, _ = (shutil.copy(str(module.__file__), job) for module in (shim, shared_network))
        folders = [job / "algo-1", job / "algo-2"]
        shims = []
        for folder in folders:
            folder.mkdir()
            os.chown(folder, NOBODY, NOBODY)
            shown = spec([*bwrap, "sh", "-c", f"id -u; grep CapEff /proc/self/status; {STAY}"], cwd=folder)
            (folder / "spec.json").write_text(json.dumps(asdict(shown)))
            shims.append(subprocess.Popen([SYSTEM_PYTHON, "-I", "-S", program, folder], **as_nobody))
        try:
            logs = [folder / "log" for folder in folders]
            until(lambda: all(map(network_in, logs)), 20, "the words of both")
            networks = {network_in(log) for log in logs}
            assert len(networks) == 1
            assert networks != {OF_THE_HOST}
            for log in logs:
                said = [line.split()[-1] for line in log.read_text().splitlines()]
                assert said[:2] == [str(NOBODY), "0" * 16]
        finally:
            for process in shims:
                process.terminate()
            for process in shims:
                process.wait(timeout=20)
