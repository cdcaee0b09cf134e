"""Objects through boto3: what is put comes back, whatever the key; conditions, ranges, copies, tags, checksums."""

from __future__ import annotations

import base64
import hashlib
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .conftest import BUCKET, Server

KEYS = [
    "a",
    "a/b",
    "a/b/",
    "k" * 1000,
    "größe/日本 語+%&=?#.txt",
    "../../etc/passwd",
    "a/../b",
    "./x",
    "//y",
    "tab\tend",
]


def refusal(call: Any, **arguments: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_keys_are_names_and_never_paths(s3: Any, server: Server) -> None:
    for key in KEYS:
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    for key in KEYS:
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == key.encode()
    listed = [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert listed == sorted(KEYS, key=str.encode)
    assert len(server.files()) == len(KEYS)
    s3.delete_object(Bucket=BUCKET, Key="a")
    assert s3.get_object(Bucket=BUCKET, Key="a/b")["Body"].read() == b"a/b"
    assert refusal(s3.get_object, Bucket=BUCKET, Key="a") == ("NoSuchKey", 404)
    assert refusal(s3.head_object, Bucket=BUCKET, Key="a") == ("404", 404)
    assert refusal(s3.put_object, Bucket=BUCKET, Key="k" * 1025, Body=b"") == ("KeyTooLongError", 400)


def test_system_headers_and_metadata_come_back(s3: Any) -> None:
    given = {
        "ContentType": "text/html",
        "ContentEncoding": "gzip",
        "ContentDisposition": 'attachment; filename="r.html"',
        "ContentLanguage": "de",
        "CacheControl": "no-cache",
        "Metadata": {"run": "7", "stage": "train"},
    }
    s3.put_object(Bucket=BUCKET, Key="report.html", Body=b"<p>", **given)
    for answer in (s3.get_object(Bucket=BUCKET, Key="report.html"), s3.head_object(Bucket=BUCKET, Key="report.html")):
        assert {name: answer[name] for name in given} == given
        assert answer["ContentLength"] == 3
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        assert headers["content-security-policy"] == "sandbox allow-scripts"
        assert headers["x-content-type-options"] == "nosniff"


def test_large_objects_stream_and_ranges_select(s3: Any) -> None:
    data = bytes(range(256)) * 4096 * 5
    etag = s3.put_object(Bucket=BUCKET, Key="big", Body=data)["ETag"]
    assert etag == f'"{hashlib.md5(data).hexdigest()}"'
    assert s3.get_object(Bucket=BUCKET, Key="big")["Body"].read() == data
    for header, expected in [
        ("bytes=0-9", data[:10]),
        ("bytes=100-", data[100:]),
        ("bytes=-7", data[-7:]),
        ("bytes=5-99999999", data[5:]),
    ]:
        answer = s3.get_object(Bucket=BUCKET, Key="big", Range=header)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert answer["Body"].read() == expected
    answer = s3.get_object(Bucket=BUCKET, Key="big", Range="bytes=2-5")
    assert (answer["ContentRange"], answer["Body"].read()) == (f"bytes 2-5/{len(data)}", data[2:6])
    assert refusal(s3.get_object, Bucket=BUCKET, Key="big", Range=f"bytes={len(data)}-") == ("InvalidRange", 416)
    whole = s3.get_object(Bucket=BUCKET, Key="big", Range="bytes=nonsense")
    assert whole["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert whole["Body"].read() == data


def test_reads_honour_conditions(s3: Any) -> None:
    etag = s3.put_object(Bucket=BUCKET, Key="k", Body=b"1")["ETag"]
    later, earlier = datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC) - timedelta(hours=1)
    here = {"Bucket": BUCKET, "Key": "k"}
    assert refusal(s3.get_object, **here, IfNoneMatch=etag) == ("304", 304)
    assert refusal(s3.get_object, **here, IfModifiedSince=later) == ("304", 304)
    assert refusal(s3.get_object, **here, IfMatch='"other"') == ("PreconditionFailed", 412)
    assert refusal(s3.head_object, **here, IfUnmodifiedSince=earlier) == ("412", 412)
    assert s3.get_object(**here, IfMatch=etag, IfUnmodifiedSince=earlier)["Body"].read() == b"1"
    assert s3.get_object(**here, IfNoneMatch='"other"', IfModifiedSince=later)["Body"].read() == b"1"


def test_writes_honour_conditions(s3: Any, server: Server) -> None:
    here = {"Bucket": BUCKET, "Key": "k"}
    assert refusal(s3.put_object, **here, Body=b"x", IfMatch='"e"') == ("NoSuchKey", 404)
    etag = s3.put_object(**here, Body=b"1", IfNoneMatch="*")["ETag"]
    assert refusal(s3.put_object, **here, Body=b"2", IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert refusal(s3.put_object, **here, Body=b"2", IfMatch='"other"') == ("PreconditionFailed", 412)
    s3.put_object(**here, Body=b"3", IfMatch=etag)
    assert s3.get_object(**here)["Body"].read() == b"3"
    assert len(server.files()) == 1


def test_checksums_are_verified_kept_and_returned(s3: Any, server: Server) -> None:
    data, here = b"some bytes", {"Bucket": BUCKET, "Key": "k"}
    good = {
        "ChecksumSHA256": base64.b64encode(hashlib.sha256(data).digest()).decode(),
        "ChecksumSHA1": base64.b64encode(hashlib.sha1(data).digest()).decode(),
        "ChecksumCRC32": base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode(),
        "ChecksumCRC32C": "yZRlqg==",
    }
    for name, value in good.items():
        s3.put_object(**here, Body=data, **{name: value})
        assert s3.head_object(**here, ChecksumMode="ENABLED")[name] == value
        assert name not in s3.head_object(**here)
    bad = base64.b64encode(bytes(32)).decode()
    assert refusal(s3.put_object, **here, Body=data, ChecksumSHA256=bad) == ("BadDigest", 400)
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    assert refusal(s3.put_object, **here, Body=data, ContentMD5=wrong) == ("BadDigest", 400)
    assert refusal(s3.put_object, **here, Body=data, ContentMD5="short") == ("InvalidDigest", 400)
    assert len(server.files()) == 1


def test_copies(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="from +ü", Body=b"x", ContentType="a/b", Metadata={"m": "1"}, Tagging="t=1")
    source = {"Bucket": BUCKET, "Key": "from +ü"}
    s3.copy_object(Bucket=BUCKET, Key="to", CopySource=source)
    s3.delete_object(**source)
    copied = s3.get_object(Bucket=BUCKET, Key="to")
    assert (copied["Body"].read(), copied["ContentType"], copied["Metadata"]) == (b"x", "a/b", {"m": "1"})
    assert s3.get_object_tagging(Bucket=BUCKET, Key="to")["TagSet"] == [{"Key": "t", "Value": "1"}]
    itself = {"Bucket": BUCKET, "Key": "to", "CopySource": f"{BUCKET}/to"}
    assert refusal(s3.copy_object, **itself) == ("InvalidRequest", 400)
    s3.copy_object(**itself, MetadataDirective="REPLACE", Metadata={"n": "2"})
    assert s3.get_object(Bucket=BUCKET, Key="to")["Metadata"] == {"n": "2"}
    assert s3.get_object(Bucket=BUCKET, Key="to")["Body"].read() == b"x"
    assert refusal(s3.copy_object, **itself, CopySourceIfMatch='"no"')[0] == "PreconditionFailed"
    assert refusal(s3.copy_object, Bucket=BUCKET, Key="c", CopySource=f"{BUCKET}/gone")[0] == "NoSuchKey"


def test_tags(s3: Any) -> None:
    here = {"Bucket": BUCKET, "Key": "k"}
    s3.put_object(**here, Body=b"")
    tags = [{"Key": "a", "Value": "1"}, {"Key": "ü", "Value": "x & y"}]
    s3.put_object_tagging(**here, Tagging={"TagSet": tags})
    assert s3.get_object_tagging(**here)["TagSet"] == tags
    assert s3.get_object(**here)["TagCount"] == 2
    s3.delete_object_tagging(**here)
    assert s3.get_object_tagging(**here)["TagSet"] == []
    many = [{"Key": str(n), "Value": ""} for n in range(11)]
    assert refusal(s3.put_object_tagging, **here, Tagging={"TagSet": many}) == ("InvalidTag", 400)


def test_attributes(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"12345", ChecksumAlgorithm="SHA256")
    wanted = ["ETag", "ObjectSize", "Checksum", "StorageClass"]
    answer = s3.get_object_attributes(Bucket=BUCKET, Key="k", ObjectAttributes=wanted)
    assert (answer["ObjectSize"], answer["StorageClass"]) == (5, "STANDARD")
    assert answer["Checksum"]["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"12345").digest()).decode()


def test_deleting_many(s3: Any, server: Server) -> None:
    for n in range(20):
        s3.put_object(Bucket=BUCKET, Key=f"k{n}<&>", Body=b"x")
    keys = [{"Key": f"k{n}<&>"} for n in range(19)]
    answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [*keys, {"Key": "never there"}]})
    assert len(answer["Deleted"]) == 20
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["k19<&>"]
    quiet = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "k19<&>"}], "Quiet": True})
    assert "Deleted" not in quiet
    assert server.files() == []


def test_a_reader_survives_an_overwrite_and_a_delete(server: Server) -> None:
    server.store.put_bytes(BUCKET, "k", b"first")
    record, file = server.store.open(BUCKET, "k")
    server.store.put_bytes(BUCKET, "k", b"second")
    server.store.delete(BUCKET, "k")
    with file:
        assert file.read() == b"first"
    assert not record.path.exists()
    assert server.files() == []
