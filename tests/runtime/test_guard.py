"""The door of a running runtime, knocked at with raw sockets: names, web pages, and headers without an end."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from millrace.runtime.guard import MAX_HEADER_BYTES, MAX_HEADER_SECONDS
from tests.runtime.process import RuntimeProcess

PATHS = ("/health", "/", "/bucket/key", "/endpoints/any/invocations")


@contextmanager
def connected(runtime: RuntimeProcess, seconds: float = 20) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", runtime.port), timeout=seconds) as connection:
        yield connection


def read(connection: socket.socket) -> bytes:
    """Everything until the other side closes or resets."""
    parts = []
    try:
        while data := connection.recv(65536):
            parts.append(data)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def ask(runtime: RuntimeProcess, path: str, *headers: str, method: str = "GET") -> tuple[int, str]:
    lines = (f"{method} {path} HTTP/1.1", *headers, "Content-Length: 0", "Connection: close", "", "")
    with connected(runtime) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = read(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def seconds_until_closed(runtime: RuntimeProcess, *said: bytes) -> float:
    """How long the runtime keeps a connection on which this was said and nothing follows."""
    started = time.monotonic()
    with connected(runtime, 30) as connection:
        for part in said:
            connection.sendall(part)
        assert read(connection) == b""
    return time.monotonic() - started


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", ["evil.example.com", "evil.example.com:4580", "10.0.0.1", "169.254.169.254", "127.0.0.1.evil.com", "localhost.evil.com", ""])
def test_a_foreign_host_is_refused_on_every_path(runtime: RuntimeProcess, path: str, host: str) -> None:
    status, text = ask(runtime, path, f"Host: {host}")
    assert status == 403
    assert host.partition(":")[0] in text
    assert "--allowed-host" in text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "localhost:{port}", "[::1]:{port}", "bucket.localhost:{port}"])
def test_loopback_names_are_served_with_and_without_a_port(runtime: RuntimeProcess, host: str) -> None:
    assert ask(runtime, "/health", f"Host: {host.format(port=runtime.port)}")[0] == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PUT"])
@pytest.mark.parametrize("origin", ["https://evil.example.com", "http://localhost:{port}", "null"])
def test_a_web_page_is_refused_whatever_its_origin_and_method(
    runtime: RuntimeProcess, path: str, method: str, origin: str
) -> None:
    status, text = ask(runtime, path, "Host: localhost", f"Origin: {origin.format(port=runtime.port)}", method=method)
    assert status == 403
    assert "web pages" in text


def test_a_refused_request_leaves_nothing_behind(runtime: RuntimeProcess) -> None:
    s3 = runtime.client("s3")
    before = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert ask(runtime, "/planted", "Host: localhost", "Origin: https://evil.example.com", method="PUT")[0] == 403
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == before


@pytest.mark.parametrize("path", ["/health", "/endpoints/any/invocations"])
def test_headers_up_to_32_kb_are_read_and_beyond_that_the_connection_is_closed(
    runtime: RuntimeProcess, path: str
) -> None:
    def knock(size: int) -> bytes:
        line = b"X-Fill: " + b"a" * 1000 + b"\r\n"
        with connected(runtime) as connection:
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".encode()
            try:
                connection.sendall(head + line * (size // len(line)) + b"\r\n")
            except (BrokenPipeError, ConnectionResetError):
                return b""
            return read(connection)

    assert knock(MAX_HEADER_BYTES - 2000).startswith(b"HTTP/1.1 ")
    assert knock(MAX_HEADER_BYTES + 2000) == b""


def test_one_header_that_is_too_large_closes_the_connection(runtime: RuntimeProcess) -> None:
    with connected(runtime) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (MAX_HEADER_BYTES + 1) + b"\r\n\r\n")
        assert read(connection) == b""


def test_a_request_line_that_is_too_long_closes_the_connection(runtime: RuntimeProcess) -> None:
    with connected(runtime) as connection:
        connection.sendall(b"GET /" + b"a" * (MAX_HEADER_BYTES + 1) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " not in read(connection).split(b"\r\n")[0]


HALF = {
    "nothing at all": (),
    "half a request line": (b"GE",),
    "a request line": (b"GET /health HTTP/1.1\r\n",),
    "half a header": (b"GET /health HTTP/1.1\r\nHost: loc",),
    "headers without their end": (b"GET /health HTTP/1.1\r\nHost: localhost\r\n",),
    "half a header for an endpoint": (b"POST /endpoints/any/invocations HTTP/1.1\r\nHost: loc",),
}


def test_what_is_never_finished_is_closed_in_time_and_delays_nobody(runtime: RuntimeProcess) -> None:
    with ThreadPoolExecutor(len(HALF)) as pool:
        waits = {what: pool.submit(seconds_until_closed, runtime, *said) for what, said in HALF.items()}
        time.sleep(0.5)
        started = time.monotonic()
        assert ask(runtime, "/health", "Host: localhost")[0] == 200
        assert time.monotonic() - started < 2
        found = {what: wait.result() for what, wait in waits.items()}
    late = {what: seconds for what, seconds in found.items() if seconds > MAX_HEADER_SECONDS + 3}
    assert late == {}
    early = {what: seconds for what, seconds in found.items() if seconds < MAX_HEADER_SECONDS - 3}
    assert early == {}


def test_a_header_that_trickles_is_closed_in_time_though_bytes_keep_coming(runtime: RuntimeProcess) -> None:
    started = time.monotonic()
    with connected(runtime) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        try:
            while time.monotonic() - started < 20:
                connection.sendall(b"X-A: a\r\n")
                time.sleep(0.2)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert time.monotonic() - started < MAX_HEADER_SECONDS + 3


def test_a_kept_connection_serves_again_and_its_second_header_is_bounded_too(runtime: RuntimeProcess) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connected(runtime) as connection:
        for _ in range(3):
            connection.sendall(request)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        started = time.monotonic()
        connection.sendall(request[:20])
        assert read(connection) == b""
        assert MAX_HEADER_SECONDS - 3 < time.monotonic() - started < MAX_HEADER_SECONDS + 3


def test_a_body_may_take_longer_than_a_header(runtime: RuntimeProcess) -> None:
    with connected(runtime, 40) as connection:
        connection.sendall(b"PUT /bucket/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nConnection: close\r\n\r\nab")
        time.sleep(MAX_HEADER_SECONDS + 2)
        connection.sendall(b"cd")
        assert read(connection).startswith(b"HTTP/1.1 200")
    assert runtime.client("s3").get_object(Bucket="bucket", Key="slow")["Body"].read() == b"abcd"
