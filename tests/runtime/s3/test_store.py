"""The store by itself: what survives a restart, what is swept, and what many threads do to it."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from millrace.runtime.s3.errors import NoSuchBucket, NoSuchKey
from millrace.runtime.s3.records import Attributes
from millrace.runtime.s3.store import ObjectStore

from .conftest import BUCKET, connect, serve


def test_a_restart_keeps_everything_and_sweeps_garbage(tmp_path: Path) -> None:
    with serve(tmp_path) as server, connect(server.url) as s3:
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="k", Body=b"x", Metadata={"m": "1"}, ContentType="a/b", Tagging="t=1")
        upload = s3.create_multipart_upload(Bucket=BUCKET, Key="big")["UploadId"]
        part = s3.upload_part(Bucket=BUCKET, Key="big", UploadId=upload, PartNumber=1, Body=b"part")
        before = server.files()
    (tmp_path / "objects" / "ab" / "tmp-123").write_bytes(b"half an upload")
    (tmp_path / "objects" / "ab" / ("ab" + "0" * 30)).write_bytes(b"sealed, and never committed")
    with serve(tmp_path) as server, connect(server.url) as s3:
        assert sorted(server.files()) == sorted(before)
        answer = s3.get_object(Bucket=BUCKET, Key="k")
        assert (answer["Body"].read(), answer["Metadata"], answer["ContentType"]) == (b"x", {"m": "1"}, "a/b")
        assert s3.get_object_tagging(Bucket=BUCKET, Key="k")["TagSet"] == [{"Key": "t", "Value": "1"}]
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        s3.complete_multipart_upload(Bucket=BUCKET, Key="big", UploadId=upload, MultipartUpload=parts)
        assert s3.get_object(Bucket=BUCKET, Key="big")["Body"].read() == b"part"


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    store = ObjectStore(tmp_path / "s3")
    store.create_bucket(BUCKET)
    return store


def test_files_and_bytes_are_put(store: ObjectStore, tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    (tmp_path / "f").write_bytes(data)
    record = store.put_file(BUCKET, "f", tmp_path / "f", content_type="x/y", metadata={"ü": "é"})
    assert (record.size, record.etag) == (len(data), hashlib.md5(data).hexdigest())
    assert record.path.read_bytes() == data
    assert store.head(BUCKET, "f") == record
    copied = store.copy(record, BUCKET, "g", Attributes(content_type="z"))
    store.delete(BUCKET, "f")
    assert copied.path.read_bytes() == data
    with pytest.raises(NoSuchKey, match="'f' does not exist"):
        store.head(BUCKET, "f")
    with pytest.raises(NoSuchBucket, match="create it first"):
        store.put_bytes("missing", "k", b"")
    with pytest.raises(NoSuchKey):
        store.open(BUCKET, "f")
    assert [record.key for record in store.list_keys(BUCKET)] == ["g"]
    store.close()


def test_a_folder_has_one_store(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError, match="another process"):
        ObjectStore(tmp_path / "s3")
    store.close()


def test_threads_overwriting_and_reading_see_whole_objects(store: ObjectStore, tmp_path: Path) -> None:
    bodies = [bytes([n]) * 50_000 for n in range(8)]
    store.put_bytes(BUCKET, "k", bodies[0])

    def work(n: int) -> bool:
        for _ in range(20):
            store.put_bytes(BUCKET, "k", bodies[n])
            record, file = store.open(BUCKET, "k")
            with file:
                if hashlib.md5(file.read()).hexdigest() != record.etag:
                    return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert len([path for path in (tmp_path / "s3" / "objects").glob("*/*") if path.is_file()]) == 1
    store.close()
