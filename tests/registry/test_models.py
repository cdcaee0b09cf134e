"""The registry over a real MLflow server: versions once by source, aliases that move, and tags that carry what counts."""

from __future__ import annotations

import uuid

import pytest

from millrace.registry.models import CANDIDATE, CHAMPION, ModelVersion, Registry, RegistryError


@pytest.fixture(scope="module")
def registry(tracking_uri: str) -> Registry:
    return Registry(tracking_uri)


@pytest.fixture
def model() -> str:
    return f"digits-{uuid.uuid4().hex[:8]}"


def register(registry: Registry, model: str, source: str = "s3://bucket/a/model.tar.gz") -> ModelVersion:
    return registry.register(
        model, source=source, run_id=None, metrics={"accuracy": 0.1 + 0.2}, tags={"team": "vision"}
    )


def test_a_registered_version_is_the_candidate_with_its_source_metrics_and_tags(registry: Registry, model: str) -> None:
    made = register(registry, model)
    assert (made.name, made.version, made.source) == (model, "1", "s3://bucket/a/model.tar.gz")
    assert made.metrics == {"accuracy": 0.1 + 0.2}
    assert made.tags["team"] == "vision"
    assert registry.by_alias(model, CANDIDATE) == made == registry.version(model, "1")
    assert made.baseline is None


def test_a_retry_with_the_same_source_finds_the_version_it_made(registry: Registry, model: str) -> None:
    first = register(registry, model)
    other = register(registry, model, "s3://bucket/b/model.tar.gz")
    assert (first.version, other.version) == ("1", "2")
    again = register(registry, model)
    assert again.version == first.version
    candidate = registry.by_alias(model, CANDIDATE)
    assert candidate is not None
    assert candidate.version == "1"


def test_the_same_source_under_another_model_is_another_version(registry: Registry, model: str) -> None:
    register(registry, model)
    assert register(registry, f"{model}-b").name == f"{model}-b"


def test_there_is_no_champion_until_one_is_promoted(registry: Registry, model: str) -> None:
    register(registry, model)
    assert registry.by_alias(model, CHAMPION) is None
    with pytest.raises(RegistryError, match="run its training DAG") as caught:
        registry.champion(model)
    assert repr(model) in str(caught.value)


def test_promotion_moves_the_champion_and_leaves_the_old_version_as_it_was(registry: Registry, model: str) -> None:
    register(registry, model)
    register(registry, model, "s3://bucket/b/model.tar.gz")
    registry.promote(model, "1", endpoint="prod-digits")
    assert registry.champion(model).version == "1"
    registry.promote(model, "2", endpoint="prod-digits-2")
    assert registry.champion(model).version == "2"
    assert registry.champion(model).tags["millrace.endpoint"] == "prod-digits-2"
    assert registry.version(model, "1").tags["millrace.endpoint"] == "prod-digits"


def test_a_baseline_is_written_to_the_version_and_read_from_it(registry: Registry, model: str) -> None:
    register(registry, model)
    registry.tag(model, "1", "millrace.baseline", "s3://bucket/baseline/")
    assert registry.version(model, "1").baseline == "s3://bucket/baseline/"


def test_a_version_that_is_not_there_is_named(registry: Registry, model: str) -> None:
    with pytest.raises(RegistryError, match=f"no version 1 of model '{model}'"):
        registry.version(model, "1")
    register(registry, model)
    with pytest.raises(RegistryError, match="no version 7"):
        registry.version(model, "7")


def test_an_alias_of_a_model_that_is_not_there_is_nothing(registry: Registry, model: str) -> None:
    assert registry.by_alias(model, CHAMPION) is None


def test_the_tracking_uri_of_the_environment_is_used_when_none_is_given(
    registry: Registry, model: str, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(registry, model)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    assert Registry().version(model, "1").source == "s3://bucket/a/model.tar.gz"
