"""What an operation answers, and writing it to the client.

An object's bytes are read in the pool, one chunk ahead of the network. What this file does not do: it decides no
status and no header of an operation.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from starlette.types import Receive, Send

from millrace.runtime.s3.blobs import CHUNK
from millrace.runtime.s3.errors import NotModified, S3Error
from millrace.runtime.s3.pool import Pool
from millrace.runtime.s3.request import Request
from millrace.runtime.s3.xml import Members, document

_NO_BODY = (204, 304)


@dataclass(frozen=True, slots=True)
class FileSlice:
    """A stretch of an open file; whoever sends it closes it."""

    file: BinaryIO
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | FileSlice = b""


def xml_answer(name: str, members: Members | str, headers: Mapping[str, str] = {}) -> Answer:
    return Answer(200, {"content-type": "application/xml", **headers}, document(name, members))


def error_answer(error: S3Error, request: Request) -> Answer:
    headers = {**error.headers, "content-type": "application/xml"}
    if isinstance(error, NotModified):
        return Answer(error.status, error.headers)
    members: Members = [
        ("Code", error.code),
        ("Message", error.message),
        ("Resource", request.resource),
        ("BucketName", request.bucket or None),
        ("Key", request.key or None),
        ("RequestId", request.id),
        ("HostId", "millrace"),
    ]
    return Answer(error.status, headers, document("Error", members, namespace=False))


async def send_answer(answer: Answer, request: Request, pool: Pool, receive: Receive, send: Send) -> None:
    body = answer.body
    headers = {
        "x-amz-request-id": request.id,
        "x-amz-id-2": "millrace",
        "server": "AmazonS3",
        **answer.headers,
    }
    if answer.status not in _NO_BODY and "content-length" not in headers:
        headers["content-length"] = str(body.length if isinstance(body, FileSlice) else len(body))
    raw = [(name.encode("latin-1"), value.encode("utf-8")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    if isinstance(body, FileSlice):
        await _send_file(body, pool, receive, send)
    else:
        await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else body})


async def _send_file(part: FileSlice, pool: Pool, receive: Receive, send: Send) -> None:
    """Send a stretch of a file, and stop reading it when the client has gone."""
    gone = asyncio.ensure_future(_disconnected(receive))
    offset, end = part.offset, part.offset + part.length
    try:
        ahead = pool.start(_read, part.file, offset, end)
        while offset < end and not gone.done():
            chunk = await ahead
            offset += len(chunk)
            if not chunk:
                raise OSError(f"the file {part.file.name} ended {end - offset} bytes early")
            if offset < end:
                ahead = pool.start(_read, part.file, offset, end)
            await send({"type": "http.response.body", "body": chunk, "more_body": offset < end})
    finally:
        gone.cancel()
        # Queued behind a read that may still be under way: `close` on a buffered file waits for it.
        await asyncio.wait([ahead])
        part.file.close()


def _read(file: BinaryIO, offset: int, end: int) -> bytes:
    return os.pread(file.fileno(), min(CHUNK, end - offset), offset)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
