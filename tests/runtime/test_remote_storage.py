"""Jobs whose data another S3 holds. It is a second runtime that verifies signatures, so that wrong keys are seen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from millrace.runtime import clock, fault_plan
from millrace.runtime.fault_plan import Rule
from millrace.runtime.faults import InterruptJob
from millrace.runtime.remote_storage import NoKeys, RemoteStorage
from millrace.runtime.s3.errors import S3Error
from tests.runtime import signed
from tests.runtime.jobs import Jobs, archive
from tests.runtime.process import REGION, RuntimeProcess, free_port, needs_sandbox, until
from tests.runtime.signed import SECRETS, SignedRuntime
from tests.runtime.test_endpoints import ANSWERS, Endpoint
from tests.runtime.test_processing_jobs import BASE, source, target
from tests.runtime.test_training_jobs import channel

pytestmark = pytest.mark.e2e
PROFILE = f"[other]\naws_access_key_id = admin\naws_secret_access_key = {SECRETS['admin']}\n"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedRuntime]:
    with signed.running(tmp_path_factory.mktemp("other")) as runtime:
        yield runtime


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the user who starts the runtime has in their home."""
    path = tmp_path_factory.mktemp("home") / "credentials"
    path.write_text(PROFILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
        patch.delenv("AWS_ACCESS_KEY_ID", raising=False)
        yield


@pytest.fixture(scope="module")
def runtime(other: SignedRuntime, profile: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    folder = tmp_path_factory.mktemp("remote")
    process = RuntimeProcess(folder, "--s3-endpoint-url", other.url, "--s3-profile", "other")
    process.start()
    yield process
    process.end_everything()


@pytest.fixture
def jobs(runtime: RuntimeProcess, other: SignedRuntime) -> Jobs:
    found = Jobs(runtime)
    found.s3 = other.client("s3")
    return found


def keys(jobs: Jobs, prefix: str) -> list[str]:
    return [row["Key"] for row in jobs.s3.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", [])]


def completed(description: dict[str, Any], kind: str = "Training") -> dict[str, Any]:
    assert description[f"{kind}JobStatus"] == "Completed", description.get("FailureReason")
    return description


@pytest.mark.parametrize("mode", ["File", "FastFile"])
def test_training_reads_its_channel_there_and_leaves_its_model_there(jobs: Jobs, mode: str) -> None:
    for index in range(20):
        jobs.put(f"train-{mode}/{index}.txt", str(index).encode())
    script = (
        "import os, pathlib\n"
        "files = pathlib.Path(os.environ['SM_CHANNEL_TRAIN']).iterdir()\n"
        "total = sum(int(file.read_text()) for file in files)\n"
        "(pathlib.Path(os.environ['SM_MODEL_DIR']) / 'sum').write_text(str(total))\n"
    )
    inputs = channel(f"s3://bucket/train-{mode}/")
    inputs[0]["InputMode"] = mode
    description = completed(jobs.end("training", jobs.training(script, InputDataConfig=inputs)))
    assert jobs.model_files(description) == {"sum": b"190"}


def test_jobs_own_sdk_finds_the_same_objects(jobs: Jobs) -> None:
    jobs.put("own/question", b"4")
    script = (
        "import boto3\n"
        "s3 = boto3.client('s3')\n"
        "body = s3.get_object(Bucket='bucket', Key='own/question')['Body'].read()\n"
        "s3.put_object(Bucket='bucket', Key='own/answer', Body=str(int(body) ** 2).encode())\n"
        "print(boto3.client('sagemaker').list_training_jobs()['ResponseMetadata']['HTTPStatusCode'])\n"
    )
    name = jobs.training(script)
    completed(jobs.end("training", name))
    assert jobs.s3.get_object(Bucket="bucket", Key="own/answer")["Body"].read() == b"16"
    assert "200" in jobs.lines("training", name)


def test_checkpoints_are_kept_there_and_restored(jobs: Jobs) -> None:
    script = (
        "import pathlib, time\n"
        "saved = pathlib.Path('/opt/ml/checkpoints/step')\n"
        "step = int(saved.read_text()) if saved.exists() else 0\n"
        "pathlib.Path('/opt/ml/model/first').write_text(str(step))\n"
        "while step < 8:\n"
        "    time.sleep(0.4)\n"
        "    step += 1\n"
        "    saved.with_suffix('.new').write_text(str(step))\n"
        "    saved.with_suffix('.new').rename(saved)\n"
    )
    data_dir = jobs.runtime.data_dir
    fault_plan.write(data_dir, [Rule(InterruptJob(run_seconds=2.5), operation="CreateTrainingJob", times=1)])
    name = jobs.training(
        script,
        CheckpointConfig={"S3Uri": "s3://bucket/checkpoints/"},
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 200},
    )
    description = completed(jobs.end("training", name))
    fault_plan.clear(data_dir)
    assert int(jobs.model_files(description)["first"]) > 0
    assert jobs.s3.get_object(Bucket="bucket", Key="checkpoints/step")["Body"].read() == b"8"


def test_processing_copies_in_and_out(jobs: Jobs) -> None:
    jobs.put("raw/deep/a.csv", b"1\n2\n")
    inputs = [source("raw", "s3://bucket/raw/")]
    outputs = {"Outputs": [target("counted", "s3://bucket/counted/")]}
    command = f"cd {BASE}/processing && wc -l < input/raw/deep/a.csv > output/counted/lines"
    name = jobs.processing(command, ProcessingInputs=inputs, ProcessingOutputConfig=outputs)
    completed(jobs.end("processing", name), "Processing")
    assert jobs.s3.get_object(Bucket="bucket", Key="counted/lines")["Body"].read().strip() == b"2"


def test_endpoint_serves_a_model_from_there(jobs: Jobs) -> None:
    endpoint = Endpoint(jobs)
    assert (
        endpoint.create(jobs.endpoint_config(jobs.model(ANSWERS.format(answer="yes"))))["EndpointStatus"] == "InService"
    )
    assert endpoint.ask("you") == "yes:you"
    endpoint.delete()


def test_input_that_is_not_there_and_a_bucket_that_is_not_there_are_named(jobs: Jobs) -> None:
    for uri, says in (("s3://bucket/nothing/", "no S3 object found"), ("s3://nowhere-at-all/x/", "nowhere-at-all")):
        description = jobs.end("training", jobs.training("pass", InputDataConfig=channel(uri)))
        assert description["TrainingJobStatus"] == "Failed"
        assert says in description["FailureReason"]


def test_runtimes_own_s3_says_where_the_objects_are(runtime: RuntimeProcess, other: SignedRuntime) -> None:
    s3 = runtime.client("s3")
    for operation, arguments in (
        ("list_buckets", {}),
        ("put_object", {"Bucket": "bucket", "Key": "lost", "Body": b"x"}),
    ):
        with pytest.raises(botocore.exceptions.ClientError, match=f"keeps its objects at {other.url}") as error:
            getattr(s3, operation)(**arguments)
        assert error.value.response["Error"]["Code"] == "NotImplemented"


@pytest.fixture
def away(other: SignedRuntime) -> Iterator[Callable[[], None]]:
    """Takes the other S3 away; it is there again afterwards."""
    yield other.kill
    if other.process is not None and other.process.poll() is not None:
        other.start()


def status(jobs: Jobs, name: str) -> str:
    return str(jobs.sagemaker.describe_training_job(TrainingJobName=name)["SecondaryStatus"])


def told(jobs: Jobs, name: str) -> str:
    """What the runtime's log says about a job that waits for its storage."""
    lines = (jobs.runtime.data_dir / "control.log").read_text().splitlines()
    return next((line for line in lines if f"{name} goes on when its storage does" in line), "")


def test_job_waits_for_an_s3_that_is_away_and_completes_when_it_is_back(
    jobs: Jobs, other: SignedRuntime, away: Callable[[], None]
) -> None:
    jobs.put("away/a", b"1")
    away()
    name = _created(jobs, "s3://bucket/away/")
    assert other.url in until(lambda: told(jobs, name), 60, "the wait")
    assert status(jobs, name) == "Downloading"
    other.start()
    completed(jobs.end("training", name))


def test_outage_while_a_job_runs_and_when_it_ends_costs_it_nothing(
    jobs: Jobs, other: SignedRuntime, away: Callable[[], None]
) -> None:
    script = (
        "import pathlib, time\n"
        "print('begun', flush=True)\n"
        "for step in range(30):\n"
        "    pathlib.Path('/opt/ml/checkpoints/step').write_text(str(step))\n"
        "    time.sleep(0.2)\n"
        "pathlib.Path('/opt/ml/model/weights').write_text('hours of work')\n"
    )
    name = jobs.training(script, CheckpointConfig={"S3Uri": "s3://bucket/outage/"})
    until(lambda: "begun" in jobs.lines("training", name), 30, "the start")
    away()
    until(lambda: status(jobs, name) == "Uploading", 60, "the end of the script")
    until(lambda: told(jobs, name), 60, "the wait")
    other.start()
    assert jobs.model_files(completed(jobs.end("training", name, 120))) == {"weights": b"hours of work"}
    assert jobs.s3.get_object(Bucket="bucket", Key="outage/step")["Body"].read() == b"29"
    assert not list(jobs.runtime.data_dir.glob("jobs/*/*.tar.gz"))


def test_job_that_waits_for_its_storage_can_be_stopped(jobs: Jobs, away: Callable[[], None]) -> None:
    jobs.put("away/a", b"1")
    away()
    name = _created(jobs, "s3://bucket/away/")
    until(lambda: told(jobs, name), 60, "the wait")
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert jobs.end("training", name, 60)["TrainingJobStatus"] == "Stopped"


def test_storage_that_is_away_for_an_hour_fails_the_job_by_name(
    other: SignedRuntime, profile: None, away: Callable[[], None], tmp_path: Path
) -> None:
    process = RuntimeProcess(tmp_path, "--s3-endpoint-url", other.url, "--s3-profile", "other")
    process.start()
    try:
        jobs = Jobs(process)
        away()
        name = _created(jobs, "s3://bucket/away/")
        until(lambda: told(jobs, name), 60, "the wait")
        clock.advance(process.data_dir, 3601)
        description = jobs.end("training", name, 60)
        assert description["TrainingJobStatus"] == "Failed"
        assert "for 60 minutes" in description["FailureReason"]
        assert other.url in description["FailureReason"]
    finally:
        process.end_everything()


@needs_sandbox
def test_job_without_network_gets_no_keys(jobs: Jobs) -> None:
    tell = "import os\nprint('keys', dict(os.environ), flush=True)\n"
    jobs.put("isolated/source.tar.gz", archive({"train.py": tell}))
    name = jobs.training(
        "", EnableNetworkIsolation=True, InputDataConfig=channel("s3://bucket/isolated/"),
        hyperparameters={"sagemaker_submit_directory": '"/opt/ml/input/data/train/source.tar.gz"'},
    )  # fmt: skip
    completed(jobs.end("training", name))
    assert any(line.startswith("keys") for line in jobs.lines("training", name))
    assert not any(SECRETS["admin"] in line for line in jobs.lines("training", name))


def _created(jobs: Jobs, uri: str) -> str:
    """A job with an entrypoint of its own: no source archive has to be put for it."""
    algorithm = {"TrainingImage": "local/jobs", "TrainingInputMode": "File", "ContainerEntrypoint": ["/bin/true"]}
    name = jobs.name()
    jobs.sagemaker.create_training_job(
        TrainingJobName=name, RoleArn="arn:aws:iam::123456789012:role/jobs", AlgorithmSpecification=algorithm,
        OutputDataConfig={"S3OutputPath": "s3://bucket/output"}, InputDataConfig=channel(uri),
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )  # fmt: skip
    return name


def refused(tmp_path: Path, *options: str) -> str:
    """What the runtime says instead of starting."""
    done = subprocess.run(
        [sys.executable, "-m", "millrace.runtime", "--data-dir", str(tmp_path / "data"), "--port", str(free_port()),
         *options],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 2
    return done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--s3-profile", "other"], "name that with --s3-endpoint-url"),
        (["--s3-endpoint-url", "127.0.0.1:9000"], "must look like http://"),
        (["--s3-endpoint-url", "http://127.0.0.1:9", "--s3-profile", "nobody"], "could not be found"),
    ],
)
def test_unusable_settings_are_refused_at_the_start(
    tmp_path: Path, profile: None, options: list[str], says: str
) -> None:
    assert says in refused(tmp_path, *options)


def test_credentials_of_its_own_are_refused_together_with_another_s3(tmp_path: Path, profile: None) -> None:
    path = signed.write(tmp_path / "credentials.json", signed.rows())
    said = refused(tmp_path, "--s3-endpoint-url", "http://127.0.0.1:9", "--credentials", str(path))
    assert "does not go together with --credentials" in said


def test_no_keys_at_all_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "nothing"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "nothing"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(NoKeys, match="--s3-profile"):
        RemoteStorage("http://127.0.0.1:9", None, REGION, tmp_path)


def test_wrong_keys_are_refused_as_access_denied(
    other: SignedRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRETS["reader"])
    storage = RemoteStorage(other.url, None, REGION, tmp_path)
    assert storage.head("bucket", "in/a.txt").size == 2
    with pytest.raises(S3Error) as error:
        storage.head("bucket", "secret/b.txt")
    assert error.value.code == "AccessDenied"
