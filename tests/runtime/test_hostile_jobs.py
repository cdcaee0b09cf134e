"""Jobs that mean no good to the runtime: whatever they leave or ask for, their own end is right and others go on."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from tests.runtime.jobs import Jobs, archive
from tests.runtime.package_index import Index, train
from tests.runtime.process import RuntimeProcess, needs_sandbox, until

DEEP = """
import os
os.chdir(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml") + "/{where}")
for _ in range(1500):
    os.mkdir("d")
    os.chdir("d")
"""


@pytest.mark.parametrize(
    "planted",
    ["ln -s $(printf 'a%.0s' $(seq 300)) /opt/ml/output/message", "ln -s message /opt/ml/output/message",
     "mkfifo /opt/ml/output/message", "mkdir /opt/ml/output/message"],
)  # fmt: skip
@needs_sandbox
def test_strange_message_does_not_keep_a_job_from_its_end(jobs: Jobs, planted: str) -> None:
    description = jobs.end("processing", jobs.processing(planted), 20)
    assert (description["ProcessingJobStatus"], description.get("ExitMessage")) == ("Completed", None)


def test_nested_folders_change_no_outcome_and_do_not_stop_the_next_start(own_runtime: RuntimeProcess) -> None:
    jobs = Jobs(own_runtime)
    name = jobs.training(DEEP.format(where="code"))
    assert jobs.end("training", name)["TrainingJobStatus"] == "Completed"
    own_runtime.kill()
    own_runtime.start()
    assert jobs.end("training", name)["TrainingJobStatus"] == "Completed"
    until(lambda: not list(own_runtime.data_dir.glob("jobs/*/algo-1/ml")), 20, "the removal of its tree")


def test_nested_checkpoints_are_synced_as_deep_as_is_bearable(jobs: Jobs) -> None:
    script = DEEP.format(where="checkpoints") + "\nimport time; time.sleep(2.5)\n"
    name = jobs.training(script, CheckpointConfig={"S3Uri": "s3://bucket/deep"})
    assert jobs.end("training", name)["TrainingJobStatus"] == "Completed"


@pytest.mark.parametrize("name", [".", ".."])
def test_channel_is_no_folder_of_the_runtimes(jobs: Jobs, name: str) -> None:
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/x"}
    with pytest.raises(botocore.exceptions.ClientError, match="a channel cannot be called"):
        jobs.training("", InputDataConfig=[{"ChannelName": name, "DataSource": {"S3DataSource": source}}])


@pytest.mark.parametrize(
    "changes",
    [
        {"Environment": {"X": "a\0--bind\0/\0/mnt"}},
        {"AppSpecification": {"ImageUri": "local/jobs", "ContainerEntrypoint": ["/bin/echo", "a\0b"]}},
    ],
)
def test_nul_is_refused(jobs: Jobs, changes: dict[str, Any]) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match="NUL character"):
        jobs.processing("true", **changes)


@needs_sandbox
def test_memory_cannot_be_had_by_files(jobs: Jobs) -> None:
    script = "for d in /run /home /opt /dev; do echo x > $d/file && echo wrote $d; done; echo x > /var/tmp/f && echo ok"
    name = jobs.processing(script)
    assert jobs.end("processing", name)["ProcessingJobStatus"] == "Completed"
    lines = jobs.lines("processing", name)
    assert not [line for line in lines if line.startswith("wrote")]
    assert lines[-1] == "ok"


BACKEND = """
import os, shutil, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    os.makedirs({outside!r}, exist_ok=True)  # in the box's own /tmp
    shutil.rmtree("/opt/ml/packages", ignore_errors=True)
    os.symlink({outside!r}, "/opt/ml/packages")
    name = "evil-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as packed:
        packed.writestr("evil.py", "")
        packed.writestr("evil-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: evil\\nVersion: 1.0\\n")
        packed.writestr("evil-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        packed.writestr("evil-1.0.dist-info/RECORD", "")
    return name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def source_distribution(backend: str) -> bytes:
    """A package that pip builds with its own backend, and so with its own code."""
    return archive(
        {
            "evil-1.0/PKG-INFO": "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n",
            "evil-1.0/pyproject.toml": PROJECT,
            "evil-1.0/backend.py": backend,
        }
    )


@needs_sandbox
def test_package_that_puts_a_link_in_its_folders_place_is_refused(own_runtime: RuntimeProcess, tmp_path: Path) -> None:
    outside = tmp_path / "host"
    outside.mkdir()
    (outside / "secret").write_text("of the host")
    index = Index("evil-1.0.tar.gz", source_distribution(BACKEND.format(outside=str(outside))))
    jobs = Jobs(own_runtime)
    name = train(jobs, f"--index-url {index.url}\nevil==1.0\n", "print(open('/opt/ml/packages/secret').read())")
    description = jobs.end("training", name, 60)
    assert "a package of requirements.txt has replaced its own folder" in description["FailureReason"]
    assert not list((own_runtime.data_dir / "packages").iterdir())
    assert [path.name for path in outside.iterdir()] == ["secret"]
    index.close()


@needs_sandbox
def test_packages_that_take_long_keep_no_other_job_waiting(own_runtime: RuntimeProcess) -> None:
    jobs = Jobs(own_runtime)
    silent = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # takes connections and never answers
    url = f"http://127.0.0.1:{silent.server_port}/simple/"
    waiting = [train(jobs, f"--index-url {url}\nnothing=={number}\n", "") for number in range(6)]
    until(lambda: all(phase(jobs, name) in ("Downloading", "Training") for name in waiting), 20, "six installations")
    assert jobs.end("processing", jobs.processing("true"), 10)["ProcessingJobStatus"] == "Completed"
    for name in waiting:
        jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert {jobs.end("training", name, 30)["TrainingJobStatus"] for name in waiting} == {"Stopped"}
    silent.server_close()


def phase(jobs: Jobs, name: str) -> str:
    return str(jobs.sagemaker.describe_training_job(TrainingJobName=name)["SecondaryStatus"])


def test_failure_is_not_undone_by_a_stop_that_comes_while_its_last_files_are_uploaded(jobs: Jobs) -> None:
    many = (
        "import os, pathlib\n"
        "folder = pathlib.Path(os.environ.get('SAGEMAKER_BASE_DIR', '/opt/ml'), 'checkpoints')\n"
        "for number in range(2000):\n"
        "    (folder / str(number)).write_text('x')\n"
        "raise ValueError('mine')\n"
    )
    name = jobs.training(many, CheckpointConfig={"S3Uri": f"s3://bucket/{jobs.name('many')}"})
    until(lambda: phase(jobs, name) == "Uploading", 30, "its upload")
    jobs.sagemaker.stop_training_job(TrainingJobName=name)  # and is not refused, for the job has not ended
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Failed"
    assert "ValueError: mine" in description["FailureReason"]
