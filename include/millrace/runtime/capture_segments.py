"""Captured inferences on their way from the router to S3: files of records in the folder `captured`, written by the one
process and read by the other.

A record is a line of JSON with the sizes of the two bodies that follow it, so that the router neither encodes nor escapes
anything. A segment is written as `<time>.open` and renamed to `<time>.done` when it is complete; a record that a kill cut
off is not read. What it does not do: it neither decides what is captured (`router.py`) nor makes S3 objects of it
(`capture_store.py`).
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from . import data_capture
from .data_capture import DataCapture

FOLDER = "captured"
OPEN, DONE = ".open", ".done"
MAX_HEADER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedInference:
    """One inference that was answered."""

    capture: DataCapture
    """What its endpoint captured then."""
    endpoint: str
    variant: str
    time: float
    """Seconds since the epoch, on the runtime's clock."""
    event_id: str
    inference_id: str | None
    input_type: str | None
    """Its content type."""
    output_type: str | None
    input: bytes
    output: bytes

    @property
    def size(self) -> int:
        return len(self.input) + len(self.output)


def write(stream: BinaryIO, inference: CapturedInference) -> int:
    """Append a record to an unbuffered file by one call of the system, and return its bytes.

    Raises:
        OSError: it could not be written, or not whole.
    """
    header = {
        name: getattr(inference, name)
        for name in ("endpoint", "variant", "time", "event_id", "inference_id", "input_type", "output_type")
    }
    header |= {"capture": asdict(inference.capture), "sizes": [len(inference.input), len(inference.output)]}
    line = json.dumps(header).encode() + b"\n"
    size = len(line) + inference.size
    if os.writev(stream.fileno(), [line, inference.input, inference.output]) < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return size


def read(path: Path) -> Iterator[CapturedInference]:
    """The whole records of a segment."""
    with path.open("rb") as stream:
        while line := stream.readline(MAX_HEADER_BYTES):
            if not line.endswith(b"\n"):
                return
            header: dict[str, Any] = json.loads(line)
            sizes = header.pop("sizes")
            given, answered = stream.read(sizes[0]), stream.read(sizes[1])
            if len(given) + len(answered) < sum(sizes):
                return
            capture = data_capture.from_document(header.pop("capture"))
            yield CapturedInference(capture=capture, input=given, output=answered, **header)
