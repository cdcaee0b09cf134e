"""Hostile clients at a running runtime, over raw sockets: names, lengths, framings and documents that lie.

Each gets a proper S3 error, or a closed connection, in bounded time and memory; nothing of it is left on disk, and the
next client is served.
"""

from __future__ import annotations

import base64
import http.client
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote

import psutil
import pytest
from tests.runtime.process import RuntimeProcess, until
from tests.runtime.raw import connected, read

from millrace.runtime.s3 import receiving

from .conftest import BUCKET, Server

MIB = 1024 * 1024
ALLOWED_GROWTH = 96 * MIB
"""Of the control process's memory, by one hostile request: what is asked of it is far more."""


def ask(port: int, line: str, body: bytes = b"", *headers: str, length: int | None = None) -> tuple[int, bytes]:
    """Status and body of the answer to a request whose target is sent as it is; status 0 when there is none."""
    lines = [f"{line} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    if not any(header.startswith("Transfer-Encoding") for header in headers):
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    with connected(port) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has read everything
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        answer = read(connection)
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, content


def files(folder: Path) -> set[Path]:
    return {path for path in (folder / "objects").glob("*/*") if path.is_file()}


class Watched:
    """A runtime, its memory and its files before a hostile client came."""

    def __init__(self, runtime: RuntimeProcess) -> None:
        self.runtime, self.port = runtime, runtime.port
        self.folder = runtime.data_dir / "s3"
        self._control = next(
            process
            for process in psutil.Process(runtime.process.pid if runtime.process else None).children()
            if "millrace.runtime.control" in process.cmdline()
        )
        self.answers()
        Path(f"/proc/{self._control.pid}/clear_refs").write_text("5")  # the peak is measured from here on
        self._memory, self._files = self._peak(), files(self.folder)

    def growth(self) -> int:
        """How many bytes more than before the control process had at any time."""
        return self._peak() - self._memory

    def _peak(self) -> int:
        lines = Path(f"/proc/{self._control.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    def answers(self) -> None:
        """Others are served, and soon."""
        started = time.monotonic()
        assert ask(self.port, f"PUT /{BUCKET}/other", b"x")[0] == 200
        assert ask(self.port, f"GET /{BUCKET}/other") == (200, b"x")
        assert ask(self.port, f"DELETE /{BUCKET}/other")[0] == 204
        assert time.monotonic() - started < 5

    def holds_what_it_held(self) -> bool:
        return files(self.folder) == self._files

    def nothing_is_left(self) -> None:
        self.answers()
        until(self.holds_what_it_held, 5, "the removal of stray files")
        assert self.growth() < ALLOWED_GROWTH


@pytest.fixture
def watched(runtime: RuntimeProcess) -> Iterator[Watched]:
    watched = Watched(runtime)
    yield watched
    watched.nothing_is_left()


# --- Names ------------------------------------------------------------------------------------------------------------

KEYS = (
    "line%0d%0aX-Injected:%20yes",
    "../../etc/passwd",
    "..",
    ".",
    "/",
    "//etc/passwd",
    "a/../../b",
    "%2e%2e/%2e%2e/etc/passwd",
    "%2e%2e%2fx",
    "%252e%252e%252fx",
    "..%5c..%5cx",
    "nul%00byte",
    "%00",
    "%E2%80%AE%F0%9F%92%A3",
    "%41" * 1024,
    "%C3%BC" * 512,
    "tmp-0123",
    "objects/00/x",
)


@pytest.mark.parametrize("key", KEYS)
def test_any_key_is_a_name_and_never_a_path(watched: Watched, key: str) -> None:
    around = set(watched.runtime.data_dir.iterdir())
    assert ask(watched.port, f"PUT /{BUCKET}/{key}", key.encode())[0] == 200
    assert ask(watched.port, f"GET /{BUCKET}/{key}") == (200, key.encode())
    listed = ask(watched.port, f"GET /{BUCKET}?list-type=2&encoding-type=url")[1]
    assert f"<Key>{quote(unquote(key), safe='/')}</Key>".encode().lower() in listed.lower()
    assert ask(watched.port, f"DELETE /{BUCKET}/{key}")[0] == 204
    assert set(watched.runtime.data_dir.iterdir()) == around


def test_a_key_of_several_lines_adds_none_to_an_answer(server: Server) -> None:
    target = f"/{BUCKET}/line%0d%0aX-Injected:%20yes"
    assert ask(server.port, f"PUT {target}", b"x")[0] == 200
    assert ask(server.port, f"GET {target}") == (200, b"x")
    assert b"<Key>line&#13;&#10;X-Injected: yes</Key>" in ask(server.port, f"GET /{BUCKET}")[1]
    with connected(server.port) as connection:
        connection.sendall(f"HEAD {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert b"X-Injected" not in read(connection)


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (f"/{BUCKET}/" + "a" * 1025, "KeyTooLongError"),
        (f"/{BUCKET}/" + "%C3%BC" * 513, "KeyTooLongError"),
        (f"/{BUCKET}/%ff%fe", "InvalidURI"),
        (f"/{BUCKET}/%ed%a0%80", "InvalidURI"),
        (f"/{BUCKET}/%c0%ae%c0%ae", "InvalidURI"),
        ("/..", "InvalidBucketName"),
        ("/%2e%2e", "InvalidBucketName"),
        ("/..%2f..%2fetc/x", "NoSuchBucket"),
        ("/.", "InvalidBucketName"),
        ("/a%00b", "InvalidBucketName"),
        ("/%2fetc", "NoSuchBucket"),
        ("/" + "a" * 64, "InvalidBucketName"),
        ("/s3%2f..%2fx", "NoSuchBucket"),
        ("//", "MethodNotAllowed"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(watched: Watched, target: str, code: str) -> None:
    status, body = ask(watched.port, f"PUT {target}", b"")
    assert 400 <= status < 500
    assert f"<Code>{code}</Code>".encode() in body


@pytest.mark.parametrize("host", ["...localhost", "%2e%2e.localhost", "a/b.localhost", "\x01.localhost"])
def test_a_bucket_in_the_host_cannot_leave_either(watched: Watched, host: str) -> None:
    with connected(watched.port) as connection:
        connection.sendall(
            f"PUT /key HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx".encode()
        )
        assert b" 200 " not in read(connection).partition(b"\r\n")[0]


# --- Lengths and framings ---------------------------------------------------------------------------------------------


def test_a_body_beyond_its_length_is_not_part_of_the_object(watched: Watched) -> None:
    """What is too much is a second request that is none: the server closes, in its haste before the first answer.

    Then the client does not know whether the object was stored, as with any connection that breaks.
    """
    with connected(watched.port) as connection:
        connection.sendall(
            f"PUT /{BUCKET}/long HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc".encode() + b"more" * 20
        )
        answer = read(connection)
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))
    assert answer.count(b"HTTP/1.1 200") <= 1
    status, body = ask(watched.port, f"GET /{BUCKET}/long")
    assert (status, body) == (200, b"abc") or (status == 404 and not answer.startswith(b"HTTP/1.1 200"))

    def deleted() -> bool:
        return ask(watched.port, f"DELETE /{BUCKET}/long")[0] == 204 and watched.holds_what_it_held()

    until(deleted, 5, "the deletion of an object that may have come late")


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: -1",),
        ("Content-Length: 1e3",),
        ("Content-Length: 0x10",),
        ("Content-Length: " + "9" * 5000,),
        ("Content-Length: 3", "Content-Length: 4"),
        ("Content-Length: 3", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: gzip, chunked, identity",),
        ("Transfer-Encoding: chunked", "x-amz-content-sha256: STREAMING-X", "x-amz-decoded-content-length: " + "9" * 5000),
    ],
)  # fmt: skip
def test_lengths_that_are_none_are_refused(watched: Watched, headers: tuple[str, ...]) -> None:
    with connected(watched.port) as connection:
        lines = (f"PUT /{BUCKET}/k HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", "")
        connection.sendall("\r\n".join(lines).encode() + b"0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        status = read(connection).partition(b"\r\n")[0]
    assert status == b"" or b" 4" in status


@pytest.mark.parametrize("sent", [0, 100, 3 * MIB])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_uploads_that_are_cut_delay_nobody_and_leave_nothing(watched: Watched, sent: int, framing: str) -> None:
    announced = "Content-Length: 9000000" if framing == "length" else "Transfer-Encoding: chunked"
    data = bytes(sent) if framing == "length" or not sent else b"%x\r\n%b\r\n" % (sent, bytes(sent))
    cut = [socket.create_connection(("127.0.0.1", watched.port)) for _ in range(20)]
    for connection in cut:
        connection.sendall(f"PUT /{BUCKET}/k HTTP/1.1\r\nHost: localhost\r\n{announced}\r\n\r\n".encode() + data)
    watched.answers()
    for number, connection in enumerate(cut):
        if number % 2:  # a reset, and not an orderly end
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    watched.nothing_is_left()
    assert ask(watched.port, f"HEAD /{BUCKET}/k")[0] == 404


def test_a_body_without_an_end_takes_no_memory(watched: Watched) -> None:
    piece = b"100000\r\n" + bytes(MIB) + b"\r\n"
    with connected(watched.port) as connection:
        connection.sendall(
            f"PUT /{BUCKET}/endless HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(150):
            connection.sendall(piece)
        assert watched.growth() < ALLOWED_GROWTH
        watched.answers()


def test_a_body_without_an_end_has_one(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "MAX_PUT", 4 * MIB)
    with connected(server.port) as connection:
        connection.sendall(
            f"PUT /{BUCKET}/endless HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        with pytest.raises(OSError):  # a reset or a broken pipe
            for _ in range(500):
                connection.sendall(b"100000\r\n" + bytes(MIB) + b"\r\n")
    until(lambda: not server.files(), 5, "the removal of stray files")


# --- aws-chunked ------------------------------------------------------------------------------------------------------

SIGNED = ";chunk-signature=" + "0" * 64


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"zz\r\ndata\r\n0\r\n\r\n", "InvalidRequest"),
        (b"-4\r\ndata\r\n0\r\n\r\n", "InvalidRequest"),
        (b"+4\r\ndata\r\n0\r\n\r\n", "InvalidRequest"),
        (b"0x4\r\ndata\r\n0\r\n\r\n", "InvalidRequest"),
        (b"0_4\r\ndata\r\n0\r\n\r\n", "InvalidRequest"),
        (b"\r\ndata\r\n0\r\n\r\n", "InvalidRequest"),
        (b"5\r\ndata\r\n0\r\n\r\n", "InvalidRequest"),
        (b"3\r\ndata\r\n0\r\n\r\n", "InvalidRequest"),
        (b"f" * 30 + b"\r\ndata", "IncompleteBody"),
        (b"f" * 9000 + b"\r\ndata", "InvalidRequest"),
        (b"4;" + b"x" * 9000 + b"\r\ndata\r\n0\r\n\r\n", "InvalidRequest"),
        (b"4\r\ndata\r\n", "IncompleteBody"),
        (b"4\r\ndata\r\n0\r\n\r\nmore of it", "InvalidRequest"),
        (f"4{SIGNED}\r\ndata\r\n0{SIGNED}\r\nx-amz-checksum-crc32:{crc32(b'atad')}\r\n\r\n".encode(), "BadDigest"),
        (b"4\r\ndata\r\n0\r\nx-amz-checksum-crc32:not base64\r\n\r\n", "InvalidRequest"),
        (b"4\r\ndata\r\n0\r\nno colon\r\n\r\n", "InvalidRequest"),
        (b"", "IncompleteBody"),
    ],
)
def test_chunks_that_lie_are_refused(watched: Watched, body: bytes, code: str) -> None:
    status, answer = ask(
        watched.port, f"PUT /{BUCKET}/k", body, "Content-Encoding: aws-chunked", "x-amz-decoded-content-length: 4",
        "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "x-amz-trailer: x-amz-checksum-crc32",
    )  # fmt: skip
    assert (status, f"<Code>{code}</Code>" in answer.decode()) == (400, True), answer
    assert ask(watched.port, f"HEAD /{BUCKET}/k")[0] == 404


def test_trailers_without_an_end_take_no_memory(watched: Watched) -> None:
    trailers = b"0\r\n" + b"".join(b"x-%d:%0100d\r\n" % (number, number) for number in range(600_000))
    status, _ = ask(
        watched.port, f"PUT /{BUCKET}/k", trailers, "Content-Encoding: aws-chunked", "x-amz-decoded-content-length: 0"
    )
    assert status in (0, 400)
    assert watched.growth() < ALLOWED_GROWTH


def test_the_smallest_chunks_delay_nobody(watched: Watched) -> None:
    """A document of a million tiny chunks is not unpacked where everybody waits."""
    body = b"1\r\na\r\n" * 600_000 + b"0\r\n\r\n"
    with connected(watched.port, 60) as connection:
        connection.sendall(
            f"POST /{BUCKET}?delete HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: aws-chunked\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        connection.sendall(body)
        watched.answers()
        assert b" 400 " in read(connection).partition(b"\r\n")[0]


# --- Documents --------------------------------------------------------------------------------------------------------

LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
DOCUMENTS = {
    "entities": f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]><R><Object><Key>&l9;</Key></Object></R>'.encode(),
    "one long entity": b'<!DOCTYPE x [<!ENTITY a "' + b"a" * MIB + b'">]><R>' + b"&a;" * 100_000 + b"</R>",
    "an outer entity": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><R><Object><Key>&a;</Key></Object></R>',
    "an outer type": b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x"><R/>',
    "an unknown entity": b"<R>&nbsp;</R>",
    "many elements": b"<R>" + b"<a/>" * 1_000_000 + b"</R>",
    "deep elements": b"<R>" + b"<a>" * 1_000_000,
    "many attributes": b"<R" + b"".join(b" a%d=''" % number for number in range(300_000)) + b"/>",
    "one long name": b"<" + b"R" * 4_000_000 + b"/>",
    "text in pieces": b"<R>" + b"a<!---->" * 500_000 + b"</R>",
    "no end": b"<R>" + b"a" * 3_000_000,
    "too large": b" " * (5 * MIB),
    "nothing": b"",
    "NUL": b"\0" * 1000,
    "not UTF-8": b"<R>\xff\xfe\xfa</R>",
    "half a UTF-16": b"\xff\xfe<",
    "a strange encoding": b'<?xml version="1.0" encoding="utf-7"?><R/>',
    "an encoding that is none": b'<?xml version="1.0" encoding="rot13"?><R/>',
    "an unknown encoding": b'<?xml version="1.0" encoding="no-such-thing"?><R/>',
    "a number without an end": b"<R><Part><PartNumber>" + b"9" * 100_000 + b"</PartNumber><ETag>x</ETag></Part></R>",
}
TARGETS = {"Delete": f"/{BUCKET}?delete", "CompleteMultipartUpload": f"/{BUCKET}/k?uploadId=none"}


@pytest.mark.parametrize("what", DOCUMENTS)
def test_hostile_documents_are_refused(watched: Watched, what: str) -> None:
    for root, target in TARGETS.items():
        body = DOCUMENTS[what].replace(b"<R", f"<{root}".encode(), 1).replace(b"</R>", f"</{root}>".encode())
        started = time.monotonic()
        status, answer = ask(watched.port, f"POST {target}", body)
        assert time.monotonic() - started < 8
        assert status in ((0, 400) if what == "too large" else (400, 404)), answer
        assert b"InternalError" not in answer
        assert b"root:" not in answer
    assert watched.growth() < ALLOWED_GROWTH


# --- Queries and headers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        f"/{BUCKET}?" + "&".join(f"p{number}" for number in range(4500)),
        f"/{BUCKET}?" + "&" * 30_000,
        f"/{BUCKET}?prefix=" + "%00" * 9000,
        f"/{BUCKET}?prefix=%ed%a0%80%ff",
        f"/{BUCKET}?" + "max-keys=1&" * 2500,
    ],
)
def test_thousands_of_parameters_are_answered(watched: Watched, target: str) -> None:
    assert ask(watched.port, f"GET {target}")[0] in (200, 400)


