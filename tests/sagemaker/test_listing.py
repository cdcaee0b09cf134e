"""What lies at an S3 URI: the same content, the same answer, wherever it lies."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.sagemaker import listing
from millrace.sagemaker.listing import ListingError, TooMany, collect

PARTS = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=6)


@pytest.fixture
def place(s3: Any) -> str:
    return f"listing/{uuid.uuid4().hex}"


def put(s3: Any, *keys: str) -> None:
    for key in keys:
        s3.put_object(Bucket="bucket", Key=key, Body=key.rpartition("/")[2].encode())


@given(PARTS, PARTS)
def test_digest_is_equal_exactly_when_the_parts_are(one: dict[str, str], other: dict[str, str]) -> None:
    first, second = (collect(sorted(parts.items())) for parts in (one, other))
    assert (first.digest == second.digest) == (one == other)
    assert first.count == len(one) and first.parts == one


def test_contents_that_are_many_become_one_digest_of_all_of_them() -> None:
    many = [(f"part-{number:06}", "etag 1") for number in range(20_000)]
    contents = collect(many)
    assert contents.parts is None and contents.count == 20_000
    assert contents.components("input train") == {"input train": f"20000 objects, sha256 {contents.digest}"}
    assert collect([*many[:-1], ("part-019999", "etag 2")]).digest != contents.digest


def test_counting_stops_soon_after_it_is_more_than_was_asked_about() -> None:
    taken = iter(range(10_000))
    with pytest.raises(TooMany, match="more than 3"):
        collect(((str(number), "") for number in taken), at_most=3)
    assert next(taken) == 4


@pytest.mark.parametrize(
    ("uri", "names"),
    [
        ("data/", ["a.csv", "more/b.csv"]),
        ("data", ["a.csv", "more/b.csv"]),
        ("data/a.csv", ["a.csv"]),
        ("da", ["data/a.csv", "data/more/b.csv"]),
    ],
)
def test_prefix_is_read_as_sagemaker_reads_it(s3: Any, place: str, uri: str, names: list[str]) -> None:
    put(s3, f"{place}/data/", f"{place}/data/a.csv", f"{place}/data/more/b.csv")
    found = listing.list_prefix(s3, f"s3://bucket/{place}/{uri}")
    assert found.parts is not None and sorted(found.parts) == names


def test_same_objects_elsewhere_are_the_same_content(s3: Any, place: str) -> None:
    put(s3, f"{place}/x/a.csv", f"{place}/longer/y/a.csv")
    one = listing.list_prefix(s3, f"s3://bucket/{place}/x/")
    other = listing.list_prefix(s3, f"s3://bucket/{place}/longer/y")
    assert one == other and one.parts is not None
    etag, size = one.parts["a.csv"].split()
    assert len(etag) == 32 and size == "5"


def test_listing_goes_on_beyond_the_first_page(s3: Any, place: str) -> None:
    class FewAPage:
        """The runtime's client, asked for three objects a page."""

        def get_paginator(self, name: str) -> Any:
            paginator = s3.get_paginator(name)
            return type("Paginator", (), {"paginate": lambda _, **q: paginator.paginate(**q, MaxKeys=3)})()

    put(s3, *(f"{place}/{number}" for number in range(8)))
    paged = listing.list_folder(FewAPage(), f"s3://bucket/{place}", 8)
    assert paged.count == 8 and paged == listing.list_folder(s3, f"s3://bucket/{place}/", 8)


def test_folder_is_not_its_namesake(s3: Any, place: str) -> None:
    put(s3, f"{place}/1/model", f"{place}/10/model")
    assert listing.list_folder(s3, f"s3://bucket/{place}/1", 10).count == 1


def test_two_objects_of_one_name_are_refused(s3: Any, place: str) -> None:
    put(s3, f"{place}/a/ab", f"{place}/a/a/ab", f"{place}/ab")
    with pytest.raises(ListingError, match="two objects would both be 'ab'"):
        listing.list_prefix(s3, f"s3://bucket/{place}/a")


def test_object_is_not_the_longer_key_beside_it(s3: Any, place: str) -> None:
    put(s3, f"{place}/model.tar.gz.old")
    with pytest.raises(ListingError, match=r"there is no object .*model\.tar\.gz"):
        listing.object_content(s3, f"s3://bucket/{place}/model.tar.gz")


def test_manifest_names_its_objects_and_nothing_else(s3: Any, place: str) -> None:
    put(s3, f"{place}/a", f"{place}/b", f"{place}/c")
    manifest = [{"prefix": f"s3://bucket/{place}/"}, "b", "a"]
    s3.put_object(Bucket="bucket", Key=f"{place}.manifest", Body=json.dumps(manifest))
    found = listing.list_manifest(s3, f"s3://bucket/{place}.manifest")
    assert found.parts is not None and set(found.parts) == {"the manifest's order", "a", "b"}


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "[1]", '[{"prefix": 1}]', '[{"prefix": "s3://bucket/"}, 1]', "[" * 100_000]
)
def test_manifest_that_is_none_is_refused_by_name(s3: Any, place: str, text: str) -> None:
    s3.put_object(Bucket="bucket", Key=place, Body=text)
    with pytest.raises(ListingError, match=rf"the manifest s3://bucket/{place} "):
        listing.list_manifest(s3, f"s3://bucket/{place}")
