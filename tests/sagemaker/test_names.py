"""Names, prefixes and tags: within SageMaker's limits, the same for the same task, and different for every other."""

from __future__ import annotations

import dataclasses
import re
import string
import unicodedata
from typing import Any

import pytest
from botocore.loaders import Loader
from hypothesis import assume, given
from hypothesis import strategies as st

from millrace.sagemaker import preflight
from millrace.sagemaker.names import TaskIdentity, content_name, generation_from_tags, slug, tag_text, tag_value

SHAPES = Loader().load_service_model("sagemaker", "service-2")["shapes"]
NAME_SHAPES = ("TrainingJobName", "ProcessingJobName", "TransformJobName")
DEPLOYMENTS = st.from_regex(r"[a-zA-Z][a-zA-Z0-9]{0,15}", fullmatch=True)
DAG_IDS = st.text(string.ascii_letters + string.digits + "_.-", min_size=1, max_size=250)
RUN_IDS = st.text(string.ascii_letters + string.digits + "_.~:+-", min_size=1, max_size=250)
ANY_TEXT = st.text(min_size=1, max_size=80)
MAP_INDEXES = st.integers(-1, 100_000)
GENERATIONS = st.integers(0, 1000)
IDENTITIES = st.builds(
    TaskIdentity,
    deployment=DEPLOYMENTS,
    dag_id=DAG_IDS | ANY_TEXT,
    run_id=RUN_IDS | ANY_TEXT,
    task_id=DAG_IDS | ANY_TEXT,
    map_index=MAP_INDEXES,
)
TASK = TaskIdentity(deployment="prod", dag_id="digits", run_id="scheduled__2026-01-01", task_id="train")
LONG = "a_task_with_a_name_that_no_limit_of_sagemaker_leaves_whole_" * 3


def table_shape(name: str) -> dict[str, Any]:
    shape: dict[str, Any] = preflight.table()["shapes"][name]
    return shape


@given(IDENTITIES, GENERATIONS, st.sampled_from((63, 32)))
def test_job_names_fit_the_limit_and_sagemakers_pattern(identity: TaskIdentity, generation: int, limit: int) -> None:
    name = identity.job_name(generation, limit)
    assert len(name) <= limit
    for shape in map(table_shape, NAME_SHAPES):
        assert re.fullmatch(shape["pattern"], name)
        assert shape["min"] <= len(name) <= shape["max"]


@given(DEPLOYMENTS, ANY_TEXT, ANY_TEXT)
def test_content_names_fit_models_and_endpoint_configurations(deployment: str, what: str, content: str) -> None:
    name = content_name(deployment, what, content)
    for shape in map(table_shape, ("ModelName", "EndpointConfigName")):
        assert re.fullmatch(shape["pattern"], name)
        assert len(name) <= shape["max"]


@given(IDENTITIES, IDENTITIES, GENERATIONS, GENERATIONS)
def test_two_jobs_share_a_name_only_when_they_are_the_same(
    one: TaskIdentity, other: TaskIdentity, generation: int, later: int
) -> None:
    same = (one, generation) == (other, later)
    assert (one.job_name(generation) == other.job_name(later)) is same
    assert one.job_name(generation) == dataclasses.replace(one).job_name(generation)


