"""HTTP over one kept connection with next to no cost of its own, so that a server is measured and not its client.

botocore takes 0.5 to 1 ms for a call; this takes some 0.03. What it does not do: no TLS, no redirects, no retries,
and of answers only what has a Content-Length or ends with the connection.
"""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHUNK = 1024 * 1024
SIGNATURE = (
    "AWS4-HMAC-SHA256 Credential=benchmark/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
)
"""Neither the runtime nor moto verifies it; both find the service in it."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class UnexpectedStatus(Exception):
    """A measured call was refused: its time would be that of an error."""


class RawClient:
    """One connection to a server of this machine, opened again when the server closes it."""

    def __init__(self, port: int, service: str) -> None:
        self._port = port
        self._fixed = f"Host: 127.0.0.1:{port}\r\nAuthorization: {SIGNATURE.format(service=service)}\r\n"
        self._socket: socket.socket | None = None
        self._stream: io.BufferedReader | None = None

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._stream is not None:
            self._stream.close()
        self._socket = self._stream = None

    def call(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = {}) -> Answer:
        """Ask, and read the whole answer."""
        stream, answer, length = self._ask(method, path, body, headers)
        content = stream.read() if length is None else stream.read(length)
        self._after(answer, length)
        return Answer(answer.status, answer.headers, content)

    def expect(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = {}) -> bytes:
        """The body of an answer that must be a success.

        Raises:
            UnexpectedStatus: it is none.
        """
        return _successful(self.call(method, path, body, headers), f"{method} {path}")

    def sagemaker(self, operation: str, parameters: Mapping[str, Any]) -> Answer:
        """A call of SageMaker's JSON protocol."""
        headers = {"X-Amz-Target": f"SageMaker.{operation}", "Content-Type": "application/x-amz-json-1.1"}
        return self.call("POST", "/", json.dumps(parameters).encode(), headers)

    def upload(self, path: str, source: Path) -> None:
        """PUT a file, by sendfile: the kernel hands over its bytes.

        Raises:
            UnexpectedStatus: it was refused.
        """
        size = source.stat().st_size
        connection = self._connected()
        head = f"PUT {path} HTTP/1.1\r\n{self._fixed}Content-Length: {size}\r\n\r\n"
        connection.sendall(head.encode())
        with source.open("rb") as stream:
            connection.sendfile(stream)
        assert self._stream is not None
        answer, length = _read_head(self._stream)
        body = self._stream.read() if length is None else self._stream.read(length)
        self._after(answer, length)
        _successful(Answer(answer.status, answer.headers, body), f"PUT {path}")

    def download(self, path: str, target: Path) -> int:
        """GET into a file, and return the number of bytes.

        Raises:
            UnexpectedStatus: it was refused.
        """
        stream, answer, length = self._ask("GET", path, b"", {})
        if answer.status != 200 or length is None:
            _successful(Answer(answer.status, answer.headers, stream.read(length or -1)), f"GET {path}")
            raise UnexpectedStatus(f"GET {path} is answered without a Content-Length")
        buffer = memoryview(bytearray(CHUNK))
        left = length
        with target.open("wb", buffering=0) as file:
            while left:
                count = stream.readinto(buffer[: min(left, CHUNK)])
                if not count:
                    raise UnexpectedStatus(f"GET {path} ended {left} bytes early")
                file.write(buffer[:count])
                left -= count
        self._after(answer, length)
        return length

    def _ask(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[io.BufferedReader, Answer, int | None]:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"{method} {path} HTTP/1.1\r\n{self._fixed}{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._connected().sendall(request)
        assert self._stream is not None
        return self._stream, *_read_head(self._stream)

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._stream = io.BufferedReader(self._socket.makefile("rb", buffering=0), 256 * 1024)
        return self._socket

    def _after(self, answer: Answer, length: int | None) -> None:
        if length is None or answer.headers.get("connection", "").lower() == "close":
            self.close()


def _read_head(stream: io.BufferedReader) -> tuple[Answer, int | None]:
    """Status and headers, and the length of the body or None when it ends with the connection."""
    line = stream.readline()
    if not line:
        raise ConnectionError("the server closed the connection without an answer")
    status = int(line.split(b" ", 2)[1])
    headers: dict[str, str] = {}
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    if "chunked" in headers.get("transfer-encoding", ""):
        raise UnexpectedStatus("the answer is chunked, which this client does not read")
    length = headers.get("content-length")
    if status in (204, 304):
        return Answer(status, headers, b""), 0
    return Answer(status, headers, b""), None if length is None else int(length)


def _successful(answer: Answer, what: str) -> bytes:
    if not 200 <= answer.status < 300:
        raise UnexpectedStatus(f"{what} is answered {answer.status}: {answer.body[:300].decode(errors='replace')}")
    return answer.body
