"""Pipe channels: what their feeder is told before the job starts.

The feeder itself (`feeder.py`) is a program of its own that the shim starts. What this file does not do: it decides
neither which objects a channel has nor in which order (`inputs.py`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import staging
from .errors import JobFailed
from .feeder import MAX_RECORD_BYTES
from .inputs import Part, Source
from .storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipe:
    """One Pipe channel of one instance, and its share of `count` instances that have the channel."""

    name: str
    source: Source
    wrap: bool
    """RecordWrapperType RecordIO."""
    gzip: bool
    """CompressionType Gzip: objects are unpacked on their way."""
    index: int
    count: int


def prepare(storage: Storage, pipes: Sequence[Pipe], folder: Path, fifos: Path, *, link: bool) -> None:
    """Write `feed.json` into an instance's folder, with all objects beside it, so that deleting one disturbs no job.

    Args:
        fifos: the folder that the job sees as /opt/ml/input/data.
        link: whether the job cannot reach the folder; else objects are copied.

    Raises:
        JobFailed: a channel has no objects, or one cannot become a RecordIO record.
    """
    channels: list[dict[str, Any]] = []
    for pipe in pipes:
        held = folder / "feed" / pipe.name
        held.mkdir(parents=True)
        held_as: dict[tuple[str, str], str] = {}
        records = [
            [_fed(part, pipe, held, held_as, link) for part in record] for record in pipe.source.records(storage)
        ]
        share = [pipe.index, pipe.count] if pipe.source.distribution == "ShardedByS3Key" else [0, 1]
        channels.append(
            {
                "name": pipe.name,
                "records": records,
                "seed": pipe.source.seed,
                "share": share,
                "wrap": pipe.wrap,
                "gzip": pipe.gzip,
            }
        )
    (folder / "feed.json").write_text(json.dumps({"folder": str(fifos), "channels": channels}))


def _fed(part: Part, pipe: Pipe, held: Path, held_as: dict[tuple[str, str], str], link: bool) -> dict[str, str]:
    """A part as the feeder reads it."""
    if isinstance(part, str):
        return {"text": part}
    if pipe.wrap and part.size > MAX_RECORD_BYTES:
        raise JobFailed(
            f"ClientError: {pipe.source.what}: {part.key!r} has {part.size} bytes, and a RecordIO record holds at most "
            f"{MAX_RECORD_BYTES}: split the object, or leave RecordWrapperType out"
        )
    name = part.bucket, part.key
    if name not in held_as:
        target = held / str(len(held_as))
        staging.place(part, target, link=link)
        held_as[name] = str(target)
    return {"file": held_as[name]}
