"""The control plane's side of data capture: makes JSON lines of what the router has written, and stores them in S3.

An object is `<destination>/<endpoint>/<variant>/yyyy/mm/dd/hh/<mm-ss-mmm-id>.jsonl`, after the hour (UTC) in which the
inferences were answered. Its name follows from the segment, so that a segment that is stored twice, after a kill, makes the
same objects. When S3 does not answer, segments wait; what S3 refuses (there is no such bucket) is lost, and the log says so.

What it does not do: it takes no inferences (`capture_writer.py`).

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

from __future__ import annotations

import base64
import json
import logging
import tempfile
import threading
import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import capture_segments, staging, trees
from .capture_segments import DONE, CapturedInference
from .s3.errors import S3Error
from .storage import Storage, StorageAway

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.5
AWAY_SECONDS = 5.0
NO_TYPE = "application/octet-stream"
CONTENT_TYPE = "application/jsonlines"
TEMPORARY = "lines-"
NAMES = uuid.UUID("7b0b3f0e-6f0a-4b63-9b6a-3f2d3d1d5c11")
"""The namespace of objects' ids."""


class CaptureStore:
    """One thread that stores what is complete."""

    def __init__(self, folder: Path, storage: Storage) -> None:
        folder.mkdir(exist_ok=True, mode=0o700)
        trees.remove(folder.glob(f"{TEMPORARY}*"))  # what a kill has left
        self._folder = folder
        self._storage = storage
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="capture-store", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Store what the router has handed on, which must have stopped before."""
        self._stopping.set()
        self._thread.join(timeout=10)
        self._store_all()

    def _loop(self) -> None:
        pause = LOOK_SECONDS
        while not self._stopping.wait(pause):
            pause = LOOK_SECONDS if self._store_all() else AWAY_SECONDS

    def _store_all(self) -> bool:
        """Store every complete segment; False when some are left. One that cannot be stored does not hold up the others."""
        stored = True
        for path in sorted(self._folder.glob(f"*{DONE}")):
            try:
                self._store(path)
                path.unlink()
            except StorageAway as error:
                log.warning("captured data wait for their storage: %s", error)
                return False
            except Exception:
                log.exception("captured data in %s are stored later", path.name)
                stored = False
        return stored

    def _store(self, segment: Path) -> None:
        groups: dict[str, list[CapturedInference]] = defaultdict(list)
        for inference in capture_segments.read(segment):
            groups[_folder_of(inference)].append(inference)
        for folder, inferences in groups.items():
            first = datetime.fromtimestamp(inferences[0].time, UTC)
            name = f"{first:%M-%S}-{first.microsecond // 1000:03}-{uuid.uuid5(NAMES, f'{segment.stem} {folder}')}.jsonl"
            try:
                self._put(f"{folder}/{name}", inferences)
            except S3Error as error:
                if error.status >= 500:
                    raise
                log.error("%d captured inferences are lost: %s: %s", len(inferences), folder, error.message)

    def _put(self, uri: str, inferences: Sequence[CapturedInference]) -> None:
        bucket, key = staging.parse_uri(uri)
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=TEMPORARY) as lines:
            for inference in inferences:
                lines.write(json.dumps(line_of(inference)).encode() + b"\n")
            lines.flush()
            self._storage.put_file(bucket, key, Path(lines.name), content_type=CONTENT_TYPE)


def line_of(inference: CapturedInference) -> dict[str, Any]:
    """The document of one captured line."""
    bodies = {
        "endpointInput": ("INPUT", inference.input, inference.input_type),
        "endpointOutput": ("OUTPUT", inference.output, inference.output_type),
    }
    metadata = {"eventId": inference.event_id, "inferenceTime": f"{_moment(inference):%Y-%m-%dT%H:%M:%SZ}"}
    if inference.inference_id is not None:
        metadata["inferenceId"] = inference.inference_id
    capture = inference.capture
    return {
        "captureData": {
            part: _part(*bodies[part], csv_types=capture.csv_types, json_types=capture.json_types)
            for part in capture.parts
        },
        "eventMetadata": metadata,
        "eventVersion": "0",
    }


def _part(
    mode: str, body: bytes, content_type: str | None, *, csv_types: Sequence[str], json_types: Sequence[str]
) -> dict[str, str]:
    observed = content_type or NO_TYPE
    encoding = "CSV" if _is_one_of(observed, csv_types) else "JSON" if _is_one_of(observed, json_types) else "BASE64"
    try:
        data = base64.b64encode(body).decode() if encoding == "BASE64" else body.decode()
    except UnicodeDecodeError:
        encoding, data = "BASE64", base64.b64encode(body).decode()
    return {"observedContentType": observed, "mode": mode, "data": data, "encoding": encoding}


def _is_one_of(observed: str, types: Sequence[str]) -> bool:
    """With its parameters, or without: `text/csv; charset=utf-8` is `text/csv` too."""
    bare = observed.partition(";")[0].strip().lower()
    return any(wanted.lower() in (observed.lower(), bare) for wanted in types)


def _folder_of(inference: CapturedInference) -> str:
    hour = f"{_moment(inference):%Y/%m/%d/%H}"
    return f"{inference.capture.destination}/{inference.endpoint}/{inference.variant}/{hour}"


def _moment(inference: CapturedInference) -> datetime:
    return datetime.fromtimestamp(inference.time, UTC)
