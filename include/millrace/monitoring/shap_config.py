"""Clarify's `analysis_config.json`, as far as the monitor of attributions heeds it: how to explain, and which model to ask.

What is read: `headers`, `methods.shap` (`baseline`, `num_samples`, `agg_method`, `use_logit`) and `predictor` (`model_name`,
`instance_type`, `initial_instance_count`, `content_type`, `accept_type`, `content_template`, `label_headers`).

What it does not do: it fetches no baseline, and asks no model.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-config-json-monitor-model-explainability-parameters.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace.monitoring.attribution_file import LABEL
from millrace.monitoring.clarify_config import headers_of, label_of, needed
from millrace.profiling.errors import FormatError
from millrace.profiling.untrusted_json import Field, read_document

CSV, JSON_LINES = "text/csv", "application/jsonlines"
CONTENT_TYPES = (CSV, JSON_LINES)
PLACEHOLDER = "$features"
MEAN_ABS, MEAN_SQ = "mean_abs", "mean_sq"
AGGREGATES = (MEAN_ABS, MEAN_SQ)
SAMPLES = 100
"""Synthetic rows for each row that is explained, where the configuration names no number."""
MAX_SAMPLES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorConfig:
    """Which model is asked, and in which form."""

    model: str
    instance_type: str
    instances: int
    content_type: str
    accept: str
    template: str
    """Of a JSON line, with `$features` where the list of them goes."""
    label: str
    """What the score is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapConfig:
    """How a model is explained."""

    headers: tuple[str, ...]
    """Names of the dataset's columns, by position; empty where the data name them."""
    label: str | None
    """A column that is no feature, in a dataset that holds its labels."""
    baseline: tuple[Any, ...] | str | None
    """What a feature's absence means: rows, the URI of them, or None for a sample of the window."""
    samples: int
    aggregate: str
    logit: bool
    """Whether attributions are of log-odds."""
    predictor: PredictorConfig

    @property
    def features(self) -> tuple[str, ...]:
        """The headers without the label's: of JSON, where a path names the label, the last one."""
        if self.label is not None and self.label not in self.headers:
            return self.headers[:-1]
        return tuple(name for name in self.headers if name != self.label)


def read_shap(path: Path) -> ShapConfig:
    """The configuration of an explainability analysis.

    Raises:
        FormatError: the file is missing, says not all that is needed, or asks for what is not offered.
    """
    document = read_document(path)
    shap = needed(needed(document, "methods", "how to explain: shap"), "shap", "how to explain")
    headers = headers_of(document)
    return ShapConfig(
        headers=headers,
        label=label_of(document, headers),
        baseline=_baseline(shap),
        samples=int(shap.get("num_samples", SAMPLES).number(low=1, high=MAX_SAMPLES)),
        aggregate=shap.get("agg_method", MEAN_ABS).text(one_of=AGGREGATES),
        logit=shap.get("use_logit", False).boolean(),
        predictor=predictor_of(document),
    )


def read_predictor(path: Path) -> PredictorConfig:
    """The model to ask.

    Raises:
        FormatError: the file is missing, or names no model.
    """
    return predictor_of(read_document(path))


def _baseline(shap: Field) -> tuple[Any, ...] | str | None:
    if not shap.has("baseline"):
        return None
    baseline = shap["baseline"]
    if isinstance(baseline.value, str):
        return baseline.value
    rows = tuple(row.value for row in baseline.items())
    if not rows or not all(isinstance(row, list | dict) for row in rows):
        raise FormatError(f"{baseline.where} must be a list of rows, one at least, or an S3 URI")
    return rows


def predictor_of(document: Field) -> PredictorConfig:
    """The section `predictor`; its content type is the dataset's unless it says another."""
    predictor = needed(document, "predictor", "which model to ask")
    dataset_type = document.get("dataset_type", CSV).value
    default = dataset_type if dataset_type in CONTENT_TYPES else CSV
    content_type = predictor.get("content_type", default).text(one_of=CONTENT_TYPES)
    template = predictor.get("content_template", PLACEHOLDER).text()
    if PLACEHOLDER not in template:
        raise FormatError(f"{predictor.where}.content_template is {template!r}; it must hold {PLACEHOLDER}")
    labels = predictor["label_headers"].items() if predictor.has("label_headers") else []
    return PredictorConfig(
        model=needed(predictor, "model_name", "which model the shadow endpoint is made of").text(),
        instance_type=predictor.get("instance_type", "ml.m5.large").text(),
        instances=max(1, predictor.get("initial_instance_count", 1).count()),
        content_type=content_type,
        accept=predictor.get("accept_type", content_type).text(one_of=(*CONTENT_TYPES, "application/json")),
        template=template,
        label=labels[0].text() if labels else LABEL,
    )
