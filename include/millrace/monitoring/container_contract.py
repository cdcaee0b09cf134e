"""What Model Monitor tells its container: the environment variables of a monitoring or baselining job, checked.

`dataset_format` says how to read `dataset_source`; with `baseline_constraints` or `baseline_statistics` the dataset is held
against them, without either it becomes a baseline. Paths are given as below /opt/ml, wherever the job's tree really lies.

What it does not do: it reads no data. Variables that it does not know are the user's own, and are left alone.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-contract-inputs.html
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from millrace.job_exit import InputError

BASE = "/opt/ml"
METRICS = "output/metrics/cloudwatch"
SWITCHES = ("Enabled", "Disabled")
DATA_QUALITY = "DATA_QUALITY"
ANALYSES = (DATA_QUALITY, "MODEL_QUALITY", "MODEL_BIAS", "MODEL_EXPLAINABILITY")
INFERENCE_ID = "SageMakerInferenceId"
"""The column that batch transform adds to its output where it is asked for ids (GenerateInferenceId)."""
SCRIPTS = ("record_preprocessor_script", "post_analytics_processor_script")
"""A user's own code inside Model Monitor's image; the analyzer runs none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFormat:
    """How `dataset_source` is to be read."""

    kind: Literal["csv", "json", "parquet", "capture"]
    header: bool = True
    """Of CSV: the first line names the columns."""
    by_line: bool = True
    """Of JSON: every line is a document."""
    parts: tuple[str, ...] = ()
    """Of a capture: `endpointInput`, `endpointOutput` or both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """Where a record holds what belongs to a model: a name, a path (`$.a.b`, `a[0]`), or a position from 0."""

    features: str | None = None
    """Of JSON, the list or object that holds them; all of the input without it."""
    inference: str | None = None
    """The predicted label, or the predicted number."""
    probability: str | None = None
    ground_truth: str | None = None
    """The label, in a baseline's dataset and in ground truth; there the first value without it."""
    inference_id: str = INFERENCE_ID
    """Of files, which unlike captured lines have no id beside their data. Our own variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """A job's environment, as far as the analyzer heeds it."""

    analysis: str
    """One of `ANALYSES`."""
    source: Path
    format: DatasetFormat
    output: Path
    constraints: Path | None
    """A constraints.json, or a folder that holds one."""
    statistics: Path | None
    since: datetime | None
    until: datetime | None
    exclude: tuple[str, ...]
    metrics: Path | None
    """The folder for CloudWatch's metrics; None when none are wanted."""
    endpoint: str | None
    schedule: str | None
    attributes: Attributes
    probability_threshold: float | None
    problem_type: str | None
    ground_truth: Path | None
    """The folder of ground truth; None where a dataset holds its labels itself."""
    config: Path | None
    """Clarify's analysis_config.json."""
    asks_model: bool
    """Whether predictions are asked of the model; a monitoring job has those that it gave."""
    positive_label: str
    """Of a binary classification. Our own variable."""
    least_labels: int | None
    """With fewer nothing is judged; None leaves it to the analysis. Our own variable."""