NINES = "9" * 5000


@pytest.mark.parametrize(
    ("line", "headers"),
    [
        (f"GET /{BUCKET}?max-keys={NINES}", ()),
        (f"GET /{BUCKET}?list-type=2&max-keys={NINES}", ()),
        (f"GET /{BUCKET}?uploads&max-uploads={NINES}", ()),
        (f"GET /{BUCKET}/there?partNumber={NINES}", ()),
        (f"PUT /{BUCKET}/k?partNumber={NINES}&uploadId=x", ()),
        (f"GET /{BUCKET}/there?X-Amz-Date=20200101T000000Z&X-Amz-Expires={NINES[:4000]}", ()),
        (f"GET /{BUCKET}/there?Signature=x&Expires={NINES}", ()),
        (f"GET /{BUCKET}/there", (f"Range: bytes={NINES}-",)),
        (f"GET /{BUCKET}/there", (f"Range: bytes=0-{NINES}",)),
        (f"GET /{BUCKET}/there", (f"Range: bytes=-{NINES}",)),
        (f"GET /{BUCKET}/there", ("Range: bytes=" + "0-0," * 7000,)),
        (f"GET /{BUCKET}/there", ("If-Modified-Since: Mon, 99 Foo 99999 99:99:99 GMT",)),
        (f"GET /{BUCKET}/there", ("If-Unmodified-Since: Thu, 01 Jan 0000 00:00:00 -9999",)),
        (f"PUT /{BUCKET}/k", ("x-amz-copy-source: ../../../etc/passwd",)),
        (f"PUT /{BUCKET}/k", ("x-amz-copy-source: %2e%2e%2f%2e%2e%2fetc%2fpasswd",)),
        (f"PUT /{BUCKET}/k", ("x-amz-copy-source: /" + "%00" * 2000,)),
        (f"PUT /{BUCKET}/k", ("Content-MD5: ////",)),
        (f"PUT /{BUCKET}/k", ("x-amz-tagging: " + "a=b&" * 5000,)),
        (f"POST /{BUCKET}/k?uploadId=" + "%00" * 3000, ()),
        (f"DELETE /{BUCKET}/k?uploadId=../../x", ()),
    ],
)
def test_values_that_are_absurd_are_no_fault_of_the_runtime(
    watched: Watched, line: str, headers: tuple[str, ...]
) -> None:
    assert ask(watched.port, f"PUT /{BUCKET}/there", b"there")[0] == 200
    status, answer = ask(watched.port, line, b"", *headers)
    assert 200 <= status < 500, answer
    assert ask(watched.port, f"DELETE /{BUCKET}/there")[0] == 204


def test_a_presigned_url_cannot_add_headers_to_its_answer(watched: Watched) -> None:
    """Such an answer could lift the sandbox that pages from here are put in."""
    ask(watched.port, f"PUT /{BUCKET}/page", b"<script/>")
    for value in ("x%0d%0aX-Injected:%20yes", "x%0aX-Injected:%20yes", "x%0d%0a%0d%0a<script>", "%00"):
        for name in ("response-content-type", "response-content-disposition", "response-cache-control"):
            connection = http.client.HTTPConnection("127.0.0.1", watched.port, timeout=10)
            connection.request("GET", f"/{BUCKET}/page?{name}={value}")
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            assert (answer.status, answer.headers["X-Injected"]) == (400, None)
            assert b"<Code>InvalidArgument</Code>" in body
    ask(watched.port, f"DELETE /{BUCKET}/page")
