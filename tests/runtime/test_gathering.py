"""How answers come out of a running runtime's port: small ones in one piece, all of them whole and in order."""

from __future__ import annotations

import http.client
import os
import socket
from typing import Any

import pytest

from millrace.runtime.gathering import ENOUGH
from tests.runtime.process import RuntimeProcess
from tests.runtime.raw import read

SMALL_ANSWERS = ("/health", "/no-such-bucket/key", "/endpoints/any/invocations")
ASKED = 30
"""Of two pieces the client may by chance see one, so it is asked often."""
BODIES = (0, 1, ENOUGH - 1, ENOUGH, 3 * 1024 * 1024 + 1, 10)


@pytest.mark.parametrize("path", SMALL_ANSWERS)
def test_head_and_body_of_a_small_answer_come_in_one_piece(runtime: RuntimeProcess, path: str) -> None:
    with socket.create_connection(("127.0.0.1", runtime.port), timeout=20) as connection:
        for _ in range(ASKED):
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            (length,) = (line[16:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length: "))
            assert len(body) == int(length) > 0


def test_client_that_says_no_more_at_once_is_answered(runtime: RuntimeProcess) -> None:
    for _ in range(ASKED):
        with socket.create_connection(("127.0.0.1", runtime.port), timeout=20) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            assert read(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("is_kept", [True, False])
def test_objects_of_all_sizes_come_whole_and_in_order(runtime: RuntimeProcess, s3: Any, *, is_kept: bool) -> None:
    bucket = f"gathering-{is_kept}".lower()
    s3.create_bucket(Bucket=bucket)
    contents = {f"{size}": os.urandom(size) for size in BODIES}
    for key, content in contents.items():
        s3.put_object(Bucket=bucket, Key=key, Body=content)
    connection = http.client.HTTPConnection("127.0.0.1", runtime.port, timeout=20)
    try:
        for key, content in contents.items():
            connection.request("GET", f"/{bucket}/{key}", headers={} if is_kept else {"Connection": "close"})
            assert connection.getresponse().read() == content
    finally:
        connection.close()
