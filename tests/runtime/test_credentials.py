"""Credentials: what a file of them may hold, what each key may do on a running runtime, and when none may be lacking."""

from __future__ import annotations

import io
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from millrace.runtime import needs, sandbox
from millrace.runtime.config import RuntimeConfig
from millrace.runtime.credentials import Access, CredentialsError, Need, load
from millrace.runtime.s3.routes import COPIES, ROUTES
from tests.runtime.jobs import Jobs, archive
from tests.runtime.process import ROLE, RuntimeProcess, free_port, until
from tests.runtime.signed import SECRETS, SignedRuntime, fetch, refusal, rows, running, write

JOB = {"access_key": "jobs", "secret_key": "0123456789abcdef", "access": {}}


def one(**changes: Any) -> list[dict[str, Any]]:
    return [JOB, {"access_key": "other-key", "secret_key": "fedcba9876543210", "access": {}} | changes]


def test_a_file_of_credentials_is_read(tmp_path: Path) -> None:
    found = load(write(tmp_path / "file", rows()))
    assert found.jobs.access_key == "jobs"
    assert found.find("nobody") is None
    assert SECRETS["admin"] not in repr(found.find("admin"))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("[{", "is not JSON (see line 1, column 3)"),
        ({}, "is a JSON dict; it must be a list of keys"),
        ([], "has no key named 'jobs'"),
        ([JOB, JOB], "has the access key 'jobs' twice"),
        ([JOB, 3], "row 2 of .* is a JSON int"),
        (one(secret="x"), "row 2 of .* has 'secret'; known are access_key, secret_key, access"),
        (one(access_key="a b"), "row 2 of .*: access_key is 'a b'"),
        (one(access_key="millrace-runtime"), "is the runtime's own"),
        (one(secret_key="short-secret"), "the secret_key of 'other-key' must be 16"),
        (one(access=["s3"]), "the access of 'other-key' must be an object"),
        (one(access={"s3": ["*"]}), 'to s3 must be an object with "read" and "write"'),
        (one(access={"s3": {"delete": ["*"]}}), "names 's3:delete'; known are s3:read"),
        (one(access={"ec2": ["*"]}), "names 'ec2'; known are"),
        (one(access={"logs": "*"}), "to logs is '\\*'; it must be a list of globs"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_where_and_why(tmp_path: Path, document: Any, said: str) -> None:
    with pytest.raises(CredentialsError) as error:
        load(write(tmp_path / "file", document))
    assert re.search(said, str(error.value)) or said in str(error.value)
    assert "short-secret" not in str(error.value)


def test_a_file_that_others_can_use_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for mode in (0o640, 0o604, 0o620):
        with pytest.raises(CredentialsError, match=f"has mode {mode:04o}.*chmod 600"):
            load(write(tmp_path / "file", rows(), mode))
    with pytest.raises(CredentialsError, match="cannot be read: No such file"):
        load(tmp_path / "missing")
    with pytest.raises(CredentialsError, match="cannot be read: Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("glob", "need", "allowed"),
    [
        ("b/in/*", Need("s3:read", "b/in/x/y"), True),
        ("b/in/*", Need("s3:read", "b/inner"), False),
        ("b/in/*", Need("s3:write", "b/in/x"), False),
        ("b/in/*", Need("s3:read", "b/in/", "below"), True),
        ("b/in/*", Need("s3:read", "b/in/x", "below"), True),
        ("b/in/*", Need("s3:read", "b/in", "below"), False),
        ("b/in/*", Need("s3:read", "b/", "below"), False),
        ("b/*.csv", Need("s3:read", "b/a.csv"), True),
        ("b/*.csv", Need("s3:read", "b/a.csv", "below"), False),  # a.csv.secret begins with it too
        ("b/in/*", Need("s3:read", "b", "bucket"), True),
        ("b/in/*", Need("s3:read", "bb", "bucket"), False),
        ("*", Need("s3:read", "", "below"), True),
        ("b/*", Need("s3:read", "", "below"), False),
        ("b/[a]?", Need("s3:read", "b/[a]x"), True),
        ("b/[a]?", Need("s3:read", "b/ax"), False),
        ("B/*", Need("s3:read", "b/x"), False),
        ("b/*", Need("s3:read", "b/line\nbreak"), True),
    ],
)
def test_globs_are_iams(glob: str, need: Need, allowed: bool) -> None:
    assert Access({"s3:read": (glob,)}).allows(need) is allowed


def test_every_operation_of_s3_says_what_it_needs() -> None:
    assert set(needs.S3) == {route.name for route in (*ROUTES.values(), *COPIES.values())}


@pytest.fixture(scope="module")
def signed_runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedRuntime]:
    with running(tmp_path_factory.mktemp("signed")) as runtime:
        yield runtime


