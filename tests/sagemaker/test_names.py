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
from millrace.sagemaker.names import TaskIdentity, content_name, slug, tag_value

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


def test_tag_values_are_cut_at_256_and_foreign_characters_become_underscores() -> None:
    assert tag_value("a" * 300) == "a" * 256
    assert tag_value("50% {off}") == "50_ _off_"
