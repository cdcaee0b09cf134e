"""The runtime where bubblewrap is not to be had: the same jobs, the same tree by SAGEMAKER_BASE_DIR, no orphans."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.runtime.jobs import Jobs
from tests.runtime.process import RuntimeProcess, running, until
from tests.runtime.test_endpoints import ANSWERS, Endpoint
from tests.runtime.test_processing_jobs import BASE, source, target
from tests.runtime.test_training_jobs import RENDEZVOUS, channel
from tests.runtime.test_transform_jobs import output, transform


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    with running(tmp_path_factory.mktemp("plain"), "--isolation", "process") as process:
        yield process


@pytest.fixture
def jobs(plain: RuntimeProcess) -> Jobs:
    return Jobs(plain)


def test_two_instances_rendezvous_and_read_their_channel(jobs: Jobs) -> None:
    jobs.put("train/a.csv", b"1\n")
    script = RENDEZVOUS + "assert list(pathlib.Path(os.environ['SM_CHANNEL_TRAIN']).iterdir())\n"
    name = jobs.training(script, instances=2, torchrun=True, InputDataConfig=channel("s3://bucket/train/"))
    description = jobs.end("training", name, 120)
    assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
    assert json.loads(jobs.model_files(description)["sum.json"]) == {"sum": 3.0, "world": 2}


def test_processing_transform_and_endpoint_work_alike(jobs: Jobs) -> None:
    jobs.put("p/in/a.txt", b"hello")
    name = jobs.processing(
        f"cd {BASE}/processing && cp input/data/a.txt output/result/",
        ProcessingInputs=[source("data", "s3://bucket/p/in/")],
        ProcessingOutputConfig={"Outputs": [target("result", "s3://bucket/p/out")]},
    )
    assert jobs.end("processing", name)["ProcessingJobStatus"] == "Completed"
    assert jobs.s3.get_object(Bucket="bucket", Key="p/out/a.txt")["Body"].read() == b"hello"
    jobs.put("t/a.csv", b"1\n2\n")
    name, description = transform(jobs, "t/")
    assert description["TransformJobStatus"] == "Completed", description.get("FailureReason")
    assert output(jobs, name) == {"a.csv.out": "2.0\n4.0\n"}
    endpoint = Endpoint(jobs)
    assert (
        endpoint.create(jobs.endpoint_config(jobs.model(ANSWERS.format(answer="one"))))["EndpointStatus"] == "InService"
    )
    assert endpoint.ask("x") == "one:x"
    endpoint.delete()


def test_workers_in_sessions_of_their_own_end_with_the_job(jobs: Jobs, plain: RuntimeProcess) -> None:
    script = (
        "import subprocess, time\n"
        "subprocess.Popen(['sleep', '7654321'], start_new_session=True)\nprint('done', flush=True)\n"
    )
    assert jobs.end("training", jobs.training(script))["TrainingJobStatus"] == "Completed"
    until(lambda: not plain.find("7654321"), 10, "the worker's end")


def test_killed_shim_leaves_no_process(jobs: Jobs, plain: RuntimeProcess) -> None:
    name = jobs.training("import time\nprint('begun', flush=True)\ntime.sleep(7654322)\n")
    until(lambda: plain.find("train.py"), what="the script's start")
    for process in plain.find("shim.py"):
        process.kill()
    description = jobs.end("training", name)
    assert (description["TrainingJobStatus"], "host lost" in description["FailureReason"]) == ("Failed", True)
    until(lambda: not plain.find("train.py"), 10, "no orphan")


@pytest.mark.parametrize("instances", [1, 2])
def test_network_isolation_is_refused_not_ignored(jobs: Jobs, instances: int) -> None:
    description = jobs.end("training", jobs.training("print(1)", instances=instances, EnableNetworkIsolation=True))
    assert description["TrainingJobStatus"] == "Failed"
    assert "needs bubblewrap" in description["FailureReason"]