def allowed(call: Callable[[], Any]) -> None:
    call()


def denied(call: Callable[[], Any], code: str = "AccessDenied") -> None:
    assert refusal(call) == (code, 403)


def test_a_key_for_reading_one_prefix_reads_that_and_nothing_else(signed_runtime: SignedRuntime) -> None:
    s3 = signed_runtime.client("s3", "reader")
    allowed(lambda: s3.get_object(Bucket="bucket", Key="in/a.txt"))
    allowed(lambda: s3.head_object(Bucket="bucket", Key="in/a.txt"))
    allowed(lambda: s3.head_bucket(Bucket="bucket"))
    assert s3.list_objects_v2(Bucket="bucket", Prefix="in/")["KeyCount"] >= 1
    denied(lambda: s3.get_object(Bucket="bucket", Key="secret/b.txt"))
    denied(lambda: s3.head_object(Bucket="bucket", Key="secret/b.txt"), "403")
    denied(lambda: s3.head_bucket(Bucket="bucket-2"), "403")
    for prefix in ("", "i", "in", "secret/"):
        denied(partial(s3.list_objects_v2, Bucket="bucket", Prefix=prefix))
    denied(s3.list_buckets)
    denied(lambda: s3.create_bucket(Bucket="bucket-2"))
    denied(lambda: s3.delete_bucket(Bucket="bucket"))
    denied(lambda: s3.put_object(Bucket="bucket", Key="in/b.txt", Body=b"b"))
    denied(lambda: s3.delete_object(Bucket="bucket", Key="in/a.txt"))
    denied(lambda: s3.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "in/a.txt"}]}))
    denied(lambda: s3.create_multipart_upload(Bucket="bucket", Key="in/b.txt"))
    denied(lambda: s3.put_object_tagging(Bucket="bucket", Key="in/a.txt", Tagging={"TagSet": []}))
    url = signed_runtime.client("s3", "reader", signature_version="s3v4").generate_presigned_url(
        "put_object", {"Bucket": "bucket", "Key": "in/b.txt"}
    )
    assert fetch(url, "PUT", b"b")[0] == 403


def test_a_copy_needs_both_ends_and_a_deletion_every_key(signed_runtime: SignedRuntime) -> None:
    s3 = signed_runtime.client("s3", "jobs")
    allowed(lambda: s3.copy_object(Bucket="bucket", Key="out/a", CopySource="bucket/in/a.txt"))
    denied(lambda: s3.copy_object(Bucket="bucket", Key="out/a", CopySource="bucket/secret/b.txt"))
    denied(lambda: s3.copy_object(Bucket="bucket", Key="out/a", CopySource="%2Fbucket/secret%2Fb.txt"))
    denied(lambda: s3.copy_object(Bucket="bucket", Key="in/c", CopySource="bucket/in/a.txt"))
    keys = [{"Key": "out/a"}, {"Key": "in/a.txt"}]
    denied(lambda: s3.delete_objects(Bucket="bucket", Delete={"Objects": keys}))
    allowed(lambda: s3.delete_objects(Bucket="bucket", Delete={"Objects": keys[:1]}))
    s3.upload_fileobj(io.BytesIO(b"x" * 9_000_000), "bucket", "out/large")
    assert signed_runtime.client("s3").head_object(Bucket="bucket", Key="out/large")["ContentLength"] == 9_000_000


def test_a_key_for_looking_changes_nothing(signed_runtime: SignedRuntime) -> None:
    sagemaker = signed_runtime.client("sagemaker", "watcher")
    allowed(sagemaker.list_training_jobs)
    container = {"Image": "local/jobs"}
    denied(
        lambda: sagemaker.create_model(ModelName="m", PrimaryContainer=container, ExecutionRoleArn=ROLE),
        "AccessDeniedException",
    )
    denied(lambda: sagemaker.create_experiment(ExperimentName="e"), "AccessDeniedException")  # moto's
    denied(signed_runtime.client("s3", "watcher").list_buckets)
    denied(signed_runtime.client("logs", "watcher").describe_log_groups, "AccessDeniedException")
    denied(signed_runtime.client("sts", "watcher").get_caller_identity)


