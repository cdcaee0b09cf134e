"""What is begun is finished, whoever is killed; and the worker's supervisor does not wait for it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from operators.outliving import outlive
from tests.runtime.process import RuntimeProcess, running, until

WORKER = """
import os, pathlib, socket, sys, time
from operators.outliving import outlive

def act():
    folder = pathlib.Path(sys.argv[1])
    (folder / "begun").write_text(str(os.getpid()))
    while not (folder / "go on").exists():
        time.sleep(0.02)
    (folder / "done").touch()
    return True

supervisor = socket.socket(fileno=int(sys.argv[2]))
outlive(act)
supervisor.sendall(b"answered")
"""


@pytest.mark.parametrize("answer", [True, False])
def test_the_answer_is_the_acts_and_it_is_given_elsewhere(tmp_path: Path, answer: bool) -> None:
    def act() -> bool:
        (tmp_path / str(os.getpid())).touch()
        return answer

    assert outlive(act) is answer
    [where] = tmp_path.iterdir()
    assert where.name != str(os.getpid())


def test_it_is_done_here_where_no_process_is_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    assert outlive(lambda: True)
    assert not outlive(lambda: False)


def test_what_fails_there_fails_here() -> None:
    with pytest.raises(ZeroDivisionError):
        outlive(lambda: bool(1 / 0))


def test_a_process_that_dies_over_it_leaves_it_to_this_one() -> None:
    mine = os.getpid()

    def act() -> bool:
        if os.getpid() != mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    assert outlive(act)


def test_it_is_finished_though_the_worker_is_killed_and_the_supervisor_is_kept_from_nothing(tmp_path: Path) -> None:
    supervisor, of_worker = socket.socketpair()
    with supervisor:
        with of_worker:
            worker = subprocess.Popen(
                [sys.executable, "-c", WORKER, str(tmp_path), str(of_worker.fileno())], pass_fds=[of_worker.fileno()]
            )
        until((tmp_path / "begun").exists, 30, "the act's beginning")
        worker.kill()
        worker.wait()
        supervisor.settimeout(30)
        assert supervisor.recv(100) == b"", "nobody holds the other end any more"
    assert not (tmp_path / "done").exists()
    os.kill(int((tmp_path / "begun").read_text()), signal.SIGTERM)  # as a service manager does to all it has started
    (tmp_path / "go on").touch()
    until((tmp_path / "done").exists, 30, "the act's end")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    with running(tmp_path_factory.mktemp("runtime")) as process:
        yield process


def test_a_client_that_was_used_before_calls_from_there_and_goes_on_here(runtime: RuntimeProcess) -> None:
    s3 = runtime.client("s3")
    s3.put_object(Bucket="bucket", Key="before", Body=b"")
    busy = threading.Event()
    others = threading.Thread(target=busy.wait)
    others.start()
    mine = os.getpid()

    def act() -> bool:
        return os.getpid() != mine and bool(s3.put_object(Bucket="bucket", Key="there", Body=b"")["ETag"])

    assert outlive(act)
    s3.put_object(Bucket="bucket", Key="after", Body=b"")
    busy.set()
    others.join()
    found = s3.list_objects_v2(Bucket="bucket")["Contents"]
    assert [item["Key"] for item in found] == ["after", "before", "there"]
