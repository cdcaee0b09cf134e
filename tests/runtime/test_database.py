"""What the runtime remembers: pages, filters and sorts of listings, tags that go with their resource, across restarts."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.runtime.database import AlreadyExists, Database, Query
from millrace.runtime.errors import ValidationException
from millrace.runtime.resources.listing import page

KIND = "training-job"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "runtime.sqlite")
    yield database
    database.close()


def insert(database: Database, name: str, status: str = "InProgress", kind: str = KIND, **tags: str) -> float:
    """Store a resource and return when it was created."""
    return database.insert(kind, name, f"arn:{kind}/{name}", status, {"request": {"name": name}}, tags).created


def names(database: Database, **query: Any) -> list[str]:
    return [found.name for found in database.list(KIND, Query(**query))]


def test_a_resource_is_found_as_it_was_stored(database: Database) -> None:
    made = database.insert(KIND, "a", "arn:a", "InProgress", {"request": {"n": [1, None, "ü"]}}, {})
    assert database.get(KIND, "a") == made
    assert made.created == made.modified
    assert database.get(KIND, "b") is None
    assert database.get("model", "a") is None


def test_a_name_is_taken_once_a_kind_and_the_error_carries_the_first(database: Database) -> None:
    insert(database, "a", "Completed")
    insert(database, "a", kind="model")
    with pytest.raises(AlreadyExists) as caught:
        insert(database, "a")
    assert caught.value.resource == database.get(KIND, "a")
    assert caught.value.resource.status == "Completed"


def test_an_insert_that_fails_leaves_nothing_behind(database: Database) -> None:
    insert(database, "a", colour="red")
    with pytest.raises(sqlite3.IntegrityError):  # the ARN is another's
        database.insert("model", "b", f"arn:{KIND}/a", "Created", {}, {"colour": "blue"})
    assert database.get("model", "b") is None
    assert database.tags(f"arn:{KIND}/a") == {"colour": "red"}
    insert(database, "c")


def test_of_many_threads_one_gets_the_name(database: Database) -> None:
    won: list[float] = []
    barrier = threading.Barrier(8)

    def take() -> None:
        barrier.wait()
        try:
            won.append(insert(database, "a"))
        except AlreadyExists:
            return

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_change_edits_document_and_status_and_moves_the_time_of_modification(database: Database) -> None:
    created = insert(database, "a")

    def edit(document: dict[str, Any]) -> str:
        document["phase"] = "done"
        return "Completed"

    changed = database.change(KIND, "a", edit)
    assert changed == database.get(KIND, "a")
    assert changed is not None
    assert (changed.status, changed.document["phase"], changed.document["request"]) == (
        "Completed",
        "done",
        {"name": "a"},
    )
    assert changed.created == created < changed.modified


def test_a_change_may_keep_status_and_time(database: Database) -> None:
    created = insert(database, "a")
    changed = database.change(KIND, "a", lambda document: document.update(phase="x"), touch=False)
    assert changed is not None
    assert (changed.status, changed.modified) == ("InProgress", created)


def test_an_edit_that_raises_changes_nothing(database: Database) -> None:
    insert(database, "a")

    def edit(document: dict[str, Any]) -> str:
        document["phase"] = "done"
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        database.change(KIND, "a", edit)
    found = database.get(KIND, "a")
    assert found is not None
    assert "phase" not in found.document


def test_changing_what_is_not_there_is_nothing(database: Database) -> None:
    assert database.change(KIND, "a", lambda document: None) is None


def test_changes_of_many_threads_are_all_kept(database: Database) -> None:
    insert(database, "a")

    def count() -> None:
        for _ in range(20):
            database.change(KIND, "a", lambda document: document.update(n=document.get("n", 0) + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = database.get(KIND, "a")
    assert found is not None
    assert found.document["n"] == 80


def test_listings_are_newest_first_and_ten_long_unless_told(database: Database) -> None:
    for number in range(12):
        insert(database, f"job-{number:02}")
    assert names(database) == [f"job-{number:02}" for number in range(11, 1, -1)]


@pytest.mark.parametrize(
    ("sort_by", "order"),
    [("Name", ["a", "b", "c"]), ("CreationTime", ["b", "c", "a"]), ("Status", ["c", "b", "a"]),
     ("LastModifiedTime", ["c", "a", "b"])],
)  # fmt: skip
@pytest.mark.parametrize("descending", [True, False])
def test_listings_are_sorted_by_each_column_both_ways(
    database: Database, sort_by: str, order: list[str], descending: bool
) -> None:
    for name, status in (("b", "Failed"), ("c", "Completed"), ("a", "Stopped")):
        insert(database, name, status)
    database.change(KIND, "b", lambda document: None)
    assert names(database, sort_by=sort_by, descending=descending) == (order[::-1] if descending else order)


def test_listings_hold_one_kind_only(database: Database) -> None:
    insert(database, "a")
    insert(database, "b", kind="model")
    assert names(database) == ["a"]


@pytest.mark.parametrize(("part", "found"), [("train", ["train-1", "retrain"]), ("TRAIN", []), ("%", []), ("_", [])])
def test_names_are_filtered_by_a_part_that_is_no_pattern(database: Database, part: str, found: list[str]) -> None:
    for name in ("retrain", "train-1", "other"):
        insert(database, name)
    assert names(database, name_contains=part) == found


@pytest.mark.parametrize(
    ("part", "found"),
    [("TRAIN", ["Train-1", "retrain"]), ("%", ["50%"]), ("_", ["under_score"]), ("\\", ["back\\slash"]), ("x", [])],
)
def test_a_part_of_a_name_in_any_case_is_no_pattern_either(database: Database, part: str, found: list[str]) -> None:
    for name in ("retrain", "Train-1", "50%", "under_score", "back\\slash"):
        insert(database, name)
    assert names(database, name_contains_any_case=part) == found


@pytest.mark.parametrize(
    "excerpt",
    [
        {"ended": "$.ended"},
        {"ended": "$.ended", "last": "$.steps[#-1].Status", "reason": "$.reason", "pool": "$.pool", "late": "$.late"},
    ],
)
def test_an_excerpt_holds_what_was_stored_to_the_last_digit(database: Database, excerpt: dict[str, str]) -> None:
    document = {"ended": 1795275242.2412381, "steps": [{"Status": "a"}, {"Status": "b"}], "pool": {"Status": "c"}}
    database.insert(KIND, "job", "arn", "Completed", document, {})
    holds = {"ended": 1795275242.2412381, "last": "b", "reason": None, "pool": {"Status": "c"}, "late": None}
    (found,) = database.list(KIND, Query(excerpt=excerpt))
    assert found.document == {member: holds[member] for member in excerpt}


def test_listings_are_filtered_by_status(database: Database) -> None:
    insert(database, "a", "Completed")
    insert(database, "b", "Failed")
    assert names(database, status="Failed") == ["b"]
    assert names(database, status="Stopped") == []


def test_listings_are_filtered_by_times_without_the_border(database: Database) -> None:
    times = {name: insert(database, name) for name in "abc"}
    database.change(KIND, "a", lambda document: None)
    assert names(database, created_after=times["a"], created_before=times["c"]) == ["b"]
    assert names(database, modified_after=times["c"]) == ["a"]
    assert names(database, modified_before=times["c"]) == ["b"]


def test_filters_hold_together(database: Database) -> None:
    insert(database, "train-1", "Failed")
    insert(database, "train-2", "Completed")
    insert(database, "other", "Failed")
    assert names(database, name_contains="train", status="Failed") == ["train-1"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
def test_pages_together_are_the_whole_listing(database: Database, size: int) -> None:
    for number in range(7):
        insert(database, f"job-{number}")
    found: list[str] = []
    params: dict[str, Any] = {"MaxResults": size, "SortBy": "Name", "SortOrder": "Ascending"}
    pages = 0
    while True:
        rows, token = page(database, KIND, params)
        assert len(rows) <= size
        found += [row.name for row in rows]
        pages += 1
        if token is None:
            break
        params["NextToken"] = token
    assert found == [f"job-{number}" for number in range(7)]
    assert pages == -(-7 // size)


@pytest.mark.parametrize("token", ["not a token", "%%%", "YWJj"])
def test_a_token_that_no_listing_gave_is_refused_with_its_value(database: Database, token: str) -> None:
    with pytest.raises(ValidationException, match="was not given by a listing") as caught:
        page(database, KIND, {"NextToken": token})
    assert token in caught.value.message


def test_all_of_some_statuses_come_oldest_first(database: Database) -> None:
    for name, status in (("b", "Stopping"), ("a", "InProgress"), ("c", "Completed"), ("d", "InProgress")):
        insert(database, name, status)
    assert [found.name for found in database.all(KIND, "InProgress", "Stopping")] == ["b", "a", "d"]
    assert list(database.all(KIND)) == []


def test_tags_are_added_replaced_and_taken_off(database: Database) -> None:
    insert(database, "a", colour="red", size="1")
    arn = f"arn:{KIND}/a"
    database.tag(arn, {"colour": "blue", "shape": "round"})
    assert database.tags(arn) == {"colour": "blue", "shape": "round", "size": "1"}
    database.untag(arn, ["size", "never there"])
    assert database.tags(arn) == {"colour": "blue", "shape": "round"}


def test_a_deleted_resource_is_gone_with_its_tags_and_its_name_is_free(database: Database) -> None:
    insert(database, "a", colour="red")
    insert(database, "b", colour="green")
    database.delete(KIND, "a")
    assert database.get(KIND, "a") is None
    assert not database.exists_arn(f"arn:{KIND}/a")
    assert database.tags(f"arn:{KIND}/a") == {}
    assert database.tags(f"arn:{KIND}/b") == {"colour": "green"}
    insert(database, "a")
    assert database.tags(f"arn:{KIND}/a") == {}
    database.delete(KIND, "never there")


def test_everything_is_there_again_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "runtime.sqlite"
    first = Database(path)
    insert(first, "a", colour="red")
    changed = first.change(KIND, "a", lambda document: "Completed")
    first.close()
    second = Database(path)
    assert second.get(KIND, "a") == changed
    assert second.tags(f"arn:{KIND}/a") == {"colour": "red"}
    second.close()


def test_what_is_committed_is_there_though_the_process_never_closed(tmp_path: Path) -> None:
    path = tmp_path / "runtime.sqlite"
    first = Database(path)
    insert(first, "a")
    second = Database(path)  # as a runtime that starts after a kill
    assert names(second) == ["a"]
    second.close()
    first.close()


def test_every_commit_reaches_the_disk(tmp_path: Path) -> None:
    database = Database(tmp_path / "runtime.sqlite")
    pragma = database._connection.execute
    assert pragma("PRAGMA journal_mode").fetchone() == ("wal",)
    assert pragma("PRAGMA synchronous").fetchone() == (2,)
    database.close()
