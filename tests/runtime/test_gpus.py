"""GPUs: which there are, who gets which, and what a job sees of them. The driver's list is the seam: no GPU is needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.runtime import gpus
from millrace.runtime.capacity import UNITS, share_of, shares_of
from millrace.runtime.gpus import Gpu
from millrace.runtime.leases import Leases
from tests.runtime.jobs import CLUSTER, Jobs
from tests.runtime.process import RuntimeProcess, running, until

INFORMATION = """Model: \t\t NVIDIA H200
IRQ:   \t\t 24
GPU UUID: \t {uuid}
Video BIOS: \t 96.00.cf.00.01
Bus Type: \t PCIe
Device Minor: \t {minor}
GPU Excluded:\t No
"""
TWO = [Gpu("GPU-a", 0), Gpu("GPU-b", 1)]
WITH_TWO = (
    "from millrace.runtime import __main__, gpus\n"
    "gpus.found = lambda: [gpus.Gpu('GPU-a', 0), gpus.Gpu('GPU-b', 1)]\n"
    "raise SystemExit(__main__.main())"
)
TELL = "import os, time\nprint('sees', os.environ.get('CUDA_VISIBLE_DEVICES'), os.environ['SM_NUM_GPUS'], flush=True)\n"


def drivers_list(folder: Path, **texts: str) -> Path:
    for bus, text in texts.items():
        (folder / bus).mkdir(parents=True)
        (folder / bus / "information").write_text(text)
    return folder


def test_gpus_are_those_of_the_drivers_list(tmp_path: Path) -> None:
    folder = drivers_list(
        tmp_path,
        far=INFORMATION.format(uuid="GPU-b", minor=1),
        near=INFORMATION.format(uuid="GPU-a", minor=0),
        lost="Model: Unknown\n",
    )
    assert gpus.found(folder) == TWO
    assert gpus.found(tmp_path / "no driver") == []


@pytest.mark.parametrize(
    ("wish", "given"), [("auto", TWO), ("none", []), ("1", TWO[1:]), ("1, 0", TWO[::-1]), ("0,0", TWO[:1])]
)
def test_wish_chooses_among_them(wish: str, given: list[Gpu]) -> None:
    assert list(gpus.chosen(wish, TWO)) == given


@pytest.mark.parametrize("wish", ["2", "", "all", "0,", "GPU-a"])
def test_wish_for_what_is_not_there_is_refused_with_what_is(wish: str) -> None:
    with pytest.raises(ValueError, match="there are: 0, 1"):
        gpus.chosen(wish, TWO)


def test_runtime_says_so_before_it_starts(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "millrace.runtime", "--data-dir", str(tmp_path), "--gpus", "99"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--gpus 99" in done.stderr


def test_sandbox_shows_the_nodes_of_its_own_gpus_and_what_all_share(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert [node.name for node in gpus.nodes(TWO[1:], tmp_path)] == ["nvidia1", "nvidiactl", "nvidia-uvm"]
    assert gpus.nodes([], tmp_path) == []


@pytest.mark.parametrize(
    ("instance_type", "number"),
    [
        ("ml.p3.2xlarge", 1),
        ("ml.p3.16xlarge", 8),
        ("ml.p4d.24xlarge", 8),
        ("ml.g5.xlarge", 1),
        ("ml.g5.16xlarge", 1),
        ("ml.g5.48xlarge", 8),
        ("ml.g4dn.12xlarge", 4),
        ("ml.p6-b200.48xlarge", 8),
        ("ml.m5.24xlarge", 0),
        ("ml.trn1.32xlarge", 0),
    ],
)
def test_type_has_as_many_as_on_aws(instance_type: str, number: int) -> None:
    assert share_of(instance_type).gpus == number


@pytest.mark.parametrize(
    ("types", "here", "given"),
    [
        (["ml.p3.8xlarge"], 8, [4]),
        (["ml.p3.16xlarge"], 2, [2]),
        (["ml.p3.16xlarge"] * 2, 4, [2, 2]),
        (["ml.p3.16xlarge", "ml.g5.xlarge"], 2, [1, 1]),
        (["ml.p3.16xlarge"] * 3, 2, [0, 0, 0]),
        (["ml.m5.large", "ml.g5.xlarge"], 1, [0, 1]),
        (["ml.p3.2xlarge"], 0, [0]),
    ],
)
def test_job_is_scaled_down_to_the_gpus_that_are_here_or_has_none(
    types: list[str], here: int, given: list[int]
) -> None:
    shares = shares_of(types, here)
    assert [share.gpus for share in shares] == given
    assert sum(share.units for share in shares) <= UNITS


def test_gpu_is_leased_to_one_job_at_a_time() -> None:
    leases = Leases(gpus=["GPU-a", "GPU-b"])
    one = shares_of(["ml.g5.xlarge"], 2)
    first, second = leases.take(one, named_hosts=True), leases.take(one, named_hosts=True)
    assert first is not None
    assert second is not None
    assert sorted(first.gpus[0] + second.gpus[0]) == ["GPU-a", "GPU-b"]
    assert leases.lack(one) == "1 GPUs, and 0 of 2 are free"
    leases.free(first)
    third = leases.take(one, named_hosts=True)
    assert third is not None
    assert third.gpus == first.gpus


def test_gpu_of_a_job_of_an_earlier_life_is_held() -> None:
    one = shares_of(["ml.g5.xlarge"], 1)
    before = Leases(gpus=["GPU-a"]).take(one, named_hosts=True)
    assert before is not None
    leases = Leases(gpus=["GPU-a"])
    leases.hold(before)
    assert leases.take(one, named_hosts=True) is None


@pytest.fixture(scope="module")
def with_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    """A runtime on a machine whose driver lists two GPUs."""
    with running(tmp_path_factory.mktemp("gpus"), program=("-c", WITH_TWO)) as process:
        yield process


def resources(instance_type: str) -> dict[str, Any]:
    return {**CLUSTER, "InstanceType": instance_type}


def seen(jobs: Jobs, name: str) -> str:
    """What a job printed about its GPUs."""
    return next((line.removeprefix("sees ") for line in jobs.lines("training", name) if line.startswith("sees ")), "")


def test_jobs_see_their_own_gpus_and_wait_for_those_of_others(with_two: RuntimeProcess) -> None:
    jobs = Jobs(with_two)
    wait = TELL + "time.sleep(600)"
    holders = [jobs.training(wait, ResourceConfig=resources("ml.g5.xlarge")) for _ in range(2)]
    held = [until(lambda name=name: seen(jobs, name), 30, "its GPU") for name in holders]  # type: ignore[misc]
    assert sorted(held) == ["GPU-a 1", "GPU-b 1"]
    waiting = jobs.training(TELL, ResourceConfig=resources("ml.g5.xlarge"))

    def pending() -> str:
        last = jobs.sagemaker.describe_training_job(TrainingJobName=waiting)["SecondaryStatusTransitions"][-1]
        return str(last["StatusMessage"]) if last["Status"] == "Pending" else ""

    assert "1 GPUs, and 0 of 2 are free" in until(pending, 30, "the wait")
    jobs.sagemaker.stop_training_job(TrainingJobName=holders[0])
    jobs.end("training", waiting)
    assert seen(jobs, waiting) == held[0]
    jobs.sagemaker.stop_training_job(TrainingJobName=holders[1])
    jobs.end("training", holders[1])


def test_job_on_a_type_without_gpus_sees_none(with_two: RuntimeProcess) -> None:
    jobs = Jobs(with_two)
    name = jobs.training(TELL)
    jobs.end("training", name)
    assert seen(jobs, name) == " 0"


def test_job_that_gets_fewer_than_its_type_has_is_told(with_two: RuntimeProcess) -> None:
    jobs = Jobs(with_two)
    name = jobs.training(TELL, ResourceConfig=resources("ml.p3.16xlarge"))
    jobs.end("training", name)
    assert seen(jobs, name) == "GPU-a,GPU-b 2"
    assert "[millrace] ml.p3.16xlarge has 8 GPUs; of this machine the instance gets 2" in jobs.lines("training", name)
