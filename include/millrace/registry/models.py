"""Model versions and their aliases: `candidate` when registered, `champion` when it serves.

A version's source is the URI of its model.tar.gz; what serves it, and its drift baseline, are written to it as tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CANDIDATE, CHAMPION = "candidate", "champion"
MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
METRIC_TAG, BASELINE_TAG, JOB_TAG = "metric.", "millrace.baseline", "millrace.job"


class RegistryError(LookupError):
    """The registry has no such model, version or alias; the message says which and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """A version as operators see it."""

    name: str
    version: str
    source: str
    run_id: str | None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float]:
        return {k.removeprefix(METRIC_TAG): float(v) for k, v in self.tags.items() if k.startswith(METRIC_TAG)}

    @property
    def baseline(self) -> str | None:
        """The URI of the drift baseline, once there is one."""
        return self.tags.get(BASELINE_TAG)


class Registry:
    """The registry at a tracking URI (None: MLFLOW_TRACKING_URI)."""

    def __init__(self, tracking_uri: str | None = None) -> None:
        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)

    def register(
        self, name: str, *, source: str, run_id: str | None, metrics: Mapping[str, float], tags: Mapping[str, str]
    ) -> ModelVersion:
        """Add a version with the alias `candidate`; a retry with the same source finds the version it made."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        for known in self._client.search_model_versions(f"name = {_quoted(name)}"):
            if known.source == source:
                version = known
                break
        else:
            all_tags = {**tags, **{f"{METRIC_TAG}{key}": repr(float(value)) for key, value in metrics.items()}}
            version = self._client.create_model_version(name, source=source, run_id=run_id, tags=all_tags)
        self._client.set_registered_model_alias(name, CANDIDATE, version.version)
        return self.version(name, version.version)

    def version(self, name: str, version: str) -> ModelVersion:
        """One version.

        Raises:
            RegistryError: there is none.
        """
        from mlflow.exceptions import MlflowException

        try:
            return _model_version(self._client.get_model_version(name, str(version)))
        except MlflowException as error:
            if error.error_code not in MISSING:
                raise
            raise RegistryError(f"the registry has no version {version} of model {name!r}") from error

    def by_alias(self, name: str, alias: str) -> ModelVersion | None:
        """The version that an alias points at, or None."""
        from mlflow.exceptions import MlflowException

        try:
            return _model_version(self._client.get_model_version_by_alias(name, alias))
        except MlflowException as error:
            if error.error_code in MISSING:
                return None
            raise

    def champion(self, name: str) -> ModelVersion:
        """The version that serves.

        Raises:
            RegistryError: none does yet.
        """
        found = self.by_alias(name, CHAMPION)
        if found is None:
            raise RegistryError(
                f"model {name!r} has no version with the alias {CHAMPION!r}; run its training DAG to the end first"
            )
        return found

    def promote(self, name: str, version: str, *, endpoint: str) -> None:
        """Move the alias `champion` to a version, and write to it what serves it."""
        self._client.set_model_version_tag(name, version, "millrace.endpoint", endpoint)
        self._client.set_registered_model_alias(name, CHAMPION, version)

    def tag(self, name: str, version: str, key: str, value: str) -> None:
        self._client.set_model_version_tag(name, version, key, value)


def _model_version(found: Any) -> ModelVersion:
    return ModelVersion(
        name=found.name, version=str(found.version), source=found.source, run_id=found.run_id, tags=dict(found.tags)
    )


def _quoted(text: str) -> str:
    """A name inside a filter of MLflow, which has no escapes: the kind of quote that the name does not hold."""
    return f'"{text}"' if "'" in text else f"'{text}'"
