"""Training jobs, driven by a real boto3 client: what the script sees, what it leaves, how it ends."""

from __future__ import annotations

import json
import time
from typing import Any

import botocore.exceptions
import pytest

from tests.runtime.jobs import Jobs, archive
from tests.runtime.process import RuntimeProcess, needs_sandbox, until

REPORT = """
import json, os, pathlib, socket, sys
base = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
hosts = json.loads(os.environ["SM_HOSTS"])
seen = {
    "args": sys.argv[1:], "host": os.environ["SM_CURRENT_HOST"], "hosts": hosts,
    "addresses": [socket.gethostbyname(host) for host in hosts],
    "channels": json.loads(os.environ["SM_CHANNELS"]),
    "train": sorted(p.name for p in pathlib.Path(os.environ["SM_CHANNEL_TRAIN"]).iterdir()),
    "environment": dict(os.environ),
}
(base / "model" / f"{seen['host']}.json").write_text(json.dumps(seen))
print("hello from", seen["host"])
"""
RENDEZVOUS = """
import json, os, pathlib, torch, torch.distributed as dist
dist.init_process_group("gloo")
mine = torch.tensor([float(dist.get_rank() + 1)])
dist.all_reduce(mine)
if dist.get_rank() == 0:
    base = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    (base / "model" / "sum.json").write_text(json.dumps({"sum": mine.item(), "world": dist.get_world_size()}))
dist.destroy_process_group()
"""


def channel(uri: str) -> list[dict[str, Any]]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}]


