"""The stack before anything is started: what is in the way is said, and nothing is left half up."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from millrace.cli.environment import client
from millrace.cli.layout import Layout
from millrace.cli.services import SERVICES
from millrace.cli.stack import Stack, StackError
from tests.runtime.process import three_free_ports
from tests.runtime.storages import another_s3


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    (tmp_path / "dags").mkdir()
    layout = Layout(project=tmp_path, state=tmp_path / ".millrace", first_port=three_free_ports())
    return Stack(layout, lambda line: None)


def test_port_in_use_is_named_with_who_needs_it_and_what_to_do(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", stack.layout.mlflow_port)):
        with pytest.raises(StackError, match=f"port {stack.layout.mlflow_port}, which mlflow needs.*MILLRACE_PORT"):
            stack.up()
    assert not [service for service in SERVICES if stack.process(service)]


def test_stack_that_is_up_already_says_so(stack: Stack) -> None:
    run = stack.layout.state / "run"
    run.mkdir(parents=True)
    created = psutil.Process(os.getpid()).create_time()
    (run / "runtime.json").write_text(json.dumps({"pid": os.getpid(), "created": created}))
    with pytest.raises(StackError, match=r"up already \(runtime\).*make down"):
        stack.up()


@pytest.fixture
def elsewhere(stack: Stack, tmp_path: Path) -> Iterator[Stack]:
    """A stack whose objects another S3 holds."""
    keys = tmp_path / "keys"
    keys.write_text("[default]\naws_access_key_id = theirs\naws_secret_access_key = hidden\n")
    with another_s3() as url:
        layout = dataclasses.replace(stack.layout, s3_endpoint_url=url, s3_credentials=keys)
        yield Stack(layout, lambda line: None)


def test_bucket_of_another_s3_is_made_or_taken_as_it_is(elsewhere: Stack) -> None:
    elsewhere._make_bucket()
    elsewhere._make_bucket()
    region = {"LocationConstraint": "eu-west-1"}
    client("s3", elsewhere.layout).create_bucket(Bucket="there", CreateBucketConfiguration=region)
    Stack(dataclasses.replace(elsewhere.layout, bucket="there"), lambda line: None)._make_bucket()


def test_bucket_that_cannot_be_used_is_named(elsewhere: Stack) -> None:
    layout = dataclasses.replace(elsewhere.layout, bucket="no/bucket", s3_endpoint_url="http://127.0.0.1:9")
    with pytest.raises(StackError, match=r"(?s)the bucket 'no/bucket' cannot be used.*MILLRACE_BUCKET"):
        Stack(layout, lambda line: None)._make_bucket()


def test_process_that_got_our_old_pid_is_not_ours(stack: Stack) -> None:
    run = stack.layout.state / "run"
    run.mkdir(parents=True)
    (run / "runtime.json").write_text(json.dumps({"pid": os.getpid(), "created": 1.0}))
    stack.down()  # would end this very test run otherwise
    assert stack.status()[0] == ("runtime", "down", stack.layout.runtime_url)


def test_command_line_prints_the_environment_and_fails_with_one_message(stack: Stack) -> None:
    environment = {"PATH": os.environ["PATH"], "MILLRACE_PROJECT": str(stack.layout.project)}
    command = [sys.executable, "-m", "millrace.cli"]
    printed = subprocess.run([*command, "env"], capture_output=True, text=True, env=environment)
    assert printed.returncode == 0, printed.stderr
    assert "export AWS_ENDPOINT_URL=http://127.0.0.1:4580" in printed.stdout
    assert "unset AWS_PROFILE" in printed.stdout
    broken = subprocess.run(
        [*command, "status"], capture_output=True, text=True, env={**environment, "MILLRACE_PORT": "none"}
    )
    assert broken.returncode == 1
    assert "MILLRACE_PORT is 'none'" in broken.stdout
    assert "Traceback" not in broken.stdout + broken.stderr
