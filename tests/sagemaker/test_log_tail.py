"""Following a real job's log: every line once, across calls and processes, each behind its host when there are several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millrace.sagemaker.kinds import PROCESSING, TRAINING
from millrace.sagemaker.log_tail import LogTail
from tests.runtime.jobs import CLUSTER, Jobs
from tests.runtime.process import RuntimeProcess, until

TWO = {"ClusterConfig": CLUSTER | {"InstanceCount": 2}}


@pytest.fixture
def logs(runtime: RuntimeProcess) -> Any:
    return runtime.client("logs")


def test_a_log_that_is_not_there_yet_is_no_error(logs: Any) -> None:
    tail = LogTail(PROCESSING, "never-made")
    assert list(tail.read(logs)) == []
    assert tail.tokens == {}


def test_each_line_is_read_once_and_in_order(jobs: Jobs, logs: Any) -> None:
    name = jobs.processing("for n in 1 2 3; do echo line $n; done")
    jobs.end("processing", name)
    tail = LogTail(PROCESSING, name)
    assert list(tail.read(logs)) == ["line 1", "line 2", "line 3"]
    assert list(tail.read(logs)) == []


def test_another_process_goes_on_where_the_first_stopped(jobs: Jobs, logs: Any, tmp_path: Path) -> None:
    jobs.put("tail/go", b"")
    base = '"${SAGEMAKER_BASE_DIR:-/opt/ml}"'
    name = jobs.processing(f"echo first; while [ ! -e {base}/go ]; do sleep 0.05; done; echo second")
    tail = LogTail(PROCESSING, name)
    assert until(lambda: list(tail.read(logs)), 30, "the first line") == ["first"]
    tokens = json.loads(json.dumps(tail.tokens))
    (tree,) = jobs.runtime.data_dir.glob(f"jobs/{job_id(jobs, name)}/algo-1/ml")
    (tree / "go").touch()
    jobs.end("processing", name)
    assert list(LogTail(PROCESSING, name, tokens).read(logs)) == ["second"]
    assert list(LogTail(PROCESSING, name).read(logs)) == ["first", "second"]


def job_id(jobs: Jobs, name: str) -> str:
    """The folder of a job, found by what its configuration says."""
    for config in jobs.runtime.data_dir.glob("jobs/*/algo-1/ml/config/processingjobconfig.json"):
        if json.loads(config.read_text())["ProcessingJobName"] == name:
            return config.parents[3].name
    raise AssertionError(f"{name} has no folder")


def test_lines_of_several_instances_stand_behind_their_hosts(jobs: Jobs, logs: Any) -> None:
    name = jobs.processing("echo hello", ProcessingResources=TWO)
    jobs.end("processing", name)
    assert sorted(LogTail(PROCESSING, name).read(logs)) == ["[algo-1] hello", "[algo-2] hello"]


def test_lines_of_a_job_whose_name_begins_alike_are_left_to_it(jobs: Jobs, logs: Any) -> None:
    name = jobs.processing("echo mine")
    other = jobs.processing("echo theirs", name=f"{name}-2")
    for job in (name, other):
        jobs.end("processing", job)
    assert list(LogTail(PROCESSING, name).read(logs)) == ["mine"]


def test_kinds_have_logs_of_their_own(jobs: Jobs, logs: Any) -> None:
    name = jobs.processing("echo processing")
    jobs.end("processing", name)
    assert list(LogTail(TRAINING, name).read(logs)) == []


def test_text_that_is_not_ascii_arrives_whole(jobs: Jobs, logs: Any) -> None:
    name = jobs.processing("echo 'größer als 9 → übersprungen'")
    jobs.end("processing", name)
    assert list(LogTail(PROCESSING, name).read(logs)) == ["größer als 9 → übersprungen"]


def test_a_log_longer_than_a_page_is_read_to_its_end(jobs: Jobs, logs: Any) -> None:
    name = jobs.processing("seq 1 25000")
    jobs.end("processing", name)
    assert list(LogTail(PROCESSING, name).read(logs)) == [str(number) for number in range(1, 25_001)]
