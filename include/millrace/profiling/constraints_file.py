"""`constraints.json`: what a dataset must satisfy, suggested from a baseline and edited by people.

What it does not do: `num_constraints.is_non_negative` is written and kept but, as in Model Monitor's list of
violation types, has no check of its own; a column that turns negative shows up as drift.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-constraints.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millrace.profiling.errors import FormatError
from millrace.profiling.summary import DatasetSummary, NumericSummary, TextSummary, completeness
from millrace.profiling.untrusted_json import Field, read_document

FILE_NAME = "constraints.json"
TYPES = ("Integral", "Fractional", "String", "Unknown")
MAX_DOMAIN = 100
"""A column with more distinct values, or with fewer than two rows a value, gets no suggested domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringConfig:
    """Thresholds, from 0 to 1; the defaults are Model Monitor's, with the method for small samples."""

    evaluate_constraints: bool = True
    perform_comparison: bool = True
    datatype_check_threshold: float = 0.1
    domain_content_threshold: float = 0.1
    comparison_threshold: float = 0.1
    comparison_method: str = "Robust"
    """`Robust`: the distance must also be significant. `Simple`: the distance alone decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConstraints:
    """What one column must satisfy."""

    name: str
    inferred_type: str
    completeness: float
    """The least share of rows with a value, from 0 to 1."""
    is_non_negative: bool | None = None
    domains: tuple[str, ...] | None = None
    config: MonitoringConfig
    """The file's monitoring_config with the feature's own overrides applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    features: dict[str, FeatureConstraints]
    config: MonitoringConfig = field(default_factory=MonitoringConfig)


def suggest(dataset: DatasetSummary) -> Constraints:
    """The constraints that a baseline dataset itself satisfies."""
    config = MonitoringConfig()
    features = {}
    for name, column in dataset.columns.items():
        small = isinstance(column, TextSummary) and column.distinct <= min(MAX_DOMAIN, column.present / 2)
        features[name] = FeatureConstraints(
            name=name,
            inferred_type=column.inferred_type,
            completeness=completeness(column),
            is_non_negative=column.minimum >= 0 if isinstance(column, NumericSummary) else None,
            domains=tuple(column.categories) if isinstance(column, TextSummary) and small else None,
            config=config,
        )
    return Constraints(features=features, config=config)


def write_constraints(folder: Path, constraints: Constraints) -> Path:
    """Write `constraints.json` into `folder` and return its path."""
    config = constraints.config
    document = {
        "version": 0.0,
        "features": [_feature(feature) for feature in constraints.features.values()],
        "monitoring_config": {
            "evaluate_constraints": _switch(config.evaluate_constraints),
            "emit_metrics": "Disabled",
            "datatype_check_threshold": config.datatype_check_threshold,
            "domain_content_threshold": config.domain_content_threshold,
            "distribution_constraints": {
                "perform_comparison": _switch(config.perform_comparison),
                "comparison_threshold": config.comparison_threshold,
                "comparison_method": config.comparison_method,
            },
        },
    }
    path = folder / FILE_NAME
    path.write_text(json.dumps(document, indent=2, allow_nan=False), encoding="utf-8")
    return path


def read_constraints(folder: Path) -> Constraints:
    """The constraints in `folder/constraints.json`; settings that are left out have their defaults.

    Raises:
        FormatError: the file is missing or not of the documented form, or names a feature twice.
    """
    document = read_document(folder / FILE_NAME)
    config = _config(document.get("monitoring_config", {}), MonitoringConfig())
    features: dict[str, FeatureConstraints] = {}
    for item in document["features"].items():
        name = item["name"].text()
        if name in features:
            raise FormatError(f"{item.where} names {name!r} a second time; keep one entry per feature")
        numbers, strings = item.get("num_constraints", {}), item.get("string_constraints", {})
        features[name] = FeatureConstraints(
            name=name,
            inferred_type=item["inferred_type"].text(one_of=TYPES),
            completeness=item["completeness"].number(0, 1),
            is_non_negative=numbers["is_non_negative"].boolean() if numbers.has("is_non_negative") else None,
            domains=tuple(v.text() for v in strings["domains"].items()) if strings.has("domains") else None,
            config=_config(item.get("monitoringConfigOverrides", {}), config),
        )
    return Constraints(features=features, config=config)


def _feature(feature: FeatureConstraints) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": feature.name,
        "inferred_type": feature.inferred_type,
        "completeness": feature.completeness,
    }
    if feature.is_non_negative is not None:
        document["num_constraints"] = {"is_non_negative": feature.is_non_negative}
    if feature.domains is not None:
        document["string_constraints"] = {"domains": list(feature.domains)}
    return document


def _config(item: Field, base: MonitoringConfig) -> MonitoringConfig:
    distribution = item.get("distribution_constraints", {})
    switches = ("Enabled", "Disabled")
    method = distribution.get("comparison_method", base.comparison_method)
    return MonitoringConfig(
        evaluate_constraints=item.get("evaluate_constraints", _switch(base.evaluate_constraints)).text(one_of=switches)
        == "Enabled",
        perform_comparison=distribution.get("perform_comparison", _switch(base.perform_comparison)).text(
            one_of=switches
        )
        == "Enabled",
        datatype_check_threshold=item.get("datatype_check_threshold", base.datatype_check_threshold).number(0, 1),
        domain_content_threshold=item.get("domain_content_threshold", base.domain_content_threshold).number(0, 1),
        comparison_threshold=distribution.get("comparison_threshold", base.comparison_threshold).number(0, 1),
        comparison_method=method.text(one_of=("Simple", "Robust")),
    )


def _switch(enabled: bool) -> str:
    return "Enabled" if enabled else "Disabled"
