"""What data sources name: manifests, augmented manifests, shuffling and sharding, on both storages."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.runtime.errors import JobFailed
from millrace.runtime.inputs import Source
from tests.runtime.storages import Stock


@pytest.fixture
def filled(stock: Stock) -> Stock:
    for name in "abc":
        stock.put(f"data/{name}.txt", name.encode())
    return stock


def manifest(stock: Stock, document: object, name: str = "list.manifest") -> str:
    body = document if isinstance(document, str) else json.dumps(document)
    stock.put(name, body.encode())
    return f"s3://bucket/{name}"


def source(uri: str, **changes: object) -> Source:
    return Source(what="channel 'train'", uri=uri, **changes)  # type: ignore[arg-type]


def test_manifest_names_its_objects_relative_to_its_prefix(filled: Stock) -> None:
    uri = manifest(filled, [{"prefix": "s3://bucket/data/"}, "c.txt", "a.txt"])
    found = source(uri, data_type="ManifestFile").find(filled.storage)
    assert [(record.key, relative) for record, relative in found] == [("data/c.txt", "c.txt"), ("data/a.txt", "a.txt")]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("[{", "is not JSON"),
        ("{}", "must be a list like"),
        ([], "must be a list like"),
        (["a.txt"], "must be a list like"),
        ([{"prefix": "s3://bucket/data/"}, 7], "must be a list like"),
        ([{"prefix": "s3://bucket/data/"}], "names no object"),
        ([{"prefix": "s3://bucket/data/"}, "nothing.txt"], "s3://bucket/data/nothing.txt, which is not there"),
        ([{"prefix": "data/"}, "a.txt"], "is not an S3 URI"),
    ],
)
def test_unusable_manifest_says_what_is_wrong(filled: Stock, document: object, says: str) -> None:
    uri = manifest(filled, document)
    with pytest.raises(JobFailed, match=says):
        source(uri, data_type="ManifestFile").find(filled.storage)


def test_augmented_manifest_gives_its_attributes_in_the_order_asked_for(filled: Stock) -> None:
    lines = [{"source-ref": f"s3://bucket/data/{name}.txt", "label": index} for index, name in enumerate("ab")]
    uri = manifest(filled, "\n".join(json.dumps(line) for line in lines) + "\n")
    records = source(uri, data_type="AugmentedManifestFile", attributes=("label", "source-ref")).records(filled.storage)
    shown = [[part if isinstance(part, str) else part.key for part in record] for record in records]
    assert shown == [["0", "data/a.txt"], ["1", "data/b.txt"]]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"label": 1}', "line 1 .* has no attribute 'source-ref'"),
        ('{"source-ref": 3, "label": 1}', "'source-ref' must be an S3 URI, and it is 3"),
        ('{"source-ref": "s3://bucket/none", "label": 1}', "s3://bucket/none, which is not there"),
        ("no json", "line 1 .* is not JSON"),
        ("", "is empty"),
    ],
)
def test_unusable_augmented_manifest_names_the_line(filled: Stock, line: str, says: str) -> None:
    uri = manifest(filled, line)
    with pytest.raises(JobFailed, match=says):
        source(uri, data_type="AugmentedManifestFile", attributes=("source-ref", "label")).records(filled.storage)


@given(
    things=st.lists(st.integers(), unique=True),
    seed=st.integers(0, 2**40),
    count=st.integers(1, 5),
    epoch=st.integers(0, 3),
)
def test_shares_of_all_instances_are_everything_once_in_every_epoch(
    things: list[int], seed: int, count: int, epoch: int
) -> None:
    sharded = source("s3://bucket/data", distribution="ShardedByS3Key", seed=seed)
    shares = [sharded.share(sharded.shuffled(things, epoch), index, count) for index in range(count)]
    assert sorted(thing for share in shares for thing in share) == sorted(things)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_seed_shuffles_the_same_way_each_time_and_another_way_in_the_next_epoch() -> None:
    things = list(range(50))
    shuffled = source("s3://bucket/data", seed=7)
    assert shuffled.shuffled(things) == shuffled.shuffled(things) != things
    assert shuffled.shuffled(things, epoch=1) != shuffled.shuffled(things)
    assert source("s3://bucket/data").shuffled(things, epoch=3) == things
