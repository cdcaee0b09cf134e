"""Servers that do the least that still is the work: what no server on this stack can be quicker than.

    null     answers S3's PUT and GET of a small object with the right headers, and keeps nothing
    receive  takes in a PUT, hashes it (MD5) and writes it to a file; with --flush the file is on the disk (fsync)
             before the answer, as that of an acknowledged PUT must be

The same uvicorn, httptools and uvloop as the runtime's. What they do not do: they store nothing that can be found
again.
Run by the benchmarks as `python -m benchmarks.floors null --port N`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

SMALL = b"x" * 1024
"""The object of every GET from the null server."""
BATCH = 1024 * 1024
ETAG = hashlib.md5(SMALL, usedforsecurity=False).hexdigest()
CRC32 = base64.b64encode(zlib.crc32(SMALL).to_bytes(4, "big")).decode()


def null() -> ASGIApp:
    common = [(b"x-amz-request-id", b"0" * 16), (b"x-amz-id-2", b"null"), (b"server", b"AmazonS3"),
              (b"etag", f'"{ETAG}"'.encode()), (b"x-amz-checksum-crc32", CRC32.encode()),
              (b"x-amz-checksum-type", b"FULL_OBJECT")]  # fmt: skip
    stored = [*common, (b"content-length", b"0")]
    read = [*common, (b"content-type", b"binary/octet-stream"), (b"accept-ranges", b"bytes"),
            (b"content-length", str(len(SMALL)).encode()),
            (b"last-modified", formatdate(usegmt=True).encode())]  # fmt: skip

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        is_get = scope["method"] == "GET"
        await send({"type": "http.response.start", "status": 200, "headers": read if is_get else stored})
        await send({"type": "http.response.body", "body": SMALL if is_get else b""})

    return app


def receive_and_write(path: Path, *, flush: bool) -> ASGIApp:
    pool = ThreadPoolExecutor(2)

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        digest = hashlib.md5(usedforsecurity=False)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)

        def take(batch: list[bytes]) -> None:
            for data in batch:
                digest.update(data)
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]

        writing: asyncio.Future[None] | None = None
        more = True
        while more:
            batch: list[bytes] = []
            size = 0
            while more and size < BATCH:
                message: Any = await receive()
                batch.append(message.get("body", b""))
                size += len(batch[-1])
                more = message.get("more_body", False)
            if writing is not None:
                await writing
            writing = loop.run_in_executor(pool, take, batch)
        if writing is not None:
            await writing
        if flush:
            await loop.run_in_executor(pool, os.fsync, descriptor)
        os.close(descriptor)
        headers = [(b"etag", f'"{digest.hexdigest()}"'.encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("null", "receive"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--file", type=Path, help="where `receive` writes")
    parser.add_argument("--flush", action="store_true")
    options = parser.parse_args()
    app = null() if options.what == "null" else receive_and_write(options.file, flush=options.flush)
    uvicorn.run(
        app, port=options.port, http="httptools", loop="uvloop", lifespan="off", ws="none", access_log=False,
        log_level="warning", server_header=False, timeout_keep_alive=75,
    )  # fmt: skip


if __name__ == "__main__":
    main()
