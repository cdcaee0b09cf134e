"""`millrace explain-cache` on a real S3: the local stack's, and one that is reached by a profile as AWS would be."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from millrace.cli.airflow_api import NotReached
from millrace.cli.explain_cache import explain_cache
from millrace.cli.layout import BUCKET
from millrace.sagemaker.cache_looks import look_of, note_look
from millrace.sagemaker.fingerprint import Fingerprint, NoFingerprint
from millrace.sagemaker.names import TaskIdentity
from millrace.sagemaker.step_cache import Miss
from tests.runtime.process import RuntimeProcess, free_port

APP = typer.Typer()
APP.command()(explain_cache)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    process = RuntimeProcess(tmp_path_factory.mktemp("runtime"))
    process.start()
    process.client("s3").create_bucket(Bucket=BUCKET)
    process.client("s3").create_bucket(Bucket="of-an-account")
    yield process
    process.end_everything()


@pytest.fixture
def dag_id(runtime: RuntimeProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A DAG of its own, in a project whose local stack is the runtime."""
    (tmp_path / "dags").mkdir()
    monkeypatch.setenv("MILLRACE_PROJECT", str(tmp_path))
    monkeypatch.setenv("MILLRACE_PORT", str(runtime.port))
    monkeypatch.delenv("MILLRACE_BUCKET", raising=False)
    return f"dag_{uuid.uuid4().hex}"


def look(runtime: RuntimeProcess, dag_id: str, run_id: str, bucket: str = BUCKET, **components: str) -> None:
    identity = TaskIdentity(deployment="local", dag_id=dag_id, run_id=run_id, task_id="train")
    found = Fingerprint("training", {name.replace("_", " "): value for name, value in components.items()})
    answer = Miss("no job of this content is remembered")
    assert note_look(runtime.client("s3"), bucket, look_of(identity, found, answer)) == ""


def explain(*arguments: str) -> Result:
    return CliRunner().invoke(APP, arguments, terminal_width=200)


def test_difference_from_the_nearest_run_is_named(runtime: RuntimeProcess, dag_id: str) -> None:
    look(runtime, dag_id, "first", hyperparameter_epochs="14", image="[red]a[/]")
    look(runtime, dag_id, "far", hyperparameter_epochs="1", image="x")
    look(runtime, dag_id, "last", hyperparameter_epochs="20", image="[red]a[/]")
    result = explain(dag_id, "train")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].startswith(f"{dag_id}.train, last: a miss, looked for at 20")
    assert lines[1] == "no job of this content is remembered"
    assert lines[2].startswith("what differs from first (miss, 20")
    assert lines[3:] == ["  hyperparameter epochs: 14 → 20"]


def test_run_that_was_asked_for_is_compared_with_what_came_before_it(runtime: RuntimeProcess, dag_id: str) -> None:
    for run_id, image in (("one", "a"), ("two", "a"), ("three", "b")):
        look(runtime, dag_id, run_id, image=image)
    assert "nothing differs from one (miss" in explain(dag_id, "train", "--run", "two").output
    assert "there is no earlier look of this task" in explain(dag_id, "train", "--run", "one").output


def test_task_that_never_looked_is_told_how_to(dag_id: str) -> None:
    result = explain(dag_id, "train", "--run", "x")
    assert result.exit_code == 1
    assert (
        result.output == f"no look of {dag_id}.train in the run x is recorded: set cache=True on the task and run it\n"
    )


def test_step_without_a_fingerprint_says_why(runtime: RuntimeProcess, dag_id: str) -> None:
    identity = TaskIdentity(deployment="local", dag_id=dag_id, run_id="r", task_id="train", map_index=2)
    note_look(runtime.client("s3"), BUCKET, look_of(identity, NoFingerprint("the input train is empty"), None))
    result = explain(dag_id, "train", "--map-index", "2")
    assert result.exit_code == 0
    assert ": not cached, looked for at" in result.output and "the input train is empty" in result.output


def test_text_from_s3_gives_a_terminal_no_orders_and_does_not_flood_it(runtime: RuntimeProcess, dag_id: str) -> None:
    look(runtime, dag_id, "one", image="a")
    look(
        runtime, dag_id, "two", image="\x1b]0;mine\x07\nforged line", **{f"argument_{n}": "x" * 250 for n in range(60)}
    )
    output = explain(dag_id, "train").output
    assert "\x1b" not in output and "\x07" not in output and "\nforged" not in output
    assert "and 21 more" in output
    assert max(map(len, output.splitlines())) <= 201


def test_stack_that_is_down_is_said(runtime: RuntimeProcess, dag_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_PORT", str(free_port()))
    error = explain(dag_id, "train").exception
    assert isinstance(error, NotReached) and "Run `make up`" in str(error)


def test_profile_reaches_an_account_whose_settings_the_command_has_hidden(
    runtime: RuntimeProcess, dag_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text(f"[profile prod]\nregion = eu-west-1\nendpoint_url = {runtime.url}\n")
    (tmp_path / ".aws/credentials").write_text("[prod]\naws_access_key_id = any\naws_secret_access_key = any\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    look(runtime, dag_id, "there", "of-an-account", image="a")
    result = explain(dag_id, "train", "--profile", "prod", "--bucket", "of-an-account")
    assert result.exit_code == 0 and f"{dag_id}.train, there: a miss" in result.output
    assert explain(dag_id, "train", "--profile", "prod").exit_code == 2
    error = explain(dag_id, "train", "--profile", "other", "--bucket", "b").exception
    assert isinstance(error, NotReached) and "other" in str(error) and "--profile" in str(error)
