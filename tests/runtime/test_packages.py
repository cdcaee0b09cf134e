"""requirements.txt of a training job: installed once by content, from an index on loopback that counts what is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from millrace.runtime.packages import requirements_of
from tests.runtime.jobs import Jobs, archive
from tests.runtime.package_index import Index, train
from tests.runtime.process import RuntimeProcess, needs_sandbox, until

SCRIPT = """
import greeting, pathlib, os
pathlib.Path(os.environ["SM_MODEL_DIR"], "said").write_text(greeting.WORD)
try:
    pathlib.Path(greeting.__file__).write_text("WORD = 'changed'")
except OSError as error:
    print("refused:", error)
"""


@pytest.fixture
def index() -> Iterator[Index]:
    index = Index()
    yield index
    index.close()


@needs_sandbox
def test_packages_are_installed_once_and_cannot_be_changed_by_a_job(own_runtime: RuntimeProcess, index: Index) -> None:
    jobs = Jobs(own_runtime)
    names = [train(jobs, f"--index-url {index.url}\ngreeting==1.0\n", SCRIPT) for _ in range(3)]
    for name in names:
        description = jobs.end("training", name)
        assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
        assert jobs.model_files(description)["said"] == b"hello"
        assert any("refused:" in line for line in jobs.lines("training", name))
    assert index.fetched == 1
    told = [any("installed before" in line for line in jobs.lines("training", name)) for name in names]
    assert sorted(told) == [False, True, True]
    assert len(list((own_runtime.data_dir / "packages").iterdir())) == 1


@needs_sandbox
def test_what_cannot_be_installed_fails_with_pips_words_and_leaves_nothing(jobs: Jobs, index: Index) -> None:
    description = jobs.end("training", train(jobs, f"--index-url {index.url}\ngreeting==2.0\n", SCRIPT))
    assert description["TrainingJobStatus"] == "Failed"
    assert "requirements.txt of the source archive cannot be installed" in description["FailureReason"]
    assert "greeting==2.0" in description["FailureReason"]
    assert not list((jobs.runtime.data_dir / "packages").glob("new-*"))


@needs_sandbox
def test_stop_ends_an_installation(own_runtime: RuntimeProcess) -> None:
    jobs = Jobs(own_runtime)
    silent = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # takes connections and never answers
    name = train(jobs, f"--index-url http://127.0.0.1:{silent.server_port}/simple/\ngreeting\n", SCRIPT)
    until(lambda: list((own_runtime.data_dir / "packages").glob("new-*")), 20, "the installation")
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert jobs.end("training", name, 20)["TrainingJobStatus"] == "Stopped"
    silent.server_close()


@pytest.mark.parametrize(
    ("text", "is_cached"),
    [
        ("six==1.17.0\n", True),
        ("# comment\n--index-url http://127.0.0.1/simple\nsix\n", True),
        ("-r other.txt\n", False),
        ("./mine.whl\n", False),
        ("-e .\n", False),
        ("mine @ file:///opt/ml/code/mine.whl\n", False),
        ("-c limits.txt\nsix\n", False),
        ("wheels/mine-1.0-py3-none-any.whl\n", False),
        ("--find-links ./wheels\nmine\n", False),
        ("mine==${VERSION}\n", False),
        ("mine @ ./mine\n", False),
    ],
)
def test_only_what_the_text_alone_decides_is_cached(tmp_path: Path, text: str, is_cached: bool) -> None:
    path = tmp_path / "code.tar.gz"
    path.write_bytes(archive({"requirements.txt": text}))
    assert requirements_of(path) == (text.encode() if is_cached else None)
    assert requirements_of(path, {"PIP_INDEX_URL": "http://127.0.0.1/simple"}) is None
    path.write_bytes(b"no archive")
    assert requirements_of(path) is None
