"""What children of a stack inherit from the shell: nothing of AWS, nothing secret."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from millrace.cli import environment
from millrace.cli.layout import Layout
from millrace.sagemaker.deployment import Deployment

SHELL = {
    "PATH": "/bin", "HOME": "/home/someone", "AWS_PROFILE": "production", "AWS_ACCESS_KEY_ID": "AKIAREAL",
    "AWS_SESSION_TOKEN": "real", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://somewhere", "HTTPS_PROXY": "http://proxy",
    "OPENAI_API_KEY": "secret", "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
}  # fmt: skip


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / "dags").mkdir()
    return Layout(project=tmp_path, state=tmp_path / ".millrace")


def test_child_speaks_to_the_runtime_and_to_nothing_else(layout: Layout) -> None:
    child = environment.for_child(layout, "airflow", SHELL)
    assert child["AWS_ENDPOINT_URL"] == layout.runtime_url
    assert child["AWS_ACCESS_KEY_ID"] == "millrace-airflow"
    assert child["AWS_CONFIG_FILE"] == child["AWS_SHARED_CREDENTIALS_FILE"] == "/dev/null"
    assert child["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "HTTPS_PROXY"} & set(child)
    assert "OPENAI_API_KEY" not in child
    assert Deployment.from_environment(child).id == "local"


def test_mlflow_runs_no_jobs_of_its_own_unless_the_shell_says_so(layout: Layout) -> None:
    name = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"
    assert environment.for_child(layout, "mlflow", SHELL)[name] == "false"
    assert environment.for_child(layout, "mlflow", {**SHELL, name: "true"})[name] == "true"


@pytest.fixture
def elsewhere(layout: Layout, tmp_path: Path) -> Layout:
    """A stack whose objects another S3 holds."""
    (tmp_path / "keys").write_text("[default]\naws_access_key_id = theirs\naws_secret_access_key = hidden-from-all\n")
    return replace(layout, s3_endpoint_url="http://127.0.0.1:9000", s3_credentials=tmp_path / "keys")


def test_another_s3_is_told_to_every_child_and_its_keys_to_none(elsewhere: Layout) -> None:
    child = environment.for_child(elsewhere, "airflow", SHELL)
    assert child["AWS_ENDPOINT_URL_S3"] == "http://127.0.0.1:9000"
    assert child["AWS_SHARED_CREDENTIALS_FILE"] == str(elsewhere.s3_credentials)
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"} & set(child)
    assert not any("hidden-from-all" in value for value in child.values())
    extra = json.loads(child["AIRFLOW_CONN_AWS_DEFAULT"])["extra"]
    assert extra["service_config"] == {"s3": {"endpoint_url": "http://127.0.0.1:9000"}}
    assert extra["endpoint_url"] == elsewhere.runtime_url


def test_own_client_speaks_to_the_other_s3_and_to_the_runtime_for_the_rest(elsewhere: Layout) -> None:
    s3, sagemaker = environment.client("s3", elsewhere), environment.client("sagemaker", elsewhere)
    assert (s3.meta.endpoint_url, sagemaker.meta.endpoint_url) == ("http://127.0.0.1:9000", elsewhere.runtime_url)
    link = s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})
    assert "theirs" in link


def test_scrubbing_leaves_no_profile_and_no_proxy() -> None:
    shell = dict(SHELL)
    environment.scrub(shell)
    assert shell["AWS_CONFIG_FILE"] == "/dev/null"
    assert not {"AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "HTTPS_PROXY"} & set(shell)


def test_keys_are_made_once_and_readable_by_their_owner_alone(layout: Layout) -> None:
    first = environment.airflow(layout)
    assert environment.airflow(layout) == first
    path = layout.state / "secrets.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first["AIRFLOW__API_AUTH__JWT_SECRET"] not in environment.for_user(layout).values()
