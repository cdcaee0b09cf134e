"""Clarify's `analysis.json` for bias, Model Monitor's bias violations, and the ranges that metrics are held to.

A metric is held to a range that somebody asked for, else to the baseline's: no further from fair than the far end of
the baseline's interval, on either side. Without both, disparate impact alone is held to the four-fifths rule; no other
metric has a range that anybody published.

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-processing-job-run.html (analysis.json) and
.../clarify-model-monitor-bias-drift-violations.html. Four-fifths rule: Uniform Guidelines on Employee Selection
Procedures, 29 CFR 1607.4(D).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace.monitoring.bias import FLIP_TEST, FLIP_TEST_DESCRIPTION, POST_TRAINING, PRE_TRAINING, Bias, Metric
from millrace.monitoring.certainty import State, state_of
from millrace.monitoring.facets import Question
from millrace.profiling.untrusted_json import Field, read_document

ANALYSIS = "analysis.json"
VIOLATIONS = "constraint_violations.json"
PRE, POST = "pre_training_bias_metrics", "post_training_bias_metrics"
METRICS: Mapping[str, Metric] = {**PRE_TRAINING, **POST_TRAINING}
NAMES = (*METRICS, FLIP_TEST)
Ranges = Mapping[str, tuple[float, float]]
FOUR_FIFTHS: Ranges = {"DI": (0.8, 1.25)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A metric, the range it is held to, and what is known of it."""

    bias: Bias
    range: tuple[float, float] | None
    state: State | None
    """None where it is held to nothing."""

    @property
    def words(self) -> str:
        """One line for people; begins as Model Monitor's does."""
        found = self.bias.measure
        if found is None or self.range is None:
            return f"{self.bias.name} was not measured: {self.bias.error}"
        return (
            f"Value {found.value:.4f} does not meet the constraint requirement: {self.range[0]:.4g} to {self.range[1]:.4g} "
            f"(interval {found.lower:.4f} to {found.upper:.4f})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetBias:
    """What was found for one facet."""

    question: Question
    pre: Sequence[Judged]
    """The metrics of the labels."""
    post: Sequence[Judged]
    """The metrics of the predictions."""

    @property
    def judged(self) -> list[Judged]:
        """What is held to a range."""
        return [one for one in (*self.pre, *self.post) if one.state is not None]

    def in_state(self, state: State) -> list[Judged]:
        return [one for one in self.judged if one.state is state]


def judge(found: Sequence[Bias], ranges: Ranges) -> list[Judged]:
    """Each metric against its range, in the order given."""
    return [_judged(bias, ranges.get(bias.name)) for bias in found]


def _judged(bias: Bias, allowed: tuple[float, float] | None) -> Judged:
    return Judged(bias=bias, range=allowed, state=state_of(bias.measure, *allowed) if allowed else None)


def analysis(found: Sequence[FacetBias]) -> dict[str, Any]:
    """The document of facets of one label, with a `confidence_interval` beside each of Clarify's fields."""
    document: dict[str, Any] = {"version": "1.0"}
    for section, stage in ((PRE, "pre"), (POST, "post")):
        facets: dict[str, list[dict[str, Any]]] = {}
        for one in found:
            metrics: Sequence[Judged] = getattr(one, stage)
            if metrics:
                entry = {
                    "value_or_threshold": one.question.facet.words,
                    "metrics": [_metric(judged.bias) for judged in metrics],
                }
                facets.setdefault(one.question.facet.column, []).append(entry)
        if facets:
            label = found[0].question.label
            document[section] = {
                "label": label.column,
                "label_value_or_threshold": label.words,
                "facets": facets,
            }
    return document


def write_analysis(folder: Path, document: Mapping[str, Any]) -> Path:
    """Write `analysis.json` into `folder` and return its path."""
    path = folder / ANALYSIS
    path.write_text(json.dumps(document, indent=2, allow_nan=False), encoding="utf-8")
    return path


def read_ranges(folder: Path, question: Question) -> dict[str, tuple[float, float]]:
    """The ranges that a baseline's `analysis.json` sets for the same facet, ours or Clarify's own.

    Raises:
        FormatError: the file is missing, or not of the documented form.
    """
    document = read_document(folder / ANALYSIS)
    ranges = {}
    for section in (PRE, POST):
        facets = document.get(section, {}).get("facets", {})
        for entry in facets.get(question.facet.column, []).items():
            if entry["value_or_threshold"].text() == question.facet.words:
                for metric in entry["metrics"].items():
                    name = metric["name"].text()
                    if name in NAMES and metric.has("value"):
                        ranges[name] = _range(name, metric)
    return ranges


def read_words(folder: Path) -> dict[str, set[str]]:
    """The words of a baseline's choices by their column: those of its facets, and of its favourable labels.

    Raises:
        FormatError: the file is missing, or not of the documented form.
    """
    document = read_document(folder / ANALYSIS)
    words: dict[str, set[str]] = {}
    for section in (document[name] for name in (PRE, POST) if document.has(name)):
        if section.has("label") and section.has("label_value_or_threshold"):
            words.setdefault(section["label"].text(), set()).add(section["label_value_or_threshold"].text())
        facets = section.get("facets", {})
        for column in facets.object():
            words.setdefault(column, set()).update(e["value_or_threshold"].text() for e in facets[column].items())
    return words


def write_violations(folder: Path, found: Sequence[FacetBias]) -> Path:
    """Write Model Monitor's `constraint_violations.json` for bias into `folder` and return its path."""
    violations = [
        {
            "facet": one.question.facet.column,
            "facet_value": one.question.facet.words,
            "metric_name": judged.bias.name,
            "constraint_check_type": "bias_drift_check",
            "description": judged.words,
        }
        for one in found
        for judged in one.in_state(State.VIOLATED)
    ]
    path = folder / VIOLATIONS
    path.write_text(json.dumps({"version": "1.0", "violations": violations}, indent=2), encoding="utf-8")
    return path


def _metric(bias: Bias) -> dict[str, Any]:
    known = METRICS.get(bias.name)
    described: dict[str, Any] = {
        "name": bias.name,
        "description": known.description if known else FLIP_TEST_DESCRIPTION,
        "value": bias.measure.value if bias.measure else None,
    }
    if bias.measure:
        found = bias.measure
        described["confidence_interval"] = {"lower": found.lower, "upper": found.upper, "method": found.method}
    else:
        described["error"] = bias.error
    return described


def _range(name: str, metric: Field) -> tuple[float, float]:
    value = metric["value"].number()
    interval = metric.get("confidence_interval", {})
    ends = [value, interval.get("lower", value).number(), interval.get("upper", value).number()]
    if name == "DI":  # a ratio: twice as much is as far from fair as half as much
        far = max((abs(math.log(end)) for end in ends if end > 0), default=math.inf)
        return math.exp(-far), math.exp(min(far, 700.0))
    far = max(abs(end) for end in ends)
    return -far, far
