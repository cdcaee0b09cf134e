"""Clarify's `analysis_config.json`, as far as the monitor of bias heeds it (`shap_config` reads the rest).

What is read: `headers`, `label`, `label_values_or_threshold`, `facet`, `group_variable` and the lists of `methods`. Columns
come by name, or by position in the dataset with its label. The rest is Clarify's own business and left alone.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-config-json-monitor-bias-parameters.html and
.../clarify-processing-job-configure-analysis.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from millrace.monitoring.bias import FLIP_TEST, POST_TRAINING, PRE_TRAINING
from millrace.profiling.errors import FormatError
from millrace.profiling.untrusted_json import Field, read_document

Value = str | float
ALL = "all"
METHODS: Mapping[str, Sequence[str]] = {
    "pre_training_bias": tuple(PRE_TRAINING),
    "post_training_bias": (*POST_TRAINING, FLIP_TEST),
}
MAX_NAMES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetConfig:
    """A sensitive column, and the rows of it that are compared with everyone else."""

    column: str
    values: tuple[Value, ...]
    """Or a threshold; empty where each value is a facet of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasConfig:
    """Whose outcomes are compared."""

    headers: tuple[str, ...]
    """Names of the dataset's columns with the label's, by position; empty where the data name them."""
    label: str
    favourable: tuple[Value, ...]
    """Labels, or a threshold."""
    facets: tuple[FacetConfig, ...]
    group: str | None
    metrics: frozenset[str]
    """The metrics that are asked for."""

    @property
    def features(self) -> tuple[str, ...]:
        """The headers without the label: names of the cells of rows that lack it."""
        return tuple(name for name in self.headers if name != self.label)

    @property
    def needs_predictions(self) -> bool:
        return not self.metrics.isdisjoint(METHODS["post_training_bias"])


def read_bias(path: Path) -> BiasConfig:
    """The configuration of a bias analysis.

    Raises:
        FormatError: the file is missing, or says not all of what a bias analysis needs.
    """
    document = read_document(path)
    headers = headers_of(document) or _positions(document)
    label = _column(needed(document, "label", "the column of the label"), headers)
    favourable = _values(needed(document, "label_values_or_threshold", "which labels are favourable"))
    facets = needed(document, "facet", "the sensitive columns").items()
    if not facets or not favourable:
        empty = "facet" if not facets else "label_values_or_threshold"
        raise FormatError(f"{document.where}.{empty} is an empty list; name one at least")
    return BiasConfig(
        headers=headers,
        label=label,
        favourable=favourable,
        facets=tuple(_facet(facet, headers) for facet in facets),
        group=_column(document["group_variable"], headers) if document.has("group_variable") else None,
        metrics=frozenset(_metrics(document)),
    )


def headers_of(document: Field) -> tuple[str, ...]:
    """The names of the dataset's columns; empty where the data name them."""
    names = [name.text() for name in document.get("headers", []).items()] if document.has("headers") else []
    if len(names) > MAX_NAMES or len(set(names)) < len(names):
        raise FormatError(f"{document.where}.headers names a column twice, or more than {MAX_NAMES}")
    return tuple(names)


def label_of(document: Field, headers: Sequence[str]) -> str | None:
    """The column of the label; None where none is named."""
    return _column(document["label"], headers) if document.has("label") else None


def _positions(document: Field) -> tuple[str, ...]:
    """Names for the columns of a dataset whose label is known by its position.

    They are needed as headers are: rows that lack the label have fewer cells, whose columns are to be called the same.
    """
    is_position = isinstance(document.get("label", None).value, int)
    return tuple(f"_c{index}" for index in range(MAX_NAMES)) if is_position else ()


def needed(document: Field, name: str, what: str) -> Field:
    """A member that must be there; `what` it says goes into the error."""
    if not document.has(name):
        raise FormatError(f"{document.where} has no {name}; say {what}")
    return document[name]


def _column(field: Field, headers: Sequence[str]) -> str:
    """A column by its name, or by its position."""
    if isinstance(field.value, str):
        return field.value
    index = field.count()
    if not headers:
        return f"_c{index}"
    if index >= len(headers):
        raise FormatError(f"{field.where} is {index}, and there are {len(headers)} headers; positions count from 0")
    return headers[index]


def _facet(facet: Field, headers: Sequence[str]) -> FacetConfig:
    column = _column(needed(facet, "name_or_index", "which column it is"), headers)
    values = _values(facet["value_or_threshold"]) if facet.has("value_or_threshold") else ()
    return FacetConfig(column=column, values=values)


def _values(field: Field) -> tuple[Value, ...]:
    items = field.items() if isinstance(field.value, list) else [field]
    return tuple(str(one.value) if isinstance(one.value, str | bool) else one.number() for one in items)


def _metrics(document: Field) -> list[str]:
    """All of both stages where no methods are named, as the SDK's monitors do; else those of the stages that are named."""
    if not document.has("methods"):
        return [name for names in METHODS.values() for name in names]
    found: list[str] = []
    for stage, known in METHODS.items():
        if document["methods"].has(stage):
            found += _of_stage(document["methods"][stage], known)
    if not found:
        raise FormatError(
            f"{document.where}.methods names no metric; give {' or '.join(METHODS)}, or leave methods out"
        )
    return found


def _of_stage(stage: Field, known: Sequence[str]) -> list[str]:
    chosen = stage.get("methods", ALL)
    if chosen.value == ALL:
        return list(known)
    return [name.text(one_of=tuple(known)) for name in chosen.items()]