@pytest.mark.parametrize("limit", [63, 32])
@pytest.mark.parametrize(
    "change",
    [
        {"deployment": "prod2"},
        {"dag_id": f"{LONG}2"},
        {"run_id": f"{LONG}2"},
        {"task_id": f"{LONG}2"},
        {"map_index": 0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_part_of_an_identity_changes_the_name_though_the_slug_is_truncated(
    change: dict[str, Any], limit: int
) -> None:
    long = TaskIdentity(deployment="prod", dag_id=LONG, run_id=LONG, task_id=LONG)
    changed = dataclasses.replace(long, **change)
    assert long.job_name(0, limit) != changed.job_name(0, limit)
    assert long.job_name(0, limit) != long.job_name(1, limit)


def test_parts_are_not_confused_when_their_border_moves() -> None:
    left = dataclasses.replace(TASK, dag_id="ab", run_id="c")
    right = dataclasses.replace(TASK, dag_id="a", run_id="bc")
    assert left.job_name(0) != right.job_name(0)


def test_names_show_the_deployment_and_the_task_to_a_reader() -> None:
    assert dataclasses.replace(TASK, task_id="group.train_model").job_name(0).startswith("prod-group-train-model-")


@given(IDENTITIES, GENERATIONS)
def test_prefixes_are_plain_s3_keys_with_room_for_what_is_written_below(
    identity: TaskIdentity, generation: int
) -> None:
    prefix = identity.prefix(generation)
    assert re.fullmatch(r"[A-Za-z0-9-]+(/[A-Za-z0-9-]+)*", prefix)
    assert len(prefix) <= 700


@pytest.mark.parametrize(
    "change",
    [{"deployment": "prod2"}, {"dag_id": "digits2"}, {"run_id": f"{TASK.run_id}2"}, {"task_id": "train2"},
     {"map_index": 0}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_tasks_and_generations_write_under_prefixes_of_their_own(change: dict[str, Any]) -> None:
    assert TASK.prefix(0) != dataclasses.replace(TASK, **change).prefix(0)
    assert TASK.prefix(0) != TASK.prefix(1)


def test_runs_whose_ids_are_alike_for_forty_characters_write_under_prefixes_of_their_own() -> None:
    one, other = (dataclasses.replace(TASK, run_id="r" * 60 + end) for end in "ab")
    assert one.prefix(0) != other.prefix(0)


@given(IDENTITIES, GENERATIONS, st.from_regex(r"[0-9a-f]{16}", fullmatch=True))
def test_tags_fit_sagemakers_limits_and_characters(identity: TaskIdentity, generation: int, request: str) -> None:
    tags = identity.tags(generation, request, "0.1.0")
    assert len(tags) <= SHAPES["TagList"]["max"]
    assert len({tag["Key"] for tag in tags}) == len(tags)
    for tag in tags:
        assert SHAPES["TagKey"]["min"] <= len(tag["Key"]) <= SHAPES["TagKey"]["max"]
        assert len(tag["Value"]) <= SHAPES["TagValue"]["max"]
        assert not tag["Key"].lower().startswith("aws:")
        for character in tag["Key"] + tag["Value"]:
            assert character in "_.:/=+-@" or unicodedata.category(character)[0] in "LZN", repr(character)


@given(IDENTITIES, GENERATIONS)
def test_a_task_owns_what_carries_its_tags_in_any_generation(identity: TaskIdentity, generation: int) -> None:
    tags = {tag["Key"]: tag["Value"] for tag in identity.tags(generation, "request", "9.9")}
    assert identity.owns(tags)
    assert identity.owns({**tags, "team": "vision"})


@given(IDENTITIES, IDENTITIES)
def test_a_task_does_not_own_what_another_task_asked_for(mine: TaskIdentity, other: TaskIdentity) -> None:
    assume(
        {tag["Key"]: tag["Value"] for tag in mine.tags(0, "", "")}
        != {tag["Key"]: tag["Value"] for tag in other.tags(0, "", "")}
    )
    assert not mine.owns({tag["Key"]: tag["Value"] for tag in other.tags(0, "", "")})


@pytest.mark.parametrize(
    "key", ["millrace:deployment", "airflow:dag", "airflow:run", "airflow:task", "airflow:map_index"]
)
def test_ownership_needs_every_identifying_tag(key: str) -> None:
    tags = {tag["Key"]: tag["Value"] for tag in TASK.tags(0, "request", "1")}
    del tags[key]
    assert not TASK.owns(tags)
    assert not TASK.owns({})


@given(ANY_TEXT)
def test_slugs_hold_letters_digits_and_single_hyphens(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", slug(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("scheduled__2026-01-01T00:00:00+00:00", "scheduled__2026-01-01T00:00:00+00:00"),
        ("50% {off}", "50=25 =7Boff=7D"),
        ("a=b", "a=3Db"),
        ("run~1", "run=7E1"),
        ("größe", "größe"),
        ("e\u0301", "e=CC=81"),
        ("", ""),
    ],
)
def test_tag_values_keep_what_a_tag_can_hold_and_quote_the_rest(text: str, value: str) -> None:
    assert tag_value(text) == value
    assert tag_text(value) == text


@given(RUN_IDS | st.text(max_size=120) | st.text("=4A1 ~", max_size=40) | st.text(st.characters(), max_size=20))
def test_a_tag_value_is_read_back_exactly_unless_it_was_cut(text: str) -> None:
    value = tag_value(text)
    assert tag_text(value) == (None if len(value) == 256 and "==" in value else text)
    assert tag_text(value) is not None or len(text) > 256 / 12


@given(st.text(max_size=300), st.text(max_size=300))
def test_different_texts_have_different_tag_values(one: str, other: str) -> None:
    assert (tag_value(one) == tag_value(other)) is (one == other)


def test_texts_that_differ_only_where_they_are_cut_have_different_values_and_are_not_read_back() -> None:
    one, other = (tag_value("a" * 300 + end) for end in "bc")
    assert one != other
    assert len(one) == len(other) == 256
    assert tag_text(one) is None
    assert tag_text("a" * 256) == "a" * 256


@given(st.text(max_size=60) | st.text("=0A4 ab%", max_size=12))
def test_what_is_read_from_a_tag_is_what_would_be_written_to_it(value: str) -> None:
    text = tag_text(value)
    assert text is None or tag_value(text) == value


@pytest.mark.parametrize("value", ["=41", "=", "a=", "=4", "=GG", "=c3=a9", "=C3", "==", "50%", "50%25", "a~b", "=FF"])
def test_values_that_others_made_are_not_guessed_at(value: str) -> None:
    assert tag_text(value) is None


@given(IDENTITIES, GENERATIONS)
def test_an_identity_is_read_back_from_its_tags_or_not_at_all(identity: TaskIdentity, generation: int) -> None:
    tags = {tag["Key"]: tag["Value"] for tag in identity.tags(generation, "request", "9.9")}
    cut = any(
        tags[key] != tag_value(tag_text(tags[key]) or "") for key in ("airflow:dag", "airflow:run", "airflow:task")
    )
    assert TaskIdentity.from_tags(tags) == (None if cut else identity)
    assert generation_from_tags(tags) == generation


@pytest.mark.parametrize(
    "changes",
    [
        {"millrace:deployment": ""},
        {"airflow:dag": ""},
        {"airflow:run": "a=b"},
        {"airflow:task": tag_value("t" * 300)},
        {"airflow:map_index": "-2"},
        {"airflow:map_index": "01"},
        {"airflow:map_index": "\u0661"},
        {"airflow:map_index": "1" * 5000},
    ],
    ids=str,
)
def test_tags_that_do_not_say_exactly_whose_it_is_name_nobody(changes: dict[str, str]) -> None:
    tags = {tag["Key"]: tag["Value"] for tag in TASK.tags(0, "request", "1")}
    assert TaskIdentity.from_tags(tags) == TASK
    assert TaskIdentity.from_tags(tags | changes) is None
    assert TaskIdentity.from_tags({}) is None
    assert generation_from_tags({}) is None
