"""The router's side of data capture: takes answered inferences off the data path, and writes them to segments.

`offer` appends to a queue and returns; a thread writes, ten times a second, since a thread that woke for each inference
would take turns with the router's loop. The queue holds 64 MiB and the folder 1 GiB: what comes beyond that is not captured,
counted, and said in the router's log. A segment is handed on when it is two seconds old or holds 8 MiB, and when the router
stops in order. A kill of the runtime loses what is in the queue, a tenth of a second's worth unless the disk is slow; a
machine that loses its power loses what the disk has not got either.

What it does not do: it makes no JSON lines and no S3 objects (`capture_store.py`).
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from pathlib import Path
from typing import BinaryIO

from . import capture_segments
from .capture_segments import DONE, OPEN, CapturedInference

log = logging.getLogger(__name__)
SEGMENT_BYTES = 8 * 1024 * 1024
SEGMENT_SECONDS = 2.0
PAUSE_SECONDS = 0.1
QUEUE_BYTES = 64 * 1024 * 1024
OWN_BYTES = 1024
"""What an inference takes in memory beside its bodies, about."""
FOLDER_BYTES = 1024 * 1024 * 1024


class CaptureWriter:
    """`offer` is for one thread, the router's loop."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True, mode=0o700)
        self._folder = folder
        self._queue: queue.SimpleQueue[CapturedInference | None] = queue.SimpleQueue()
        """None wakes the thread for its end."""
        self._stopping = threading.Event()
        self._offered_bytes = self._taken_bytes = 0
        """Each is written by one thread only; what lies between them is in the queue."""
        self._lost = self._lost_and_said = 0
        self._segment: BinaryIO | None = None
        self._segment_bytes, self._segment_until = 0, 0.0
        self._thread = threading.Thread(target=self._loop, name="capture-writer", daemon=True)

    def start(self) -> None:
        """Hand on what an earlier life has left, and write."""
        for path in self._folder.glob(f"*{OPEN}"):
            path.rename(path.with_suffix(DONE))
        self._thread.start()

    def offer(self, inference: CapturedInference) -> None:
        """Take an inference if there is room for it. Returns at once and raises nothing."""
        size = inference.size + OWN_BYTES
        if self._offered_bytes - self._taken_bytes + size > QUEUE_BYTES:
            self._lost += 1
            return
        self._offered_bytes += size
        self._queue.put(inference)

    def stop(self) -> None:
        """Write what was taken, and hand it on."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join(timeout=10)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            if self._segment is None:
                self._take(self._queue.get())  # the first after a while
            self._stopping.wait(PAUSE_SECONDS)
            self._take_all()
            if self._segment is not None and time.monotonic() >= self._segment_until:
                self._hand_on()
        self._take_all()
        self._hand_on()

    def _take_all(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(self._queue.get_nowait())
        lost = self._lost - self._lost_and_said
        if lost:
            log.error("%d inferences were not captured: they came faster than they can be stored", lost)
            self._lost_and_said += lost

    def _take(self, inference: CapturedInference | None) -> None:
        if inference is not None:
            self._taken_bytes += inference.size + OWN_BYTES
            self._write(inference)

    def _write(self, inference: CapturedInference) -> None:
        try:
            if self._segment is None and not self._open():
                self._lost += 1
                return
            assert self._segment is not None  # noqa: S101 - opened above
            self._segment_bytes += capture_segments.write(self._segment, inference)
        except OSError as error:
            self._lost += 1
            log.error("an inference of %s could not be captured: %s", inference.endpoint, error)
            self._hand_on()
            return
        if self._segment_bytes >= SEGMENT_BYTES:
            self._hand_on()

    def _open(self) -> bool:
        """Begin a segment; False where the folder is full, because S3 does not take what is in it."""
        with contextlib.suppress(FileNotFoundError):  # one was stored meanwhile
            if sum(path.stat().st_size for path in self._folder.iterdir()) > FOLDER_BYTES:
                return False
        path = self._folder / f"{time.time_ns()}{OPEN}"
        self._segment = path.open("wb", buffering=0)  # what was written is there after a kill
        self._segment_bytes, self._segment_until = 0, time.monotonic() + SEGMENT_SECONDS
        return True

    def _hand_on(self) -> None:
        if self._segment is None:
            return
        path = Path(self._segment.name)
        self._segment.close()
        self._segment = None
        with contextlib.suppress(OSError):
            path.rename(path.with_suffix(DONE))
