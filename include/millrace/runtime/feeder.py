"""The program beside a job that feeds its Pipe channels: for every epoch a FIFO `<channel>_<epoch>`, written once.

Run as `python -I -S feeder.py FOLDER` by the shim; FOLDER holds `feed.json` (see `pipes.py`). It says `ready` once the
FIFOs of epoch 0 are there, and ends when its standard input closes. It runs outside of the job's sandbox, on links of
the objects, so that deleting one does not disturb the job.

Standard library only, like the shim. RecordIO is dmlc's format (magic, length, data, padding to four bytes; a magic
word inside the data splits the record): https://mxnet.apache.org/api/architecture/note_data_loading.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

CHUNK = 1024 * 1024
MAGIC = struct.pack("<I", 0xCED7230A)
MAX_RECORD_BYTES = 2**29 - 1
WHOLE, FIRST, MIDDLE, LAST = 0, 1, 2, 3


def feed(channel: dict[str, Any], folder: Path) -> None:
    """Serve one channel, epoch after epoch, for as long as the job reads."""
    epoch = 0
    while True:
        path = folder / f"{channel['name']}_{epoch}"
        with path.open("wb", buffering=0) as pipe:  # waits until the job opens it
            # The next epoch's FIFO is there before this one ends: a reader that goes on at once must find it.
            os.mkfifo(folder / f"{channel['name']}_{epoch + 1}")
            try:
                for record in order(channel, epoch):
                    for part in record:
                        write(part, pipe, channel)
            except BrokenPipeError:
                pass  # the job has read what it wanted of this epoch
        path.unlink()
        epoch += 1


def order(channel: dict[str, Any], epoch: int) -> list[list[dict[str, str]]]:
    """This instance's records in the order of an epoch; the same rule as `inputs.Source`."""
    records = list(channel["records"])
    if channel["seed"] is not None:
        random.Random(channel["seed"] + epoch).shuffle(records)  # noqa: S311 - reproducible by its seed
    index, count = channel["share"]
    return records[index::count]


def write(part: dict[str, str], pipe: IO[bytes], channel: dict[str, Any]) -> None:
    """Stream one object or one attribute."""
    if "text" in part:
        data = part["text"].encode()
        pipe.write(data) if not channel["wrap"] else [pipe.write(piece) for piece in wrapped(data)]
        return
    with Path(part["file"]).open("rb") as raw, unpacked(raw, channel["gzip"]) as stream:
        if not channel["wrap"]:
            shutil.copyfileobj(stream, pipe, CHUNK)
            return
        data = stream.read(MAX_RECORD_BYTES + 1)
    if len(data) > MAX_RECORD_BYTES:
        raise ValueError(
            f"an object of channel {channel['name']!r} is larger than a RecordIO record can be ({MAX_RECORD_BYTES} "
            "bytes): split it, or leave RecordWrapperType out"
        )
    for piece in wrapped(data):
        pipe.write(piece)


def unpacked(raw: IO[bytes], is_gzip: bool) -> IO[bytes]:
    return gzip.open(raw) if is_gzip else raw  # type: ignore[return-value]


def wrapped(data: bytes) -> Iterator[bytes]:
    """One RecordIO record, in several parts where the data itself holds an aligned magic word."""
    cuts = [at for at in positions(data) if at % 4 == 0]
    starts, ends = [0, *(at + 4 for at in cuts)], [*cuts, len(data)]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        flag = WHOLE if not cuts else FIRST if number == 0 else LAST if number == len(cuts) else MIDDLE
        length = end - start
        yield MAGIC + struct.pack("<I", flag << 29 | length) + data[start:end] + b"\0" * (-length % 4)


def positions(data: bytes) -> Iterator[int]:
    at = data.find(MAGIC)
    while at >= 0:
        yield at
        at = data.find(MAGIC, at + 1)


def serve(channel: dict[str, Any], folder: Path) -> None:
    try:
        feed(channel, folder)
    except Exception as error:
        # The shim ends the job with these words: a reader would otherwise wait for ever.
        print(f"pipe channel {channel['name']!r}: {error}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(1)


def main() -> None:
    folder = Path(sys.argv[1])
    document = json.loads((folder / "feed.json").read_text())
    target = Path(document["folder"])
    for channel in document["channels"]:
        os.mkfifo(target / f"{channel['name']}_0")
    for channel in document["channels"]:
        threading.Thread(target=serve, args=(channel, target), daemon=True).start()
    print("ready", flush=True)  # noqa: T201
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
