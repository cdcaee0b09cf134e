"""Looks into the step cache: written, found again by task and run, and explained in plain words."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.sagemaker import cache_looks
from millrace.sagemaker.cache_looks import Look, explain, look_of, looks, nearest, note_look
from millrace.sagemaker.fingerprint import Fingerprint, NoFingerprint, key_of
from millrace.sagemaker.names import TaskIdentity
from millrace.sagemaker.step_cache import Miss

COMPONENTS = st.dictionaries(
    st.sampled_from(("image", "instances", "code: a.py", "environment X", "input a: b", "input a, c", "argument 1"))
    | st.text(max_size=12),
    st.sampled_from(("etag1 10", "etag2 10", "etag2 12", "1")) | st.text(max_size=8),
    max_size=6,
)


def look(components: dict[str, str] | None = None, **asked_by: Any) -> Look:
    who = {"deployment": "one", "dag_id": "d", "run_id": "r", "task_id": "t", **asked_by}
    found = Fingerprint("processing", {"kind": "processing"} if components is None else components)
    return look_of(TaskIdentity(**who), found, Miss("no job of this content is remembered"))


@pytest.fixture
def dag_id() -> str:
    return f"dag_{uuid.uuid4().hex}"


@given(COMPONENTS, COMPONENTS)
def test_every_difference_is_named_and_equal_components_have_none(one: dict[str, str], other: dict[str, str]) -> None:
    before, after = look(one), look(other)
    lines = explain(before, after)
    differing = [name for name in {*one, *other} if one.get(name) != other.get(name)]
    assert (before.key == after.key) == (not lines)
    assert len(lines) == len(differing)
    assert all(any(line.startswith(name) for line in lines) for name in differing)


@given(COMPONENTS, st.randoms())
def test_order_says_nothing(components: dict[str, str], random: Any) -> None:
    shuffled = list(components.items())
    random.shuffle(shuffled)
    assert explain(look(components), look(dict(shuffled))) == []
    assert key_of(components) == key_of(dict(shuffled))


@pytest.mark.parametrize(
    ("name", "before", "after", "line"),
    [
        ("hyperparameter epochs", "14", "20", "hyperparameter epochs: 14 → 20"),
        ("image", "local/jobs", "local/other", "image: local/jobs → local/other"),
        ("code: jobs/train.py", "0" * 64, "1" * 64, "code: jobs/train.py changed"),
        ("environment TOKEN", "0" * 64, "1" * 64, "environment TOKEN changed"),
        ("environment TOKEN", None, "1" * 64, "environment TOKEN is new"),
        ("model environment TOKEN", "0" * 64, None, "model environment TOKEN is gone"),
        ("input train: p.csv", "a" * 32 + " 9", "b" * 32 + " 9", "input train: p.csv changed (ETag aaaaaaaa… → bbbbbbbb…)"),
        ("model: archive", "a 9", "b 10", "model: archive changed (ETag a → b, 9 → 10 bytes)"),
        ("input train: p.csv", None, "a 9", "input train: p.csv is new"),
        ("input train, S3DataType", "S3Prefix", "S3Object", "input train, S3DataType: S3Prefix → S3Object"),
        ("argument 3", "x", None, "argument 3 is gone: x"),
    ],
)  # fmt: skip
def test_difference_is_said_in_plain_words(name: str, before: str | None, after: str | None, line: str) -> None:
    def having(value: str | None) -> Look:
        return look({} if value is None else {name: value})

    assert explain(having(before), having(after)) == [line]


def test_arguments_come_in_their_order() -> None:
    lines = explain(look({}), look({f"argument {number}": "x" for number in (10, 2, 1)}))
    assert lines == ["argument 1 is new: x", "argument 2 is new: x", "argument 10 is new: x"]


def test_nearest_is_the_least_different_and_of_several_the_latest() -> None:
    latest, close, closer = look({"a": "9", "b": "9"}), look({"a": "1", "b": "9"}), look({"a": "1", "b": "2"})
    nothing = look_of(latest.asked_by, NoFingerprint("empty"), None)
    now = look({"a": "1", "b": "2", "c": "3"})
    assert nearest(now, [nothing, latest, close, closer, replace(closer, key="older")]) is closer
    assert nearest(now, [nothing]) is None


def test_looks_of_a_task_come_back_the_latest_first_and_one_for_each_run(s3: Any, dag_id: str) -> None:
    for run_id, answer in (("run/1", "1"), ("run 1", "2"), ("run/1", "3")):
        assert note_look(s3, "bucket", look({"a": answer}, dag_id=dag_id, run_id=run_id)) == ""
    note_look(s3, "bucket", look({"a": "mapped"}, dag_id=dag_id, map_index=3))
    note_look(s3, "bucket", look({"a": "dev"}, dag_id=dag_id, run_id="run/1", deployment="dev"))
    found = [
        (each.asked_by.deployment, each.asked_by.run_id, each.components["a"])
        for each in looks(s3, "bucket", dag_id, "t")
    ]
    assert found == [("dev", "run/1", "dev"), ("one", "run/1", "3"), ("one", "run 1", "2")]
    assert [each.components["a"] for each in looks(s3, "bucket", dag_id, "t", 3)] == ["mapped"]
    assert list(looks(s3, "bucket", dag_id, "other")) == []


def test_look_without_a_fingerprint_says_why_in_one_line(s3: Any, dag_id: str) -> None:
    identity = TaskIdentity(deployment="one", dag_id=dag_id, run_id="r", task_id="t")
    note_look(s3, "bucket", look_of(identity, NoFingerprint("the input\ntrain\x1b is empty" + "!" * 5000), None))
    (found,) = looks(s3, "bucket", dag_id, "t")
    assert (found.answer, found.key) == ("none", "")
    assert found.reason.startswith("the input train is empty!!!")


@pytest.mark.parametrize("body", ["{", "[]", '{"format": 1}', '{"format": 1, "answer": ["hit"]}'])
def test_what_is_no_look_is_passed_over(s3: Any, dag_id: str, body: str) -> None:
    note_look(s3, "bucket", look(dag_id=dag_id))
    folder = cache_looks._folder(dag_id, "t", -1)
    s3.put_object(Bucket="bucket", Key=f"{folder}planted.json", Body=body)
    assert len(list(looks(s3, "bucket", dag_id, "t"))) == 1


def test_keys_of_a_look_are_safe_whatever_airflow_calls_things(s3: Any) -> None:
    wild = f"../ä {uuid.uuid4()}"
    note_look(s3, "bucket", look(dag_id=wild, task_id=wild, run_id=wild))
    folder = cache_looks._folder(wild, wild, -1)
    (item,) = s3.list_objects_v2(Bucket="bucket", Prefix=folder)["Contents"]
    assert json.dumps(item["Key"]).strip('"') == item["Key"] and ".." not in item["Key"]


def test_look_that_cannot_be_written_is_a_sentence(s3: Any) -> None:
    assert "NoSuchBucket" in note_look(s3, "no-such-bucket", look())
