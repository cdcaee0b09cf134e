"""What children of a stack inherit from the shell: nothing of AWS, nothing secret."""

from __future__ import annotations

import stat
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
