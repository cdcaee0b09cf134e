"""The way of captured inferences from the router to S3: whole records only, the bounds, and the lines."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.runtime import capture_segments, capture_writer, data_capture
from millrace.runtime.capture_segments import CapturedInference
from millrace.runtime.capture_store import CaptureStore, line_of
from millrace.runtime.capture_writer import CaptureWriter
from millrace.runtime.data_capture import DataCapture
from millrace.runtime.own_storage import OwnStorage
from millrace.runtime.router import is_sampled
from millrace.runtime.s3.store import ObjectStore
from millrace.runtime.storage import StorageAway

HOUR = 1_769_871_600.0  # 2026-01-31T15:00:00Z
BOTH = ("endpointInput", "endpointOutput")


def inference(number: int, body: bytes = b"1,2", **changes: Any) -> CapturedInference:
    capture = DataCapture(
        destination=changes.pop("destination", "s3://bucket/capture"), percentage=100, parts=changes.pop("parts", BOTH),
        csv_types=("text/csv",), json_types=("application/json",),
    )  # fmt: skip
    fields: dict[str, Any] = {
        "endpoint": "endpoint", "variant": "v0", "time": HOUR, "event_id": f"e{number}", "inference_id": None,
        "input_type": "text/csv", "output_type": "application/json; charset=utf-8", "input": body, "output": b'{"p": 1}',
    }  # fmt: skip
    return CapturedInference(capture=capture, **(fields | changes))


def written(folder: Path, *inferences: CapturedInference) -> None:
    writer = CaptureWriter(folder)
    writer.start()
    for one in inferences:
        writer.offer(one)
    writer.stop()


def recorded(folder: Path) -> list[CapturedInference]:
    return [one for path in sorted(folder.glob("*.done")) for one in capture_segments.read(path)]


@pytest.fixture
def objects(tmp_path: Path) -> Iterator[ObjectStore]:
    store = ObjectStore(tmp_path / "s3")
    store.create_bucket("bucket")
    yield store
    store.close()


def test_what_is_offered_is_read_as_it_was(tmp_path: Path) -> None:
    given = [inference(0), inference(1, b'\n{"a"\x00\xff' * 100, inference_id="mine", output=b"", input_type=None)]
    written(tmp_path / "captured", *given)
    assert recorded(tmp_path / "captured") == given


@pytest.mark.parametrize("cut", [1, 9, 200])
def test_record_that_a_kill_cut_off_is_not_read_and_those_before_it_are(tmp_path: Path, cut: int) -> None:
    folder = tmp_path / "captured"
    written(folder, inference(0), inference(1))
    (segment,) = folder.glob("*.done")
    segment.rename(segment.with_suffix(".open"))
    with segment.with_suffix(".open").open("r+b") as stream:
        stream.truncate(segment.with_suffix(".open").stat().st_size - cut)
    written(folder)  # the next life hands it on
    assert [one.event_id for one in recorded(folder)] == ["e0"]


def test_what_the_queue_has_no_room_for_is_lost_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(capture_writer, "QUEUE_BYTES", 5000)
    writer = CaptureWriter(tmp_path / "captured")
    for number in range(5):
        writer.offer(inference(number, b"x" * 1000))
    writer.start()
    writer.stop()
    assert [one.event_id for one in recorded(tmp_path / "captured")] == ["e0", "e1"]
    assert "3 inferences were not captured" in caplog.text


def test_full_folder_takes_no_more_until_segments_are_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_writer, "FOLDER_BYTES", 2000)
    monkeypatch.setattr(capture_writer, "SEGMENT_BYTES", 1500)
    folder = tmp_path / "captured"
    written(folder, *(inference(number, b"x" * 1000) for number in range(9)))
    kept = [one.event_id for one in recorded(folder)]
    assert kept == [f"e{number}" for number in range(len(kept))]
    assert 1 <= len(kept) < 9
    for path in folder.glob("*.done"):
        path.unlink()
    written(folder, inference(10))
    assert [one.event_id for one in recorded(folder)] == ["e10"]


def test_segments_become_objects_by_endpoint_variant_and_hour(tmp_path: Path, objects: ObjectStore) -> None:
    folder = tmp_path / "captured"
    others = [inference(2, variant="v1"), inference(3, time=HOUR + 3600), inference(4, destination="s3://bucket/b")]
    written(folder, inference(0), inference(1), *others)
    (segment,) = folder.glob("*.done")
    content = segment.read_bytes()
    for _ in range(2):  # again, as after a kill between the object and the segment's removal
        segment.write_bytes(content)
        store = CaptureStore(folder, OwnStorage(objects))
        store.start()
        store.stop()
        assert list(folder.iterdir()) == []
    keys = [record.key for record in objects.list_keys("bucket")]
    assert [key.rpartition("/")[0] for key in keys] == [
        "b/endpoint/v0/2026/01/31/15", "capture/endpoint/v0/2026/01/31/15", "capture/endpoint/v0/2026/01/31/16",
        "capture/endpoint/v1/2026/01/31/15",
    ]  # fmt: skip
    with objects.open("bucket", keys[1])[1] as stream:
        lines = [json.loads(line) for line in stream.read().splitlines()]
    assert [line["eventMetadata"]["eventId"] for line in lines] == ["e0", "e1"]


def test_bucket_that_is_not_there_loses_its_lines_alone_and_the_log_says_so(
    tmp_path: Path, objects: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "captured"
    written(folder, inference(0, destination="s3://nowhere/x"), inference(1))
    store = CaptureStore(folder, OwnStorage(objects))
    store.start()
    store.stop()
    assert len(list(objects.list_keys("bucket"))) == 1
    assert "1 captured inferences are lost: s3://nowhere/x/endpoint" in caplog.text
    assert list(folder.iterdir()) == []


def test_storage_that_is_away_keeps_the_segment(
    tmp_path: Path, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "captured"
    written(folder, inference(0))
    storage = OwnStorage(objects)

    def away(*_arguments: object, **_options: object) -> None:
        raise StorageAway("not now")

    with monkeypatch.context() as gone:
        gone.setattr(storage, "put_file", away)
        store = CaptureStore(folder, storage)
        store.start()
        store.stop()
        assert len(recorded(folder)) == 1
    again = CaptureStore(folder, storage)
    again.start()
    again.stop()
    assert len(list(objects.list_keys("bucket"))) == 1


def test_segment_that_cannot_be_read_is_kept_and_holds_up_no_other(
    tmp_path: Path, objects: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "captured"
    written(folder, inference(0))
    broken = folder / "0.done"
    broken.write_bytes(b"no header\n")
    store = CaptureStore(folder, OwnStorage(objects))
    store.start()
    store.stop()
    assert len(list(objects.list_keys("bucket"))) == 1
    assert list(folder.iterdir()) == [broken]
    assert "captured data in 0.done are stored later" in caplog.text


def test_line_has_the_form_that_sagemaker_documents() -> None:
    line = line_of(inference(0, b"\xff", inference_id="mine"))
    assert line == {
        "captureData": {
            "endpointInput": {
                "observedContentType": "text/csv", "mode": "INPUT", "data": base64.b64encode(b"\xff").decode(),
                "encoding": "BASE64",
            },
            "endpointOutput": {
                "observedContentType": "application/json; charset=utf-8", "mode": "OUTPUT", "data": '{"p": 1}',
                "encoding": "JSON",
            },
        },
        "eventMetadata": {"eventId": "e0", "inferenceId": "mine", "inferenceTime": "2026-01-31T15:00:00Z"},
        "eventVersion": "0",
    }  # fmt: skip
    alone = line_of(inference(0, parts=("endpointOutput",), output_type="image/png"))
    assert [part["encoding"] for part in alone["captureData"].values()] == ["BASE64"]
    assert "inferenceId" not in alone["eventMetadata"]


@pytest.mark.parametrize(("percentage", "captured"), [(0, 0), (1, 1), (30, 30), (100, 100)])
def test_sampling_takes_its_share(percentage: int, captured: int) -> None:
    draws = iter(number / 100 for number in range(100))
    assert sum(is_sampled(percentage, lambda: next(draws)) for _ in range(100)) == captured


def test_switched_off_capture_captures_nothing() -> None:
    config = {
        "EnableCapture": False, "DestinationS3Uri": "s3://bucket/x", "InitialSamplingPercentage": 10,
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }  # fmt: skip
    assert data_capture.of_config(config) is None
    described = data_capture.summary(config)
    assert described is not None
    assert (described["CaptureStatus"], described["EnableCapture"]) == ("Stopped", False)
    assert data_capture.of_config(config | {"EnableCapture": True}) == DataCapture(
        destination="s3://bucket/x", percentage=10, parts=("endpointInput",)
    )
