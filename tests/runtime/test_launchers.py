"""Images to commands: AWS's and our own by their repository, anything else refused by name and never faked."""

from __future__ import annotations

import json
import sys
import venv
from pathlib import Path
from typing import Any, get_args

import pytest

from millrace.runtime import launchers
from millrace.runtime.errors import JobFailed
from millrace.runtime.launchers import ENTRYPOINT, ImagesError, Use, command, find, own_launchers
from millrace.runtime.sandbox import PACKAGE
from tests.runtime.jobs import Jobs
from tests.runtime.process import RuntimeProcess

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
        (f"{ECR}/sagemaker-model-monitor-analyzer", "process", "model-monitor-analyzer"),
        (f"{ECR}/sagemaker-clarify-processing:1.0", "process", "model-monitor-analyzer"),
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
    assert command("any/image", use, "/opt/millrace", ["sh", "-c"], ["true"]) == (["sh", "-c", "true"], ENTRYPOINT)


@pytest.mark.parametrize("use", ["train", "serve"])
def test_the_built_in_programs_are_files_that_exist(use: Use) -> None:
    argv, launcher = command("local/jobs", use, str(PACKAGE), arguments=["--extra"])
    assert (argv[:2], argv[3:], launcher.name) == ([sys.executable, "-P"], ["--extra"], "local/jobs")
    assert Path(argv[2]).is_file()


def test_a_processing_job_needs_an_entrypoint_since_no_image_has_a_program_for_it() -> None:
    with pytest.raises(JobFailed, match=r"give AppSpecification\.ContainerEntrypoint"):
        command("local/jobs", "process", "/opt/millrace")


def test_every_launcher_is_of_some_use() -> None:
    assert all(row.uses and row.uses <= set(USES) for row in launchers.LAUNCHERS)


def write(data_dir: Path, rows: Any) -> Path:
    (data_dir / "images.json").write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return data_dir


def test_rows_of_the_machines_owner_come_first_and_in_their_order(tmp_path: Path) -> None:
    rows = [
        {"image": "*/xgboost:1.*", "name": "old", "train": ["{python}", "/opt/train.py"], "environment": sys.prefix},
        {"image": "*/xgboost:*", "name": "new", "train": True},
        {"image": "local/jobs", "name": "mine", "process": True},
    ]
    own = own_launchers(write(tmp_path, rows))
    argv, launcher = command(f"{ECR}/xgboost:1.7", "train", "/b", arguments=["x"], own=own)
    assert (argv, launcher.name) == ([f"{sys.prefix}/bin/python", "/opt/train.py", "x"], "old")
    assert launcher.environment == Path(sys.prefix)
    argv, launcher = command(f"{ECR}/xgboost:2", "train", "/b", own=own)
    assert (argv, launcher.name) == ([sys.executable, "-P", "/b/training/script_mode.py"], "new")
    assert find("local/jobs", "process", own).name == "mine"
    with pytest.raises(JobFailed, match="cannot be used to serve"):
        find(f"{ECR}/xgboost:2", "serve", own)


def test_without_the_file_there_are_no_own_rows(tmp_path: Path) -> None:
    assert own_launchers(tmp_path) == ()


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("{", "is not JSON"),
        ({}, "must be a list of rows"),
        ([{"name": "x", "train": True}], 'row 1 .* must be an object with "image"'),
        ([{"image": "x", "tain": True}], "has 'tain'; known are"),
        ([{"image": "x"}], "can be used for nothing"),
        ([{"image": "x", "train": "python"}], "train is 'python'; it must be"),
        ([{"image": "x", "train": True, "environment": "/nowhere"}], "no bin/python in the environment /nowhere"),
    ],
)
def test_file_that_cannot_be_used_says_which_row_and_why(tmp_path: Path, rows: Any, says: str) -> None:
    with pytest.raises(ImagesError, match=says):
        own_launchers(write(tmp_path, rows))


def test_substitution_is_told_in_log_and_tags_and_an_environment_is_seen_from_inside(
    own_runtime: RuntimeProcess, tmp_path: Path
) -> None:
    venv.create(tmp_path / "mine", symlinks=True)
    rows = [{"image": "*/our-processing:*", "name": "ours", "environment": str(tmp_path / "mine"), "process": True}]
    write(own_runtime.data_dir, rows)
    jobs = Jobs(own_runtime)
    application = {
        "ImageUri": f"{ECR}/our-processing:3",
        "ContainerEntrypoint": ["python3", "-c", "import sys; print(sys.prefix)"],
    }
    name = jobs.processing("", AppSpecification=application)
    description = jobs.end("processing", name)
    assert description["ProcessingJobStatus"] == "Completed", jobs.lines("processing", name)
    assert jobs.lines("processing", name) == [
        "[millrace] ours of this machine stands for the job's image", str(tmp_path / "mine"),
    ]  # fmt: skip
    tags = jobs.sagemaker.list_tags(ResourceArn=description["ProcessingJobArn"])["Tags"]
    assert {"Key": "millrace:launcher", "Value": "ours"} in tags
    plain = jobs.processing("true")
    arn = jobs.end("processing", plain)["ProcessingJobArn"]
    assert jobs.sagemaker.list_tags(ResourceArn=arn)["Tags"] == []
    write(own_runtime.data_dir, "{")
    assert "images.json is not JSON" in jobs.end("processing", jobs.processing("true"))["FailureReason"]
