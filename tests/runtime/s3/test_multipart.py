"""Multipart uploads through boto3: assembling, checking, listing, copying parts, and what is left behind: nothing."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig

from .conftest import BUCKET, Server
from .test_objects import refusal

MIB = 1024 * 1024
PART = os.urandom(5 * MIB)
HERE = {"Bucket": BUCKET, "Key": "big"}


def begin(s3: Any, **arguments: Any) -> dict[str, str]:
    return {**HERE, "UploadId": s3.create_multipart_upload(**HERE, **arguments)["UploadId"]}


def upload(s3: Any, here: dict[str, str], number: int, data: bytes) -> dict[str, Any]:
    return {"PartNumber": number, "ETag": s3.upload_part(**here, PartNumber=number, Body=data)["ETag"]}


def test_files_go_up_and_come_down(s3: Any, tmp_path: Path, server: Server) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(20 * MIB))
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    s3.upload_file(str(source), BUCKET, "big", Config=config, ExtraArgs={"Metadata": {"m": "1"}})
    s3.download_file(BUCKET, "big", str(target), Config=config)
    assert target.read_bytes() == source.read_bytes()
    answer = s3.head_object(Bucket=BUCKET, Key="big", PartNumber=2)
    assert (answer["PartsCount"], answer["ContentLength"], answer["Metadata"]) == (4, 5 * MIB, {"m": "1"})
    assert answer["ETag"].endswith('-4"')
    assert len(server.files()) == 1


def test_parts_in_any_order_make_one_object(s3: Any, server: Server) -> None:
    here = begin(s3, ContentType="x/y", ChecksumAlgorithm="SHA256")
    last = upload(s3, here, 7, b"end")
    upload(s3, here, 2, b"replaced")
    first = upload(s3, here, 2, PART)
    assert [part["PartNumber"] for part in s3.list_parts(**here)["Parts"]] == [2, 7]
    assert s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"][0]["Key"] == "big"
    parts = {"Parts": [first, last]}
    answer = s3.complete_multipart_upload(**here, MultipartUpload=parts)
    digests = hashlib.md5(PART).digest() + hashlib.md5(b"end").digest()
    assert answer["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-2"'
    got = s3.get_object(**HERE, ChecksumMode="ENABLED")
    assert (got["Body"].read() == PART + b"end", got["ContentType"]) == (True, "x/y")
    assert got["ChecksumSHA256"].endswith("-2")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=BUCKET)
    assert len(server.files()) == 1
    again = s3.complete_multipart_upload(**here, MultipartUpload=parts)  # its answer may have been lost
    assert again["ETag"] == answer["ETag"]


def test_full_object_checksum_is_computed(s3: Any) -> None:
    here = begin(s3, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    parts = {"Parts": [upload(s3, here, 1, PART), upload(s3, here, 2, b"end")]}
    bad = {"ChecksumCRC32": "AAAAAA==", "ChecksumType": "FULL_OBJECT"}
    assert refusal(s3.complete_multipart_upload, **here, MultipartUpload=parts, **bad) == ("BadDigest", 400)
    s3.complete_multipart_upload(**here, MultipartUpload=parts)
    head = s3.head_object(**HERE, ChecksumMode="ENABLED")
    assert head["ChecksumType"] == "FULL_OBJECT"
    assert s3.get_object(**HERE)["Body"].read() == PART + b"end"  # botocore verifies the checksum


def test_completion_is_refused_by_name(s3: Any) -> None:
    here = begin(s3)
    small, next_one = upload(s3, here, 1, b"small"), upload(s3, here, 2, b"x")

    def complete(*parts: dict[str, Any]) -> tuple[str, int]:
        return refusal(s3.complete_multipart_upload, **here, MultipartUpload={"Parts": list(parts)})

    assert complete(small, next_one) == ("EntityTooSmall", 400)
    assert complete(next_one, small) == ("InvalidPartOrder", 400)
    assert complete(small, {"PartNumber": 3, "ETag": '"0"'}) == ("InvalidPart", 400)
    assert complete() == ("MalformedXML", 400)
    assert refusal(s3.upload_part, **here, PartNumber=10_001, Body=b"") == ("InvalidArgument", 400)


def test_an_aborted_upload_leaves_nothing(s3: Any, server: Server) -> None:
    here = begin(s3)
    part = upload(s3, here, 1, b"x")
    s3.abort_multipart_upload(**here)
    assert server.files() == []
    assert refusal(s3.upload_part, **here, PartNumber=1, Body=b"") == ("NoSuchUpload", 404)
    assert refusal(s3.complete_multipart_upload, **here, MultipartUpload={"Parts": [part]})[0] == "NoSuchUpload"
    assert refusal(s3.abort_multipart_upload, **here) == ("NoSuchUpload", 404)


def test_parts_are_copied_from_objects(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="source", Body=PART)
    here = begin(s3)
    source = {"CopySource": f"{BUCKET}/source"}
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part_copy(**here, **source, PartNumber=n, **more)["CopyPartResult"]["ETag"]}
        for n, more in [(1, {}), (2, {"CopySourceRange": "bytes=10-19"})]
    ]
    s3.complete_multipart_upload(**here, MultipartUpload={"Parts": parts})
    assert s3.get_object(**HERE)["Body"].read() == PART + PART[10:20]


def test_completion_honours_conditions(s3: Any, server: Server) -> None:
    s3.put_object(**HERE, Body=b"present")
    here = begin(s3)
    parts = {"Parts": [upload(s3, here, 1, b"x")]}
    assert refusal(s3.complete_multipart_upload, **here, MultipartUpload=parts, IfNoneMatch="*") == (
        "PreconditionFailed",
        412,
    )
    assert s3.get_object(**HERE)["Body"].read() == b"present"
    s3.complete_multipart_upload(**here, MultipartUpload=parts)
    assert s3.get_object(**HERE)["Body"].read() == b"x"
    assert len(server.files()) == 1


def test_parts_and_uploads_are_paged(s3: Any) -> None:
    here = begin(s3)
    for number in range(1, 6):
        upload(s3, here, number, b"x")
    for key in ("a/1", "a/2", "b"):
        s3.create_multipart_upload(Bucket=BUCKET, Key=key)
    pages = s3.get_paginator("list_parts").paginate(**here, PaginationConfig={"PageSize": 2})
    assert [part["PartNumber"] for page in pages for part in page["Parts"]] == [1, 2, 3, 4, 5]
    pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 1})
    assert [found["Key"] for page in pages for found in page["Uploads"]] == ["a/1", "a/2", "b", "big"]
    rolled = s3.list_multipart_uploads(Bucket=BUCKET, Delimiter="/")
    assert [found["Key"] for found in rolled["Uploads"]] == ["b", "big"]
    assert rolled["CommonPrefixes"] == [{"Prefix": "a/"}]
