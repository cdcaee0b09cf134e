"""Counts calls on the wire: a TCP relay before the runtime that notes operation and access key of each request it passes on.

The runtime's own calls.jsonl says who may call what, not how often; this says how often, and when. It changes nothing.
What it does not do: it reads no answers, and understands only requests that carry a Content-Length, as botocore's do.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass

TARGET = re.compile(rb"^x-amz-target:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
LENGTH = re.compile(rb"^content-length:\s*(\d+)", re.IGNORECASE | re.MULTILINE)
KEY = re.compile(rb"Credential=([^/]+)/")


@dataclass(frozen=True, slots=True)
class Call:
    """One request: when, by which access key, and which operation, such as `SageMaker.DescribeProcessingJob`."""

    time: float
    access_key: str
    operation: str


class WireTap:
    """Relays a free loopback port to the runtime's, in a thread of its own."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self.calls: list[Call] = []
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="wire-tap", daemon=True)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    def count(self, since: float, until: float) -> Counter[str]:
        """Calls by operation within a stretch of time."""
        return Counter(call.operation for call in list(self.calls) if since <= call.time < until)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20, backlog=2048)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.1))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            answers, requests = await asyncio.open_connection("127.0.0.1", self._upstream)
            back = asyncio.create_task(_pump(answers, writer))
            try:
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    self._note(head)
                    length = LENGTH.search(head)
                    requests.write(head + (await reader.readexactly(int(length[1])) if length else b""))
                    await requests.drain()
            finally:
                requests.close()
                back.cancel()
                writer.close()

    def _note(self, head: bytes) -> None:
        target, key = TARGET.search(head), KEY.search(head)
        operation = target[1].decode() if target else head.partition(b"\r\n")[0].decode()
        self.calls.append(Call(time.time(), key[1].decode() if key else "anonymous", operation))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.CancelledError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
