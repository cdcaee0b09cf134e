"""Listings: paging with prefixes and delimiters, compared with the same thing done the slow way."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.runtime.s3.errors import NoSuchBucket
from millrace.runtime.s3.store import ObjectStore

from .conftest import BUCKET, Server
from .test_objects import refusal


def fill(store: ObjectStore, keys: list[str]) -> None:
    """Many objects at once: rows alone, since listings read no bytes."""
    record = store.put_bytes(BUCKET, "model", b"")
    blob = record.path.name
    store.delete(BUCKET, "model")
    with store._index.transaction():
        for key in keys:
            store._index.change(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, 0, 'e', 0, '{}')", BUCKET, key.encode(), blob
            )


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
def test_thousands_of_keys_are_paged(s3: Any, server: Server, operation: str) -> None:
    keys = [f"runs/{n % 50:02d}/part {n:04d}+ü.csv" for n in range(2500)]
    fill(server.store, [*keys, "readme", "runs/zz"])
    paginator = s3.get_paginator(operation)
    pages = list(paginator.paginate(Bucket=BUCKET))
    assert [len(page["Contents"]) for page in pages] == [1000, 1000, 502]
    assert [item["Key"] for page in pages for item in page["Contents"]] == sorted(
        [*keys, "readme", "runs/zz"], key=str.encode
    )
    pages = list(paginator.paginate(Bucket=BUCKET, Prefix="runs/", Delimiter="/", PaginationConfig={"PageSize": 7}))
    folders = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", [])]
    assert folders == [f"runs/{n:02d}/" for n in range(50)]
    assert [item["Key"] for page in pages for item in page.get("Contents", [])] == ["runs/zz"]
    assert len(pages) == 8


def test_arguments_of_a_listing(s3: Any, server: Server) -> None:
    fill(server.store, ["a", "b/1", "b/2", "c\x01d", "e"])
    answer = s3.list_objects_v2(Bucket=BUCKET, StartAfter="b/1", FetchOwner=True)
    assert [item["Key"] for item in answer["Contents"]] == ["b/2", "c\x01d", "e"]
    assert answer["Contents"][0]["Owner"]["DisplayName"] == "millrace"
    assert answer["KeyCount"] == 3
    nothing = s3.list_objects_v2(Bucket=BUCKET, MaxKeys=0)
    assert (nothing["KeyCount"], nothing["IsTruncated"]) == (0, False)
    assert refusal(s3.list_objects_v2, Bucket=BUCKET, ContinuationToken="%%%") == ("InvalidArgument", 400)
    assert refusal(s3.list_objects_v2, Bucket="missing") == ("NoSuchBucket", 404)


KEY = st.text(st.sampled_from("ab/é\U0001f600"), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(
    keys=st.sets(KEY, max_size=25),
    prefix=st.text("ab/", max_size=2),
    delimiter=st.sampled_from(["", "/", "a", "b/"]),
    start=st.one_of(st.just(""), KEY),
    size=st.integers(1, 4),
)
def test_pages_add_up_to_the_listing(keys: set[str], prefix: str, delimiter: str, start: str, size: int) -> None:
    STORE.delete_many(BUCKET, [record.key for record in STORE.list_keys(BUCKET)])
    fill(STORE, sorted(keys))
    expected: list[str] = []
    for key in sorted(keys, key=str.encode):
        if not key.startswith(prefix) or key.encode() <= start.encode():
            continue
        rest = key[len(prefix) :]
        rolled = prefix + rest[: rest.index(delimiter) + len(delimiter)] if delimiter and delimiter in rest else key
        if rolled not in expected and not (rolled != key and rolled == start):
            expected.append(rolled)
    seen: list[str] = []
    mark = start
    for _ in itertools.count():
        page = STORE.list_page(BUCKET, prefix, delimiter, mark, size)
        items = sorted([*(record.key for record in page.contents), *page.prefixes], key=str.encode)
        assert len(items) <= size
        seen += items
        if page.next is None:
            break
        mark = page.next
    assert seen == expected


@pytest.fixture(scope="module", autouse=True)
def one_store() -> Any:
    """One store for all the examples of the property."""
    global STORE
    with tempfile.TemporaryDirectory() as folder:
        STORE = ObjectStore(Path(folder))
        STORE.create_bucket(BUCKET)
        yield
        STORE.close()


STORE: ObjectStore


def test_listing_a_missing_bucket_is_refused_at_once() -> None:
    with pytest.raises(NoSuchBucket):
        STORE.list_keys("missing")