def test_a_key_for_one_service_or_endpoint_is_for_no_other(signed_runtime: SignedRuntime) -> None:
    runtime = signed_runtime.client("sagemaker-runtime", "caller")
    # Let in, and then there is no such endpoint.
    assert refusal(lambda: runtime.invoke_endpoint(EndpointName="mine-1", Body=b"x"))[0] == "ValidationError"
    denied(lambda: runtime.invoke_endpoint(EndpointName="theirs", Body=b"x"), "AccessDeniedException")
    wrong = signed_runtime.client("sagemaker-runtime", "caller", "x" * 40)
    denied(lambda: wrong.invoke_endpoint(EndpointName="mine-1", Body=b"x"), "SignatureDoesNotMatch")
    allowed(signed_runtime.client("sts", "caller").get_caller_identity)
    denied(signed_runtime.client("iam", "caller").list_roles)
    denied(signed_runtime.client("cloudwatch", "caller").list_metrics, "AccessDeniedException")
    denied(signed_runtime.client("sagemaker", "caller").list_models, "AccessDeniedException")


JOB_SCRIPT = """
import boto3, json, pathlib, sys
from botocore.exceptions import ClientError
s3, found = boto3.client("s3"), {}
def note(name, call):
    try:
        call(); found[name] = "ok"
    except ClientError as error:
        found[name] = error.response["Error"]["Code"]
note("read", lambda: s3.get_object(Bucket="bucket", Key="in/a.txt"))
note("write", lambda: s3.put_object(Bucket="bucket", Key="out/job.txt", Body=b"job"))
note("other", lambda: s3.get_object(Bucket="bucket", Key="secret/b.txt"))
note("overwrite", lambda: s3.put_object(Bucket="bucket", Key="in/a.txt", Body=b"job"))
note("sagemaker", boto3.client("sagemaker").list_models)
try:
    found["file"] = len(pathlib.Path(sys.argv[1]).read_bytes())
except OSError as error:
    found["file"] = type(error).__name__
print("FOUND", json.dumps(found))
print("loss=0.5;")
"""


def test_a_source_archive_is_fetched_with_the_rights_of_the_job_alone(signed_runtime: SignedRuntime) -> None:
    jobs = Jobs(signed_runtime)
    jobs.put("secret/code.tar.gz", archive({"train.py": "print('ran')\n"}))
    name = jobs.training("pass", hyperparameters={"sagemaker_submit_directory": "s3://bucket/secret/code.tar.gz"})
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Failed"
    assert "s3://bucket/secret/code.tar.gz cannot be fetched" in description["FailureReason"]
    assert "ran" not in jobs.lines("training", name)


def test_a_job_signs_with_the_jobs_key_and_may_what_that_may(signed_runtime: SignedRuntime) -> None:
    jobs = Jobs(signed_runtime)
    credentials = str(signed_runtime.data_dir.parent / "credentials.json")
    script = JOB_SCRIPT.replace("sys.argv[1]", repr(credentials))
    name = jobs.training(
        script,
        AlgorithmSpecification={
            "TrainingImage": "local/jobs",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=(.*?);"}],
        },
    )
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
    line = next(line for line in jobs.lines("training", name) if "FOUND" in line)
    found = json.loads(line.partition("FOUND")[2])
    visible = not sandbox.bubblewrap_works()
    assert isinstance(found.pop("file"), int) is visible
    assert found == {
        "read": "ok", "write": "ok", "other": "AccessDenied", "overwrite": "AccessDenied",
        "sagemaker": "AccessDeniedException",
    }  # fmt: skip
    # The runtime sends the job's metrics with a key of its own.
    cloudwatch = signed_runtime.client("cloudwatch")
    until(lambda: cloudwatch.list_metrics(Namespace="/aws/sagemaker/TrainingJobs")["Metrics"], 20, "the job's metric")


MODEL = """
import boto3
from botocore.exceptions import ClientError
def model_fn(model_dir):
    boto3.client("s3").get_object(Bucket="bucket", Key="in/a.txt")
def input_fn(body, content_type):
    return body
def predict_fn(data, model):
    try:
        boto3.client("s3").get_object(Bucket="bucket", Key="secret/b.txt")
    except ClientError as error:
        return data.decode() + ":" + error.response["Error"]["Code"]
def output_fn(prediction, accept):
    return prediction
"""