def read(environment: Mapping[str, str]) -> Contract:
    """The contract in a job's environment.

    Raises:
        InputError: a variable is missing or cannot be used, or asks for what the analyzer does not do.
    """
    for name in SCRIPTS:
        if environment.get(name):
            raise InputError(f"{name} is {environment[name]!r}; the analyzer runs no scripts yet: leave it out")
    analysis = environment.get("analysis_type", DATA_QUALITY)
    if analysis not in ANALYSES:
        raise InputError(f"analysis_type is {analysis!r}; the analyzer does {', '.join(ANALYSES)}")
    publish = environment.get("publish_cloudwatch_metrics", "Disabled")
    if publish not in SWITCHES:
        raise InputError(f"publish_cloudwatch_metrics is {publish!r}; it must be one of {', '.join(SWITCHES)}")
    root = Path(environment.get("SAGEMAKER_BASE_DIR", BASE))
    exclude = environment.get("exclude_features_attribute", "")
    return Contract(
        analysis=analysis,
        source=_path(root, _needed(environment, "dataset_source")),
        format=_format(_needed(environment, "dataset_format")),
        output=_path(root, environment.get("output_path", f"{BASE}/processing/output")),
        constraints=_optional_path(root, environment.get("baseline_constraints")),
        statistics=_optional_path(root, environment.get("baseline_statistics")),
        since=_time(environment, "start_time"),
        until=_time(environment, "end_time"),
        exclude=tuple(name.strip() for name in exclude.split(",") if name.strip()),
        metrics=root / METRICS if publish == "Enabled" else None,
        endpoint=environment.get("sagemaker_endpoint_name") or None,
        schedule=environment.get("sagemaker_monitoring_schedule_name") or None,
        attributes=Attributes(
            features=environment.get("features_attribute") or None,
            inference=environment.get("inference_attribute") or None,
            probability=environment.get("probability_attribute") or None,
            ground_truth=environment.get("ground_truth_attribute") or None,
            inference_id=environment.get("inference_id_attribute") or INFERENCE_ID,
        ),
        probability_threshold=_number(environment, "probability_threshold_attribute"),
        problem_type=environment.get("problem_type") or None,
        ground_truth=_optional_path(root, environment.get("ground_truth_source")),
        config=_optional_path(root, environment.get("analysis_config")),
        asks_model=False,
        positive_label=environment.get("positive_label") or "1",
        least_labels=_count(environment, "least_labels"),
    )


def of_this_job() -> Contract:
    return read(os.environ)


def _needed(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise InputError(f"the environment variable {name} is missing; Model Monitor's contract asks for it")
    return environment[name]


def _path(root: Path, given: str) -> Path:
    path = Path(given)
    return root / path.relative_to(BASE) if path.is_relative_to(BASE) else path


def _optional_path(root: Path, given: str | None) -> Path | None:
    return _path(root, given) if given else None


def _time(environment: Mapping[str, str], name: str) -> datetime | None:
    text = environment.get(name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{name} is {text!r}; it must look like 2026-01-31T15:00:00Z") from error
    if moment.tzinfo is None:
        raise InputError(f"{name} is {text!r}, without a time zone; it must look like 2026-01-31T15:00:00Z")
    return moment


def _number(environment: Mapping[str, str], name: str) -> float | None:
    text = environment.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{name} is {text!r}; it must be a number")
    return value


def _count(environment: Mapping[str, str], name: str) -> int | None:
    value = _number(environment, name)
    if value is not None and (value < 1 or value != int(value)):
        raise InputError(f"{name} is {environment[name]!r}; it must be a whole number from 1 on")
    return None if value is None else int(value)


def _format(text: str) -> DatasetFormat:
    """`{"csv": {"header": true}}`, `{"json": {"line": true}}`, `{"parquet": {}}` or `{"sagemakerCaptureJson": {…}}`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"dataset_format is {text[:200]!r}, which is not JSON: {error}") from error
    if not isinstance(document, dict) or len(document) != 1:
        raise InputError(f"dataset_format is {text[:200]!r}; it must be an object with one format")
    kind, options = next(iter(document.items()))
    options = options if isinstance(options, dict) else {}
    if kind == "csv":
        return DatasetFormat(kind="csv", header=_switch(options, ("header",), True))
    if kind == "json":
        return DatasetFormat(kind="json", by_line=_switch(options, ("line", "lines"), True))
    if kind == "parquet":
        return DatasetFormat(kind="parquet")
    if kind == "sagemakerCaptureJson":
        return DatasetFormat(kind="capture", parts=_parts(options))
    raise InputError(f"dataset_format names {kind!r}; known are csv, json, parquet and sagemakerCaptureJson")


def _switch(options: Mapping[str, Any], names: tuple[str, ...], default: bool) -> bool:
    """True and false come as JSON's, and as the words for them."""
    value = next((options[name] for name in names if name in options), default)
    if str(value).lower() not in ("true", "false"):
        raise InputError(f"dataset_format has {names[0]}={value!r}; it must be true or false")
    return str(value).lower() == "true"


def _parts(options: Mapping[str, Any]) -> tuple[str, ...]:
    known = ("endpointInput", "endpointOutput")
    parts = options.get("captureIndexNames", list(known))
    if not isinstance(parts, list) or not parts or any(part not in known for part in parts):
        raise InputError(f"captureIndexNames is {parts!r}; it must be a list of {' and '.join(known)}")
    return tuple(parts)
