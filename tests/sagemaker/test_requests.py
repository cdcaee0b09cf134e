"""The requests that builders make: what a job will see, and an entrypoint that a plain shell really runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from millrace.sagemaker.requests import Cluster, ProcessingRequest, TrainingRequest, entrypoint
from tests.runtime.jobs import archive
from tests.sagemaker.built import MODEL, PROCESSING, TRAINING, TRANSFORM

ROLE = "arn:aws:iam::123456789012:role/jobs"
CLUSTER = Cluster(instance_type="ml.m5.large")
TALKS = """
import json, pathlib, sys
from package import beside
print(json.dumps({"arguments": sys.argv[1:], "cwd": str(pathlib.Path.cwd()), "beside": beside.WORD, "name": __name__}))
sys.exit(beside.CODE)
"""


def training(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "job_name": "t", "role_arn": ROLE, "image": "local/jobs", "program": "train.py", "code_uri": "s3://b/code/1.tar.gz",
        "output_uri": "s3://b/out", "cluster": CLUSTER, "channels": {"train": "s3://b/train"},
    }  # fmt: skip
    return TrainingRequest(**arguments | changes).to_api()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A job's tree, with an archive of two modules as its code input."""
    code = tmp_path / "processing/input/code"
    code.mkdir(parents=True)
    files = {"package/__init__.py": "", "package/beside.py": "WORD, CODE = 'hello', 0\n", "package/talks.py": TALKS}
    (code / "0123abcd.tar.gz").write_bytes(archive(files))
    return tmp_path


def run(command: list[str], base: Path) -> subprocess.CompletedProcess[str]:
    # python3 is found on PATH, as in an image
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, env={"PATH": path, "SAGEMAKER_BASE_DIR": str(base)}, capture_output=True, text=True, check=False
    )


def test_the_entrypoint_unpacks_the_archive_and_runs_the_module_with_its_arguments(base: Path) -> None:
    arguments = ["--name", "two words", "$HOME `id` \"quoted\" 'single'", "*", ""]
    ended = run([*entrypoint("package.talks"), *arguments], base)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {
        "arguments": arguments, "cwd": str((base / "processing").resolve()), "beside": "hello", "name": "__main__",
    }  # fmt: skip


def test_the_modules_exit_code_is_the_entrypoints(base: Path) -> None:
    files = {"package/__init__.py": "", "package/talks.py": "raise SystemExit(7)\n"}
    (base / "processing/input/code/0123abcd.tar.gz").write_bytes(archive(files))
    assert run(entrypoint("package.talks"), base).returncode == 7


def test_an_entrypoint_without_its_archive_fails_and_says_so(base: Path) -> None:
    (base / "processing/input/code/0123abcd.tar.gz").unlink()
    ended = run(entrypoint("package.talks"), base)
    assert ended.returncode != 0
    assert "tar" in ended.stderr


def test_every_part_of_the_entrypoint_fits_into_256_characters() -> None:
    assert all(0 < len(part) <= 256 for part in entrypoint("pipelines.digits.jobs.evaluate"))


def test_processing_inputs_and_outputs_lie_where_the_entrypoint_works() -> None:
    request = ProcessingRequest(
        job_name="p", role_arn=ROLE, image="local/jobs", module="m", code_uri="s3://b/code/1.tar.gz", cluster=CLUSTER,
        inputs={"data": "s3://b/data"}, outputs={"report": "s3://b/report"},
    ).to_api()  # fmt: skip
    inputs = {i["InputName"]: (i["S3Input"]["S3Uri"], i["S3Input"]["LocalPath"]) for i in request["ProcessingInputs"]}
    assert inputs == {
        "code": ("s3://b/code/1.tar.gz", "/opt/ml/processing/input/code"),
        "data": ("s3://b/data", "/opt/ml/processing/input/data"),
    }
    (output,) = request["ProcessingOutputConfig"]["Outputs"]
    assert output["S3Output"] == {
        "S3Uri": "s3://b/report", "LocalPath": "/opt/ml/processing/output/report", "S3UploadMode": "EndOfJob",
    }  # fmt: skip


@given(PROCESSING)
def test_what_a_processing_request_does_not_say_is_left_out(request: ProcessingRequest) -> None:
    made = request.to_api()
    assert ("ContainerArguments" in made["AppSpecification"]) is bool(request.arguments)
    assert ("ProcessingOutputConfig" in made) is bool(request.outputs)
    assert ("Environment" in made) is bool(request.environment)
    assert ("NetworkConfig" in made) is request.network_isolation


@given(TRAINING)
def test_hyperparameters_are_json_and_come_back_as_they_went_in(request: TrainingRequest) -> None:
    made = {name: json.loads(text) for name, text in request.to_api()["HyperParameters"].items()}
    assert {name: made[name] for name in request.hyperparameters} == dict(request.hyperparameters)
    assert made["sagemaker_program"] == "train.py"
    assert made["sagemaker_job_name"] == request.job_name
    assert made.get("sagemaker_torch_distributed_enabled", False) is request.distributed


def test_an_isolated_training_job_gets_its_code_as_a_channel_since_it_cannot_fetch_it() -> None:
    open_, isolated = training(), training(network_isolation=True)
    assert [c["ChannelName"] for c in open_["InputDataConfig"]] == ["train"]
    assert json.loads(open_["HyperParameters"]["sagemaker_submit_directory"]) == "s3://b/code/1.tar.gz"
    assert {c["ChannelName"]: c["DataSource"]["S3DataSource"]["S3Uri"] for c in isolated["InputDataConfig"]} == {
        "train": "s3://b/train",
        "code": "s3://b/code/1.tar.gz",
    }
    assert json.loads(isolated["HyperParameters"]["sagemaker_submit_directory"]) == "/opt/ml/input/data/code/1.tar.gz"
    assert isolated["EnableNetworkIsolation"] is True


def test_a_hyperparameter_cannot_replace_what_script_mode_is_told() -> None:
    made = training(hyperparameters={"sagemaker_program": "other.py"})["HyperParameters"]
    assert json.loads(made["sagemaker_program"]) == "train.py"


@given(PROCESSING | TRAINING | TRANSFORM | MODEL)
def test_equal_requests_make_equal_calls_that_survive_json(request: Any) -> None:
    made = request.to_api()
    assert json.loads(json.dumps(made)) == made
    assert made == request.to_api()