def test_script_sees_its_channels_hosts_and_arguments_on_every_instance(jobs: Jobs) -> None:
    jobs.put("seen/train/a.csv", b"1,2\n")
    name = jobs.training(
        REPORT, instances=2, InputDataConfig=channel("s3://bucket/seen/train"),
        hyperparameters={"learning-rate": "0.5", "label": '"digit"'}, Environment={"OWN": "yes"},
    )  # fmt: skip
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
    files = {key: json.loads(body) for key, body in jobs.model_files(description).items()}
    assert len(files) == 2
    first = next(iter(files.values()))
    assert first["args"] == ["--label", "digit", "--learning-rate", "0.5"]
    assert first["train"] == ["a.csv"]
    assert first["channels"] == ["train"]
    assert len(set(first["addresses"])) == 2
    assert first["environment"]["OWN"] == "yes"
    assert first["environment"]["TRAINING_JOB_NAME"] == name
    statuses = [t["Status"] for t in description["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert any("hello from" in line for line in jobs.lines("training", name))


def test_nothing_of_the_shell_reaches_a_job(own_runtime_with_secret: RuntimeProcess) -> None:
    jobs = Jobs(own_runtime_with_secret)
    jobs.put("seen/train/a.csv", b"1\n")
    name = jobs.training(REPORT, InputDataConfig=channel("s3://bucket/seen/train"))
    seen = json.loads(next(iter(jobs.model_files(jobs.end("training", name)).values())))
    assert "SECRET_OF_THE_SHELL" not in seen["environment"]
    assert seen["environment"]["AWS_ACCESS_KEY_ID"] == "millrace-job"


@pytest.fixture
def own_runtime_with_secret(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> RuntimeProcess:
    monkeypatch.setenv("SECRET_OF_THE_SHELL", "hunter2")
    runtime: RuntimeProcess = request.getfixturevalue("own_runtime")
    return runtime


def test_two_multi_instance_jobs_rendezvous_at_the_same_time_without_meeting(jobs: Jobs) -> None:
    names = [jobs.training(RENDEZVOUS, instances=2, torchrun=True) for _ in range(2)]
    for name in names:
        description = jobs.end("training", name, 120)
        assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
        assert json.loads(jobs.model_files(description)["sum.json"]) == {"sum": 3.0, "world": 2}


def test_traceback_of_a_failing_script_is_in_the_log_and_in_the_failure_reason(jobs: Jobs) -> None:
    name = jobs.training("def learn():\n    raise RuntimeError('the loss is not a number')\nlearn()\n")
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Failed"
    assert "RuntimeError: the loss is not a number" in description["FailureReason"]
    assert "in learn" in description["FailureReason"]
    assert any("RuntimeError: the loss" in line for line in jobs.lines("training", name))
    assert "ModelArtifacts" not in description or not description["ModelArtifacts"].get("S3ModelArtifacts")


def test_failure_under_torchrun_names_the_scripts_own_error(jobs: Jobs) -> None:
    name = jobs.training("raise ValueError('bad shape (3, 4)')", torchrun=True, instances=2)
    description = jobs.end("training", name, 120)
    assert description["TrainingJobStatus"] == "Failed"
    assert "ValueError: bad shape (3, 4)" in description["FailureReason"]


def test_failing_instance_ends_its_peers(jobs: Jobs) -> None:
    script = "import os, time\ntime.sleep(600) if os.environ['SM_CURRENT_HOST'].endswith('1') else exit(3)\n"
    started = time.monotonic()
    description = jobs.end("training", jobs.training(script, instances=2))
    assert description["TrainingJobStatus"] == "Failed"
    assert time.monotonic() - started < 60


def test_missing_channel_fails_with_the_uri_and_what_to_do(jobs: Jobs) -> None:
    name = jobs.training("print(1)", InputDataConfig=channel("s3://bucket/nothing/here"))
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Failed"
    assert "no S3 object found at s3://bucket/nothing/here" in description["FailureReason"]


def test_stop_sends_term_keeps_what_was_saved_and_leaves_no_process(jobs: Jobs, runtime: RuntimeProcess) -> None:
    script = """
import os, pathlib, signal, subprocess, sys, time
base = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
def stop(*_):
    (base / "model" / "saved.txt").write_text("at stop")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
subprocess.Popen(["sleep", "1234567"], start_new_session=True)
print("ready", flush=True)
while True:
    time.sleep(0.1)
"""
    name = jobs.training(script)
    until(lambda: _logged(jobs, name, "ready"), what="the script's start")
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    jobs.sagemaker.stop_training_job(TrainingJobName=name)  # asking twice is no error
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Stopped"
    assert [row["Status"] for row in description["SecondaryStatusTransitions"]][-4:] == [
        "Training", "Stopping", "Uploading", "Stopped",
    ]  # fmt: skip
    assert jobs.model_files(description)["saved.txt"] == b"at stop"
    assert not runtime.find("1234567")
    with pytest.raises(botocore.exceptions.ClientError, match="is in status Stopped"):
        jobs.sagemaker.stop_training_job(TrainingJobName=name)


def _logged(jobs: Jobs, name: str, text: str) -> bool:
    try:
        return any(text in line for line in jobs.lines("training", name))
    except botocore.exceptions.ClientError:
        return False


def test_runtime_limit_stops_the_job(jobs: Jobs) -> None:
    name = jobs.training("import time\ntime.sleep(100)", StoppingCondition={"MaxRuntimeInSeconds": 1})
    description = jobs.end("training", name)
    assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_killed_runtime_finds_a_running_job_and_completes_it(own_runtime: RuntimeProcess) -> None:
    jobs = Jobs(own_runtime)
    name = jobs.training(
        "import os, pathlib, time\nprint('begun', flush=True)\ntime.sleep(4)\n"
        "pathlib.Path(os.environ['SM_MODEL_DIR'], 'm.txt').write_text('learnt')\n"
    )
    until(lambda: _logged(jobs, name, "begun"), what="the script's start")
    own_runtime.kill()
    time.sleep(1)
    own_runtime.start()
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
    assert jobs.model_files(description) == {"m.txt": b"learnt"}


def test_killed_runtime_finds_a_job_that_ended_meanwhile(own_runtime: RuntimeProcess) -> None:
    jobs = Jobs(own_runtime)
    name = jobs.training("import time\nprint('begun', flush=True)\ntime.sleep(1)\n")
    until(lambda: _logged(jobs, name, "begun"), what="the script's start")
    own_runtime.kill()
    until(lambda: not own_runtime.processes(), 20, "the end of the job")
    own_runtime.start()
    assert jobs.end("training", name)["TrainingJobStatus"] == "Completed"


def test_lost_host_fails_the_job_by_name(own_runtime: RuntimeProcess) -> None:
    jobs = Jobs(own_runtime)
    name = jobs.training("import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
    until(lambda: _logged(jobs, name, "begun"), what="the script's start")
    shims = own_runtime.find("shim.py")
    for shim in shims:
        shim.kill()
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Failed"
    assert "host lost" in description["FailureReason"]
    until(lambda: not own_runtime.find("train.py"), 10, "no orphan")


@needs_sandbox
def test_isolated_job_has_no_network(jobs: Jobs) -> None:
    health = jobs.runtime.url
    script = f"import urllib.request\nurllib.request.urlopen('{health}/health', timeout=3)\n"
    jobs.put("isolated/source.tar.gz", archive({"train.py": script}))
    code = {"sagemaker_submit_directory": '"/opt/ml/input/data/train/source.tar.gz"'}
    ended = {}
    for isolated in (True, False):
        name = jobs.training(
            script, EnableNetworkIsolation=isolated, hyperparameters=code,
            InputDataConfig=channel("s3://bucket/isolated/"),
        )  # fmt: skip
        ended[isolated] = jobs.end("training", name)
    assert ended[False]["TrainingJobStatus"] == "Completed", ended[False].get("FailureReason")
    assert ended[True]["TrainingJobStatus"] == "Failed"
    assert "urlopen error" in ended[True]["FailureReason"]


def test_source_archive_is_handed_to_the_job_which_cannot_change_it(jobs: Jobs) -> None:
    script = """
import os, pathlib
place = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"), "input/source/source.tar.gz")
print("handed", os.environ["MILLRACE_SOURCE"], place.stat().st_size, flush=True)
try:
    place.write_bytes(b"changed")
except OSError as error:
    print("refused:", error.strerror)
"""
    name = jobs.training(script)
    assert jobs.end("training", name)["TrainingJobStatus"] == "Completed"
    stored = jobs.s3.get_object(Bucket="bucket", Key=f"code/{name}.tar.gz")["Body"].read()
    assert f"handed s3://bucket/code/{name}.tar.gz {len(stored)}" in jobs.lines("training", name)
    assert "refused: Read-only file system" in jobs.lines("training", name)


def test_source_archive_that_is_not_there_fails_the_job_by_name(jobs: Jobs) -> None:
    name = jobs.training("pass", hyperparameters={"sagemaker_submit_directory": "s3://bucket/code/nothing.tar.gz"})
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Failed"
    assert "s3://bucket/code/nothing.tar.gz cannot be fetched" in description["FailureReason"]


@pytest.mark.parametrize("location", ["s3://[x/y", "[" * 1200, '"s3://bucket/\\ud800"'])
def test_source_that_is_no_uri_is_the_jobs_own_failure(jobs: Jobs, location: str) -> None:
    description = jobs.end("training", jobs.training("pass", hyperparameters={"sagemaker_submit_directory": location}))
    assert description["TrainingJobStatus"] == "Failed"
    assert not description["FailureReason"].startswith("InternalServerError")


def test_job_cannot_change_its_input_in_s3(jobs: Jobs) -> None:
    jobs.put("guarded/data.txt", b"as it was")
    script = """
import os, pathlib, subprocess
path = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "data.txt")
for attempt in ("path.write_text('changed')", "os.chmod(path, 0o777)"):
    try:
        exec(attempt)
    except OSError as error:
        print("refused:", error)
subprocess.run(["mount", "-o", "remount,rw,bind", str(path.parent)])
try:
    path.write_text("changed")
except OSError as error:
    print("refused:", error)
"""
    name = jobs.training(script, InputDataConfig=channel("s3://bucket/guarded/"))
    assert jobs.end("training", name)["TrainingJobStatus"] == "Completed"
    assert jobs.s3.get_object(Bucket="bucket", Key="guarded/data.txt")["Body"].read() == b"as it was"


@needs_sandbox
def test_job_does_not_see_the_checkout_the_home_or_other_jobs(jobs: Jobs, runtime: RuntimeProcess) -> None:
    script = f"""
import json, os, pathlib
def names(path):
    return sorted(p.name for p in pathlib.Path(path).iterdir()) if os.path.isdir(path) else None
found = {{"data": names({str(runtime.data_dir)!r}), "home": names(os.path.expanduser("~root"))}}
pathlib.Path(os.environ["SM_MODEL_DIR"], "found.json").write_text(json.dumps(found))
"""
    description = jobs.end("training", jobs.training(script))
    found = json.loads(jobs.model_files(description)["found.json"])
    assert found["data"] in (None, [])
    assert not {".aws", ".ssh", ".bashrc"} & set(found["home"] or [])
