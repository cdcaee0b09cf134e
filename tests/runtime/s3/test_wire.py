"""What boto3 does not send by itself: raw requests, aborted uploads, chunked bodies with trailers, hostile XML."""

from __future__ import annotations

import base64
import json
import socket
import time
import zlib
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest

from millrace.runtime.s3.chunked import ChunkedDecoder
from millrace.runtime.s3.errors import IncompleteBody, InvalidRequest

from .conftest import BUCKET, Server


def send(server: Server, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def chunked(*chunks: bytes, trailer: str = "", signed: bool = False) -> bytes:
    signature = ";chunk-signature=" + "0" * 64 if signed else ""
    framed = b"".join(f"{len(c):x}{signature}\r\n".encode() + c + b"\r\n" for c in (*chunks, b""))[:-2]
    return framed + (f"{trailer}\r\n" if trailer else "").encode() + b"\r\n"


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def put_chunked(server: Server, body: bytes, size: int) -> int:
    response, _ = send(
        server,
        "PUT",
        f"/{BUCKET}/k",
        body,
        content_encoding="aws-chunked",
        x_amz_decoded_content_length=str(size),
        x_amz_content_sha256="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        x_amz_trailer="x-amz-checksum-crc32",
    )
    return response.status


@pytest.mark.parametrize("size", [0, 10, 3 * 1024 * 1024])
def test_chunked_bodies_with_trailers(server: Server, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    pieces = [data[start : start + 65536] for start in range(0, size, 65536)]
    assert put_chunked(server, chunked(*pieces, trailer=f"x-amz-checksum-crc32:{crc32(data)}"), size) == 200
    record, file = server.store.open(BUCKET, "k")
    with file:
        assert file.read() == data
    assert record.checksums == {"crc32": crc32(data)}
    assert "content-encoding" not in record.headers


def test_chunked_bodies_that_lie_leave_nothing(server: Server) -> None:
    trailer = f"x-amz-checksum-crc32:{crc32(b'other')}"
    assert put_chunked(server, chunked(b"data", trailer=trailer), 4) == 400
    good = f"x-amz-checksum-crc32:{crc32(b'data')}"
    assert put_chunked(server, chunked(b"data", trailer=good), 5) == 400
    assert put_chunked(server, chunked(b"data"), 4) == 400
    assert put_chunked(server, b"zz\r\ndata", 4) == 400
    assert server.files() == []


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
def test_the_decoder_takes_any_split(step: int) -> None:
    decoder, content = ChunkedDecoder(), b""
    body = chunked(b"hello ", b"world" * 20, trailer="x-amz-checksum-crc32:AAAA", signed=True)
    for start in range(0, len(body), step):
        content += b"".join(decoder.feed(body[start : start + step]))
    decoder.finish()
    assert (content, decoder.trailers) == (b"hello " + b"world" * 20, {"x-amz-checksum-crc32": "AAAA"})


def test_the_decoder_refuses_broken_framing() -> None:
    for body in (b"-5\r\n", b"5\r\nhelloX\r\n", b"a" * 9000):
        with pytest.raises(InvalidRequest):
            ChunkedDecoder().feed(body)
    decoder = ChunkedDecoder()
    decoder.feed(b"5\r\nhel")
    with pytest.raises(IncompleteBody):
        decoder.finish()


@pytest.mark.parametrize("sent", [100, 3 * 1024 * 1024])
def test_an_upload_that_breaks_off_leaves_nothing(server: Server, sent: int) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        head = f"PUT /{BUCKET}/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000000\r\n\r\n"
        client.sendall(head.encode() + b"x" * sent)
        until(lambda: sent < 1000 or bool(server.files()))
    until(lambda: not server.files())
    assert list(server.store.list_keys(BUCKET)) == []


def until(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "did not happen within 5 s"
        time.sleep(0.01)


def test_a_reader_that_leaves_does_not_hurt(server: Server) -> None:
    server.store.put_bytes(BUCKET, "big", bytes(20_000_000))
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(f"GET /{BUCKET}/big HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            client.recv(1000)
    _, body = send(server, "GET", f"/{BUCKET}/big")
    assert len(body) == 20_000_000


def test_bodies_that_are_too_large_are_refused_before_they_come(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(f"PUT /{BUCKET}/k HTTP/1.1\r\nHost: h\r\nContent-Length: {5 * 1024**3 + 1}\r\n\r\n".encode())
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"<Code>EntityTooLarge</Code>" in answer


def test_hostile_documents_are_refused(server: Server) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><Delete><Object><Key>&a;</Key></Object></Delete>'
    for body in (bomb, b"<Delete>", b"<Other/>", b"<a>" * 100, bomb.decode().encode("utf-16")):
        response, answer = send(server, "POST", f"/{BUCKET}?delete", body)
        assert response.status == 400
        assert b"<Code>MalformedXML</Code>" in answer
    response, answer = send(
        server, "POST", f"/{BUCKET}?delete", bytes(4 * 1024 * 1024 + 1)
    )  # all of it is read before the answer
    assert b"EntityTooLarge" in answer


def test_errors_name_the_request_and_head_has_no_body(server: Server) -> None:
    response, body = send(server, "GET", f"/{BUCKET}/none")
    assert response.headers["Content-Type"] == "application/xml"
    assert response.headers["x-amz-request-id"].encode() in body
    assert b"<Key>none</Key>" in body
    response, body = send(server, "HEAD", f"/{BUCKET}/none")
    assert (response.status, body) == (404, b"")
    response, body = send(server, "GET", f"/{BUCKET}/%ff")
    assert b"<Code>InvalidURI</Code>" in body
    response, body = send(server, "PATCH", f"/{BUCKET}/k")
    assert (response.status, b"MethodNotAllowed" in body) == (405, True)


def test_presigned_urls(server: Server, s3: Any) -> None:
    def sign(operation: str, seconds: int, **more: str) -> str:
        url = s3.generate_presigned_url(operation, {"Bucket": BUCKET, "Key": "k ü", **more}, seconds)
        return str(url.removeprefix(server.url))

    assert send(server, "PUT", sign("put_object", 60), json.dumps([1]).encode())[0].status == 200
    response, body = send(server, "GET", sign("get_object", 60, ResponseContentType="application/json"))
    assert (body, response.headers["Content-Type"]) == (b"[1]", "application/json")
    for url in (
        sign("get_object", -1),
        f"/{BUCKET}/k?X-Amz-Date=20200101T000000Z&X-Amz-Expires=60",
        f"/{BUCKET}/k?X-Amz-Expires=60",
    ):
        response, body = send(server, "GET", url)
        assert (response.status, b"AccessDenied" in body) == (403, True)
    assert b"Request has expired" in send(server, "GET", sign("get_object", -1))[1]


def test_an_unread_body_of_a_refused_put_does_not_poison_the_connection(server: Server) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("PUT", "/missing/k", bytes(3_000_000))
    response = connection.getresponse()
    assert response.status == 404
    response.read()
    connection.request("PUT", f"/{BUCKET}/k", b"x")
    response = connection.getresponse()
    assert response.status == 200
    response.read()
    connection.close()
