"""Where a stack keeps its state, and what it says when that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.cli.layout import Layout, LayoutError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "dags").mkdir()
    return tmp_path


def test_ports_follow_one_another_and_pages_are_the_runtimes(project: Path) -> None:
    layout = Layout.from_environment({"MILLRACE_PROJECT": str(project), "MILLRACE_PORT": "5000"})
    assert (layout.runtime_port, layout.mlflow_port, layout.airflow_port) == (5000, 5001, 5002)
    assert layout.state == project / ".millrace"
    assert layout.page("s3://bucket/a/index.html") == "http://127.0.0.1:5000/bucket/a/index.html"


@pytest.mark.parametrize(("port", "said"), [("80", "between 1024 and 65000"), ("a", "must be a number")])
def test_port_that_cannot_be_is_refused_by_name(project: Path, port: str, said: str) -> None:
    with pytest.raises(LayoutError, match=f"MILLRACE_PORT is '?{port}'?; it must.*{said.split()[-1]}"):
        Layout.from_environment({"MILLRACE_PROJECT": str(project), "MILLRACE_PORT": port})


def test_folder_without_dags_is_not_a_project(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="has no folder dags/"):
        Layout.from_environment({"MILLRACE_PROJECT": str(tmp_path)})


def test_another_s3_needs_keys_that_are_there(project: Path) -> None:
    settings = {"MILLRACE_PROJECT": str(project), "MILLRACE_S3_ENDPOINT_URL": "http://127.0.0.1:9000"}
    with pytest.raises(LayoutError, match="both MILLRACE_S3_ENDPOINT_URL and MILLRACE_S3_CREDENTIALS"):
        Layout.from_environment(settings)
    with pytest.raises(LayoutError, match="no such file"):
        Layout.from_environment(settings | {"MILLRACE_S3_CREDENTIALS": str(project / "keys")})
    (project / "keys").write_text("[default]\n")
    layout = Layout.from_environment(settings | {"MILLRACE_S3_CREDENTIALS": str(project / "keys")})
    assert layout.page("s3://bucket/a") == "http://127.0.0.1:9000/bucket/a"