def test_an_endpoint_is_invoked_with_a_signature_and_its_server_has_the_jobs_key(signed_runtime: SignedRuntime) -> None:
    jobs = Jobs(signed_runtime)
    jobs.sagemaker.create_endpoint(EndpointName="mine-2", EndpointConfigName=jobs.endpoint_config(jobs.model(MODEL)))

    def settled() -> str | None:
        status = jobs.sagemaker.describe_endpoint(EndpointName="mine-2")["EndpointStatus"]
        return str(status) if status != "Creating" else None

    assert until(settled) == "InService"
    caller = signed_runtime.client("sagemaker-runtime", "caller")
    answer = caller.invoke_endpoint(EndpointName="mine-2", Body=b"asked", ContentType="text/plain")
    assert answer["Body"].read() == b"asked:AccessDenied"
    status, text = fetch(f"{signed_runtime.url}/endpoints/mine-2/invocations", "POST", b"asked")
    assert (status, "asked:" in text) == (403, False)


def test_nothing_of_the_runtime_holds_a_secret_where_others_can_read_it(signed_runtime: SignedRuntime) -> None:
    lines = [" ".join(process.cmdline()) for process in signed_runtime.processes()]
    assert any("millrace.runtime.control" in line for line in lines)
    logs = [path.read_text(errors="replace") for path in signed_runtime.data_dir.glob("*.log")]
    calls = (signed_runtime.data_dir / "calls.jsonl").read_text()
    for secret in SECRETS.values():
        assert not any(secret in text for text in (*lines, *logs, calls))


# Starting.


def start(tmp_path: Path, *options: str) -> tuple[int, str]:
    """A runtime that is to refuse to start."""
    command = [
        sys.executable,
        "-m",
        "millrace.runtime",
        "--port",
        str(free_port()),
        "--data-dir",
        str(tmp_path / "data"),
    ]
    ended = subprocess.run([*command, *options], capture_output=True, text=True, timeout=30)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "some.name"])
def test_nobody_is_let_in_from_outside_without_credentials(tmp_path: Path, host: str) -> None:
    code, said = start(tmp_path, "--host", host)
    assert code == 2
    assert f"--host {host} lets other machines in" in said
    assert "--credentials FILE" in said


def test_every_loopback_address_is_one() -> None:
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        assert RuntimeConfig(data_dir=Path("x"), host=host).host == host


def test_with_credentials_it_listens_elsewhere_and_still_verifies(tmp_path: Path) -> None:
    file = write(tmp_path / "credentials.json", rows())
    runtime = SignedRuntime(tmp_path / "data", "--credentials", str(file), "--host", "0.0.0.0")
    runtime.start()
    try:
        runtime.client("s3").list_buckets()
        denied(RuntimeProcess.client(runtime, "s3").list_buckets, "InvalidAccessKeyId")
    finally:
        runtime.stop()


def test_a_file_that_cannot_be_used_ends_the_start(tmp_path: Path) -> None:
    code, said = start(tmp_path, "--credentials", str(write(tmp_path / "file", one()[1:])))
    assert (code, "has no key named 'jobs'" in said) == (2, True)
    code, said = start(tmp_path, "--credentials", str(write(tmp_path / "file", rows(), 0o644)))
    assert (code, "chmod 600" in said) == (2, True)


def test_a_file_that_a_sandbox_would_show_to_jobs_is_told_from_one_that_it_hides(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for path in (data / "c.json", tmp_path / "c.json", Path.home() / "c.json", Path("/run/secrets/c")):
        assert sandbox.hides(path, data)
    for path in (Path("/etc/c.json"), Path("/srv/c.json"), Path(sys.prefix) / "c.json"):
        assert not sandbox.hides(path, data)


def test_where_there_is_no_sandbox_it_is_said_that_jobs_can_read_the_file(tmp_path: Path) -> None:
    file = write(tmp_path / "credentials.json", rows())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        # The port is taken, so that it says what it has to say and ends; the later --port is the one that holds.
        code, said = start(
            tmp_path, "--isolation", "process", "--credentials", str(file), "--port", str(taken.getsockname()[1])
        )
    assert (code, f"jobs run as this user and can read {file}" in said) == (2, True)
