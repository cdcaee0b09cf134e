"""The model server as a container starts it: the real file in a process of its own, asked over real connections."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from millrace.serving import server as server_module
from tests.runtime.process import free_port, until

PROGRAM = Path(server_module.__file__)
HANDLERS = """
import json, os, time

def model_fn(model_dir):
    with open(os.path.join(model_dir, "weight.json")) as stream:
        return {"weight": json.load(stream), "calls": 0, "busy": 0, "most": 0}

def input_fn(body, content_type):
    if content_type == "text/csv":
        return [[float(cell) for cell in line.split(",")] for line in body.decode().splitlines()]
    if content_type == "application/json":
        return json.loads(body)
    class UnsupportedContentType(ValueError): ...
    raise UnsupportedContentType(f"{content_type} is not text/csv or application/json")

def predict_fn(rows, model):
    if rows == "crash":
        raise RuntimeError("the weights do not fit")
    if rows == "refuse":
        raise ValueError("a row must have two cells")
    if rows == "exit":
        raise SystemExit(3)
    model["busy"] += 1
    model["most"] = max(model["most"], model["busy"])
    time.sleep(0.02 if rows == "slow" else 0)
    model["busy"] -= 1
    return model["most"] if rows == "slow" else [sum(row) * model["weight"] for row in rows]

def output_fn(prediction, accept):
    if accept == "text/csv":
        return "".join(f"{value}\\n" for value in prediction)
    return json.dumps(prediction)
"""
ECHO = """
def model_fn(model_dir):
    return "model"
def transform_fn(model, body, content_type, accept):
    return f"{model}|{body.decode()}|{content_type}|{accept}"
