"""Buckets through boto3, and the refusals: what is not offered is named, what is wrong has S3's code."""

from __future__ import annotations

from http.client import HTTPConnection
from typing import Any

import botocore.session
import pytest

from millrace.runtime.s3.errors import InvalidBucketName, S3Error
from millrace.runtime.s3.names import check_bucket_name
from millrace.runtime.s3.request import Request
from millrace.runtime.s3.routes import COPIES, ROUTES, find_route

from .conftest import BUCKET, Server
from .test_objects import refusal


def test_the_life_of_a_bucket(s3: Any) -> None:
    s3.create_bucket(Bucket="second")
    s3.create_bucket(Bucket="second")  # us-east-1 allows it
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [BUCKET, "second"]
    assert s3.head_bucket(Bucket="second")["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket="second")["LocationConstraint"] is None
    assert "Status" not in s3.get_bucket_versioning(Bucket="second")
    s3.put_object(Bucket="second", Key="k", Body=b"")
    assert refusal(s3.delete_bucket, Bucket="second") == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket="second", Key="k")
    s3.delete_bucket(Bucket="second")
    assert refusal(s3.head_bucket, Bucket="second") == ("404", 404)
    assert refusal(s3.put_object, Bucket="second", Key="k", Body=b"") == ("NoSuchBucket", 404)


def test_a_bucket_elsewhere(s3: Any) -> None:
    there = {"Bucket": "berlin", "CreateBucketConfiguration": {"LocationConstraint": "eu-central-1"}}
    s3.create_bucket(**there)
    assert s3.get_bucket_location(Bucket="berlin")["LocationConstraint"] == "eu-central-1"
    assert refusal(s3.create_bucket, **there) == ("BucketAlreadyOwnedByYou", 409)


@pytest.mark.parametrize("host", ["bucket.localhost", "bucket.localhost:4566", "127.0.0.1", "localhost:4566"])
def test_virtual_hosted_and_path_style_addresses(server: Server, host: str) -> None:
    server.store.put_bytes(BUCKET, "a/b", b"x")
    path = "/a/b" if host.startswith(BUCKET) else f"/{BUCKET}/a/b"
    connection = HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", path, headers={"Host": host})
    assert connection.getresponse().read() == b"x"
    connection.close()


@pytest.mark.parametrize("name", ["ab", "A-b", "a..b", "1.2.3.4", "-ab", "ab-", "xn--ab", "a_b", "x" * 64, "a-s3alias"])
def test_bucket_names(name: str) -> None:
    with pytest.raises(InvalidBucketName, match="not valid"):
        check_bucket_name(name)


def test_what_is_not_offered_is_refused_by_name(s3: Any) -> None:
    assert refusal(s3.get_bucket_acl, Bucket=BUCKET) == ("NotImplemented", 501)
    versioning = {"VersioningConfiguration": {"Status": "Enabled"}}
    assert refusal(s3.put_bucket_versioning, Bucket=BUCKET, **versioning) == ("NotImplemented", 501)
    assert refusal(s3.put_object, Bucket=BUCKET, Key="k", Body=b"", ACL="public-read") == ("NotImplemented", 501)
    assert refusal(s3.get_object, Bucket=BUCKET, Key="k", VersionId="v")[0] == "InvalidArgument"


def test_every_operation_of_s3_is_answered_or_refused() -> None:
    """The referee is botocore's model: an operation that we do not know of must not fall through to another."""
    offered = {route.name for route in ROUTES.values()} | {route.name for route in COPIES.values()}
    model = botocore.session.get_session().get_service_model("s3")
    levels = {"/": "service", "/{Bucket}": "bucket", "/{Bucket}/{Key+}": "object"}
    for name in model.operation_names:
        http = model.operation_model(name).http
        path, _, query = http["requestUri"].partition("?")
        if path not in levels or name in offered or name == "ListDirectoryBuckets":
            continue
        assert query, f"{name} cannot be told from {http['method']} {path}"
        level = levels[path]
        request = Request(
            method=http["method"],
            resource=path,
            bucket="" if level == "service" else "b",
            key="k" if level == "object" else "",
            query={part.partition("=")[0]: "" for part in query.split("&")},
        )
        with pytest.raises(S3Error) as caught:
            find_route(request)
        assert caught.value.code == "NotImplemented", name
