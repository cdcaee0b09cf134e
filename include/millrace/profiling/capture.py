"""Read what an endpoint has captured: JSON lines with an inference's input and output, as rows of their columns.

An output's columns come before its input's, and a payload of several records gives as many rows. A cell without a name is
called by its position: after the baseline's features when they are given, else `_c0`, `_c1`, as Model Monitor does. A line
that cannot be read is counted and told (`Capture.unreadable`), never an error and never dropped in silence.

What it does not do: it joins no ground truth; an event carries its inference id for whoever does.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from millrace.profiling.errors import DatasetError
from millrace.profiling.payload import Cell, Cells, Form, PayloadError, rows_of
from millrace.profiling.unreadable import Unreadable

SUFFIX = ".jsonl"
OUTPUT, INPUT = "endpointOutput", "endpointInput"
PARTS = (OUTPUT, INPUT)
"""In the order of their columns."""
MAX_LINE_BYTES = 32 * 1024 * 1024
"""Twice two bodies of 6 MiB in base64; a longer line is not one of SageMaker's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedEvent:
    """One captured inference."""

    event_id: str
    inference_id: str | None
    """What the caller named it, to find its ground truth by."""
    time: datetime
    parts: Mapping[str, list[Cells]]
    """What was asked (`endpointInput`) and answered (`endpointOutput`), as far as it is read: the cells of each record."""
    rows: list[dict[str, Cell]]
    """One for each record of its payload, both parts together."""


class Capture:
    """The captured inferences below a folder; each reading counts anew.

    Args:
        folder: searched recursively for .jsonl files.
        parts: what is read of each line; a line without one of them cannot be read.
        names: of cells that have none, by their position in the row.
        since, until: events from `since` on and before `until`; others are passed over and counted in `outside`.

    Raises:
        DatasetError: the folder holds no .jsonl file.
    """

    def __init__(
        self,
        folder: Path,
        *,
        parts: Sequence[str] = PARTS,
        names: Sequence[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> None:
        self._files = sorted(path for path in folder.rglob(f"*{SUFFIX}") if path.is_file())
        if not self._files:
            raise DatasetError(
                f"the folder {folder} holds no {SUFFIX} file; switch data capture on with DataCaptureConfig, or send "
                "the endpoint requests"
            )
        self._parts = [part for part in PARTS if part in parts]
        self._names = names
        self._since, self._until = since, until
        self.lines = self.outside = 0
        self.unreadable = Unreadable()

    def rows(self) -> Iterator[dict[str, Cell]]:
        """Every row of every event, in the order of files and lines."""
        for event in self.events():
            yield from event.rows

    def events(self) -> Iterator[CapturedEvent]:
        """Every event of the window, in the order of files and lines."""
        self.lines = self.outside = 0
        self.unreadable = Unreadable()
        for path in self._files:
            with path.open("rb") as stream:
                for number, line in enumerate(_bounded_lines(stream), 1):
                    self.lines += 1
                    try:
                        event = self._event(line)
                    except PayloadError as error:
                        self.unreadable.note(f"line {number} of {path.name}", str(error))
                        continue
                    if event is None:
                        self.outside += 1
                    else:
                        yield event

    def _event(self, line: bytes) -> CapturedEvent | None:
        """The event of a line; None when it lies outside of the window."""
        try:
            document = json.loads(line)
            data, metadata = document["captureData"], document["eventMetadata"]
            time = datetime.fromisoformat(metadata["inferenceTime"])
            event_id, inference_id = str(metadata["eventId"]), metadata.get("inferenceId")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise PayloadError(f"it is no captured event: {type(error).__name__}: {error}") from error
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
        if (self._since and time < self._since) or (self._until and time >= self._until):
            return None
        parts = [_part(data, name) for name in self._parts]
        counts = {len(part) for part in parts}
        if len(counts) > 1:
            held = ", ".join(f"{len(part)} in {name}" for name, part in zip(self._parts, parts, strict=True))
            raise PayloadError(f"its parts hold different numbers of records ({held})")
        rows = [self._named([part[index] for part in parts]) for index in range(min(counts, default=0))]
        return CapturedEvent(
            event_id=event_id,
            inference_id=None if inference_id is None else str(inference_id),
            time=time,
            parts=dict(zip(self._parts, parts, strict=True)),
            rows=rows,
        )

    def _named(self, parts: list[Cells]) -> dict[str, Cell]:
        """One row of its parts' cells. A name that the output has too is told apart as `endpointInput.name`."""
        row: dict[str, Cell] = {}
        position = 0
        for part, cells in zip(self._parts, parts, strict=True):
            taken = frozenset(row)
            for given, cell in cells:
                name = given or (self._names[position] if position < len(self._names) else f"_c{position}")
                row[f"{part}.{name}" if name in taken else name] = cell
                position += 1
        return row


def _part(data: Any, name: str) -> list[Cells]:
    try:
        part = data[name]
        text, encoding, content_type = part["data"], part["encoding"], part.get("observedContentType") or ""
    except (KeyError, TypeError, AttributeError) as error:
        raise PayloadError(f"it has no {name} with data and encoding") from error
    if not isinstance(text, str) or not isinstance(content_type, str):
        raise PayloadError(f"the data of its {name} is no text")
    if encoding == "BASE64":
        return rows_of(_decoded(text, name), _form_of(content_type, name))
    if encoding not in ("CSV", "JSON"):
        raise PayloadError(f"the encoding of its {name} is {encoding!r}; known are CSV, JSON and BASE64")
    return rows_of(text, "csv" if encoding == "CSV" else "json")


def _decoded(text: str, name: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise PayloadError(f"its {name} is not base64 of UTF-8 text: {error}") from error


def _form_of(content_type: str, name: str) -> Form:
    """How to read what was captured as base64 because no content type was configured."""
    if "json" in content_type.lower():
        return "json"
    if "csv" in content_type.lower():
        return "csv"
    raise PayloadError(
        f"its {name} is {content_type or 'of no content type'}, which gives no rows; name the type in "
        "CaptureContentTypeHeader, or send text/csv or application/json"
    )


def _bounded_lines(stream: Any) -> Iterator[bytes]:
    """The lines of a file without blank ones. One that is too long comes cut off, and is no JSON."""
    while line := stream.readline(MAX_LINE_BYTES):
        rest = line
        while not rest.endswith(b"\n") and len(rest) == MAX_LINE_BYTES:
            rest = stream.readline(MAX_LINE_BYTES)
        if line.strip():
            yield line
