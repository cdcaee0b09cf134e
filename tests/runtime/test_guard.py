"""The door of a running runtime, knocked at with raw sockets: names, web pages, and headers without an end."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pytest

from millrace.runtime.guard import MAX_HEADER_BYTES, MAX_HEADER_SECONDS
from tests.runtime.process import RuntimeProcess
from tests.runtime.raw import connected, read

PATHS = ("/health", "/", "/bucket/key", "/endpoints/any/invocations")


def ask(runtime: RuntimeProcess, path: str, *headers: str, method: str = "GET") -> tuple[int, str]:
    lines = (f"{method} {path} HTTP/1.1", *headers, "Content-Length: 0", "Connection: close", "", "")
    with connected(runtime.port) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = read(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def seconds_until_closed(runtime: RuntimeProcess, said: bytes = b"") -> float:
    """How long the runtime keeps a connection on which this was said and nothing follows."""
    started = time.monotonic()
    with connected(runtime.port, 30) as connection:
        connection.sendall(said)
        assert read(connection) == b""
    return time.monotonic() - started


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host",
    [
        "evil.example.com",
        "evil.example.com:4580",
        "10.0.0.1",
        "169.254.169.254",
        "127.0.0.1.evil.com",
        "localhost.evil.com",
        "",
    ],
)
def test_a_foreign_host_is_refused_on_every_path(runtime: RuntimeProcess, path: str, host: str) -> None:
    status, text = ask(runtime, path, f"Host: {host}")
    assert status == 403
    assert host.partition(":")[0] in text
    assert "--allowed-host" in text


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "localhost:{port}", "[::1]:{port}", "bucket.localhost:{port}"],
)
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
        with connected(runtime.port) as connection:
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".encode()
            try:
                connection.sendall(head + line * (size // len(line)) + b"\r\n")
            except (BrokenPipeError, ConnectionResetError):
                return b""
            return read(connection)

    assert knock(MAX_HEADER_BYTES - 2000).startswith(b"HTTP/1.1 ")
    assert knock(MAX_HEADER_BYTES + 2000) == b""


def test_one_header_that_is_too_large_closes_the_connection(runtime: RuntimeProcess) -> None:
    with connected(runtime.port) as connection:
        connection.sendall(
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (MAX_HEADER_BYTES + 1) + b"\r\n\r\n"
        )
        assert read(connection) == b""


def test_a_request_line_that_is_too_long_closes_the_connection(runtime: RuntimeProcess) -> None:
    with connected(runtime.port) as connection:
        connection.sendall(b"GET /" + b"a" * (MAX_HEADER_BYTES + 1) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " not in read(connection).split(b"\r\n")[0]


def trickling(runtime: RuntimeProcess) -> float:
    """How long a header may go on whose bytes keep coming."""
    started = time.monotonic()
    with connected(runtime.port) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        try:
            while time.monotonic() - started < 20:
                connection.sendall(b"X-A: a\r\n")
                time.sleep(0.2)
        except (BrokenPipeError, ConnectionResetError):
            pass
    return time.monotonic() - started


def second_on_a_kept_connection(runtime: RuntimeProcess) -> float:
    """How long the second request of a connection may be half a header; the first is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", runtime.port, timeout=20)
    connection.request("GET", "/health")
    answer = connection.getresponse()
    assert (answer.status, bool(answer.read())) == (200, True)
    kept = connection.sock
    assert kept is not None
    started = time.monotonic()
    kept.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
    assert read(kept) == b""
    connection.close()
    return time.monotonic() - started


def body_that_comes_late(runtime: RuntimeProcess) -> bytes:
    """The answer to an upload whose body takes longer than a header may."""
    with connected(runtime.port, 40) as connection:
        connection.sendall(
            b"PUT /bucket/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nConnection: close\r\n\r\nab"
        )
        time.sleep(MAX_HEADER_SECONDS + 2)
        connection.sendall(b"cd")
        return read(connection)


UNFINISHED: dict[str, Callable[[RuntimeProcess], float]] = {
    "nothing at all": seconds_until_closed,
    "half a request line": partial(seconds_until_closed, said=b"GE"),
    "a request line": partial(seconds_until_closed, said=b"GET /health HTTP/1.1\r\n"),
    "half a header": partial(seconds_until_closed, said=b"GET /health HTTP/1.1\r\nHost: loc"),
    "headers without their end": partial(seconds_until_closed, said=b"GET /health HTTP/1.1\r\nHost: localhost\r\n"),
    "half a header for an endpoint": partial(
        seconds_until_closed, said=b"POST /endpoints/any/invocations HTTP/1.1\r\nHost: loc"
    ),
    "a header that trickles": trickling,
    "half a second request": second_on_a_kept_connection,
}


@dataclass
class Slow:
    """Slow clients, all at once; what became of each."""

    seconds: dict[str, Future[float]]
    late_body: Future[bytes]
    meanwhile: float
    """How long a quick client waited while they were all there."""


@pytest.fixture(scope="module")
def slow(runtime: RuntimeProcess) -> Iterator[Slow]:
    with ThreadPoolExecutor(len(UNFINISHED) + 1) as pool:
        seconds = {what: pool.submit(knock, runtime) for what, knock in UNFINISHED.items()}
        late_body = pool.submit(body_that_comes_late, runtime)
        time.sleep(1)
        started = time.monotonic()
        assert ask(runtime, "/health", "Host: localhost")[0] == 200
        yield Slow(seconds, late_body, time.monotonic() - started)


@pytest.mark.parametrize("what", UNFINISHED)
def test_a_request_that_is_never_finished_is_closed_in_time(slow: Slow, what: str) -> None:
    assert MAX_HEADER_SECONDS - 3 < slow.seconds[what].result() < MAX_HEADER_SECONDS + 3


def test_unfinished_requests_delay_nobody(slow: Slow) -> None:
    assert slow.meanwhile < 2


def test_a_body_may_take_longer_than_a_header(slow: Slow, runtime: RuntimeProcess) -> None:
    assert slow.late_body.result().startswith(b"HTTP/1.1 200")
    assert runtime.client("s3").get_object(Bucket="bucket", Key="slow")["Body"].read() == b"abcd"
