"""Images to commands: AWS's and our own by their repository, anything else refused by name and never faked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import pytest

from millrace.runtime import launchers
from millrace.runtime.errors import JobFailed
from millrace.runtime.launchers import Use, command, find
from millrace.runtime.sandbox import PACKAGE

ECR = "763104351884.dkr.ecr.eu-west-1.amazonaws.com"
USES: tuple[Use, ...] = get_args(Use)


@pytest.mark.parametrize("image", ["local/jobs", "local/python", "local/jobs:1.0"])
@pytest.mark.parametrize("use", USES)
def test_local_images_serve_every_use(image: str, use: Use) -> None:
    assert find(image, use).name == image.partition(":")[0]


@pytest.mark.parametrize(
    ("image", "use", "name"),
    [
        (f"{ECR}/millrace-jobs:1.0", "train", "millrace-jobs"),
        (f"{ECR}/team/millrace-jobs@sha256:0f", "serve", "millrace-jobs"),
        (f"{ECR}/pytorch-training:2.6-cpu-py312", "train", "pytorch-training"),
        (f"{ECR}/huggingface-pytorch-training:2.1", "process", "pytorch-training"),
        (f"{ECR}/pytorch-inference:2.6-cpu-py312", "serve", "pytorch-inference"),
        (f"{ECR}/sagemaker-scikit-learn:1.2-1-cpu-py3", "process", "scikit-learn"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/millrace-jobs", "train", "millrace-jobs"),
    ],
)
def test_the_repository_decides_whatever_account_and_region(image: str, use: Use, name: str) -> None:
    assert find(image, use).name == name


@pytest.mark.parametrize(
    "image",
    ["python:3.11", "local/gpu", "local/", f"{ECR}/xgboost:1.7", "millrace-jobs", "evil.example.com/millrace-jobs",
     f"{ECR}/not-millrace-jobs-at-all:1", f"x{ECR}/millrace-jobs", ""],
)  # fmt: skip
def test_an_image_that_nothing_stands_for_is_refused_by_name_with_what_would_do(image: str) -> None:
    with pytest.raises(JobFailed, match="image not mapped") as caught:
        find(image, "train")
    assert repr(image) in str(caught.value)
    assert "local/jobs" in str(caught.value)
    assert "ContainerEntrypoint" in str(caught.value)


@pytest.mark.parametrize(("image", "use"), [("pytorch-training", "serve"), ("pytorch-inference", "train")])
def test_an_image_is_refused_for_a_use_that_it_is_not_made_for(image: str, use: Use) -> None:
    with pytest.raises(JobFailed, match=f"cannot be used to {use}"):
        find(f"{ECR}/{image}:1", use)


@pytest.mark.parametrize("use", USES)
def test_an_entrypoint_runs_as_it_is_whatever_the_image(use: Use) -> None:
    assert command("any/image", use, "/opt/millrace", ["sh", "-c"], ["true"]) == (["sh", "-c", "true"], "entrypoint")


@pytest.mark.parametrize("use", ["train", "serve"])
def test_the_built_in_programs_are_files_that_exist(use: Use) -> None:
    argv, name = command("local/jobs", use, str(PACKAGE), arguments=["--extra"])
    assert (argv[:2], argv[3:], name) == ([sys.executable, "-P"], ["--extra"], "local/jobs")
    assert Path(argv[2]).is_file()


def test_a_processing_job_needs_an_entrypoint_since_no_image_has_a_program_for_it() -> None:
    with pytest.raises(JobFailed, match=r"give AppSpecification\.ContainerEntrypoint"):
        command("local/jobs", "process", "/opt/millrace")


def test_every_launcher_is_of_some_use() -> None:
    assert all(row.uses and row.uses <= set(USES) for row in launchers.LAUNCHERS)