"""
Answer = tuple[int, str, str]


class Running:
    """A server over a model folder."""

    def __init__(self, base: Path, files: Mapping[str, str], **variables: str) -> None:
        for name, text in files.items():
            path = base / "model" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (base / "model").mkdir(exist_ok=True, parents=True)
        self.port = free_port()
        self.log = base / "log"
        env = {
            "PATH": os.environ["PATH"], "SAGEMAKER_BASE_DIR": str(base), "MILLRACE_BIND_HOST": "127.0.0.1",
            "SAGEMAKER_BIND_TO_PORT": str(self.port), **variables,
        }  # fmt: skip
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen([sys.executable, "-P", str(PROGRAM)], env=env, stdout=stream, stderr=stream)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def ask(self, body: str | bytes, content_type: str = "application/json", **headers: str) -> Answer:
        connection = self.connect()
        try:
            return ask(connection, body, content_type, **headers)
        finally:
            connection.close()

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        connection = self.connect()
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def ask(connection: http.client.HTTPConnection, body: str | bytes, content_type: str, **headers: str) -> Answer:
    connection.request("POST", "/invocations", body, {"Content-Type": content_type, **headers})
    response = connection.getresponse()
    return response.status, response.read().decode(), response.headers["Content-Type"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("served"), {"code/inference.py": HANDLERS, "weight.json": "2"})
    try:
        until(running.is_ready, 20, "the server's /ping")
        yield running
    finally:
        running.end()


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(
        tmp_path_factory.mktemp("echo"), {"code/serve.py": ECHO}, SAGEMAKER_PROGRAM="serve.py",
        SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT="application/jsonlines",
    )  # fmt: skip
    try:
        until(running.is_ready, 20, "the server's /ping")
        yield running
    finally:
        running.end()


def test_ping_answers_with_an_empty_200(served: Running) -> None:
    connection = served.connect()
    connection.request("GET", "/ping")
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"")
    connection.close()


def test_csv_in_gives_csv_out(served: Running) -> None:
    assert served.ask("1,2\n3,4\n", "text/csv") == (200, "6.0\n14.0\n", "text/csv")


def test_json_in_gives_json_out(served: Running) -> None:
    assert served.ask("[[1, 2]]") == (200, "[6]", "application/json")


def test_accept_decides_the_answers_form_and_any_is_the_requests_own(served: Running) -> None:
    assert served.ask("1,2\n", "text/csv", Accept="application/json") == (200, "[6.0]", "application/json")
    assert served.ask("1,2\n", "text/csv", Accept="*/*") == (200, "6.0\n", "text/csv")


def test_a_content_type_that_the_handlers_do_not_take_is_415_with_their_words(served: Running) -> None:
    status, text, _ = served.ask("<x/>", "application/xml")
    assert status == 415
    assert "application/xml is not text/csv or application/json" in text


def test_a_handler_that_breaks_is_500_with_its_message_and_its_traceback_is_logged(served: Running) -> None:
    assert served.ask('"crash"') == (500, "RuntimeError: the weights do not fit", "text/plain")
    assert "in predict_fn" in served.log.read_text()
    assert served.ask("[[1, 2]]")[0] == 200


@pytest.mark.parametrize("body", ['"refuse"', "{", "[["])
def test_a_value_that_the_handlers_refuse_is_400_with_their_words(served: Running, body: str) -> None:
    status, text, _ = served.ask(body)
    assert status == 400
    assert "a row must have two cells" in text or "JSONDecodeError" in text


def test_other_paths_are_404(served: Running) -> None:
    for method, path in (("GET", "/"), ("GET", "/invocations"), ("POST", "/ping")):
        connection = served.connect()
        connection.request(method, path)
        assert connection.getresponse().status == 404
        connection.close()


def test_a_chunked_body_is_refused_and_not_misread_and_whoever_sends_it_slowly_hears_so(served: Running) -> None:
    with contextlib.closing(served.connect()) as connection:

        def chunks() -> Iterator[bytes]:
            yield b"[[1,"
            select.select([connection.sock], [], [], 20)  # it has been answered, and may have been hung up on
            for _ in range(20):
                time.sleep(0.01)
                yield b"2]]"

        connection.request("POST", "/invocations", chunks(), {"Content-Type": "application/json"}, encode_chunked=True)
        response = connection.getresponse()
        assert response.status == 413
        assert b"Content-Length" in response.read()


def test_a_body_without_end_is_not_listened_to_for_long(served: Running) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(b"POST /invocations HTTP/1.1\r\nHost: me\r\nTransfer-Encoding: chunked\r\n\r\n")

        def send() -> bool:
            try:
                connection.sendall(b"3\r\n2]]\r\n" * 1000)
            except OSError:
                return True
            return False

        until(send, 60, "the hanging up")


def test_one_connection_is_kept_over_good_and_bad_requests(served: Running) -> None:
    connection = served.connect()
    connection.connect()
    made = connection.sock
    for body, status in (("[[1, 2]]", 200), ('"crash"', 500), ('"refuse"', 400), ("[[1, 2]]", 200)):
        assert ask(connection, body, "application/json")[0] == status
    assert connection.sock is made is not None
    connection.close()


def test_many_connections_are_answered_and_predictions_run_one_at_a_time(served: Running) -> None:
    barrier = threading.Barrier(8)

    def one(_: int) -> Answer:
        barrier.wait()
        return served.ask('"slow"')

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(8)))
    assert answers == [(200, "1", "application/json")] * 8


def test_a_body_of_a_megabyte_arrives_whole(served: Running) -> None:
    rows = 100_000
    status, text, _ = served.ask("1,2\n" * rows, "text/csv")
    assert (status, text.count("6.0\n")) == (200, rows)


def test_invocations_are_logged_and_pings_are_not(served: Running) -> None:
    served.ask("[[1, 2]]")
    lines = served.log.read_text()
    assert "POST /invocations" in lines
    assert "/ping" not in lines


def test_one_transform_fn_stands_in_for_the_three(echo: Running) -> None:
    assert echo.ask("body", "text/csv", Accept="text/plain") == (200, "model|body|text/csv|text/plain", "text/plain")


def test_the_default_of_accept_is_the_containers(echo: Running) -> None:
    assert echo.ask("b", "text/csv")[1] == "model|b|text/csv|application/jsonlines"
    assert echo.ask("b", "text/csv", Accept="*/*")[1] == "model|b|text/csv|application/jsonlines"


def test_the_program_that_the_container_names_is_served(echo: Running) -> None:
    assert f"serving serve.py on 127.0.0.1:{echo.port}" in echo.log.read_text()


def ended(base: Path, files: Mapping[str, str], **variables: str) -> tuple[int, str]:
    running = Running(base, files, **variables)
    try:
        return running.process.wait(timeout=20), running.log.read_text()
    finally:
        running.end()


def test_an_archive_without_handlers_ends_the_server_and_says_which_file_it_wants(tmp_path: Path) -> None:
    code, log = ended(tmp_path, {"weight.json": "2"})
    assert code == 1
    assert "the model archive has no code/inference.py; SAGEMAKER_PROGRAM names the handlers' file" in log


def test_handlers_that_lack_functions_end_the_server_and_are_told_which(tmp_path: Path) -> None:
    code, log = ended(tmp_path, {"code/inference.py": "def model_fn(d): return 1\ndef input_fn(b, c): return b\n"})
    assert code == 1
    assert "inference.py lacks predict_fn, output_fn (or one transform_fn in their place)" in log


def test_a_model_that_does_not_load_ends_the_server_with_its_traceback(tmp_path: Path) -> None:
    code, log = ended(tmp_path, {"code/inference.py": HANDLERS})
    assert code == 1
    assert "in model_fn" in log
    assert "weight.json" in log


@pytest.mark.parametrize("program", ["../inference.py", "/etc/passwd", "deep/inference.py"])
def test_a_program_outside_the_code_folder_is_refused(tmp_path: Path, program: str) -> None:
    code, log = ended(tmp_path, {"code/inference.py": ECHO}, SAGEMAKER_PROGRAM=program)
    assert code == 1
    assert f"SAGEMAKER_PROGRAM is {program!r}; it must be a file name" in log


def test_handlers_import_what_lies_beside_them(tmp_path: Path) -> None:
    handlers = "import beside\ndef model_fn(d): return beside.WORD\ndef transform_fn(m, b, c, a): return m\n"
    running = Running(tmp_path, {"code/inference.py": handlers, "code/beside.py": "WORD = 'hello'\n"})
    try:
        until(running.is_ready, 20, "the server's /ping")
        assert json.dumps(running.ask("")[1]) == '"hello"'
    finally:
        running.end()
