"""Model Monitor's three files for model quality, and the judgement of metrics against constraints.

A constraint names a metric, a threshold, and the side of it that is wrong. It is violated only when the metric's whole
confidence interval lies on the wrong side; when the value alone does, that is worth a watch and no alarm.

Baselines that Model Monitor made are read as they are; it suggests a metric's own value as its threshold. Ours suggests
the worse end of the baseline's interval, because a baseline is a sample too: the next window would be below a
baseline's own value half of the time.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html and
.../model-monitor-model-quality-baseline.html
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace.monitoring.certainty import State, state_of
from millrace.monitoring.interval import Measure
from millrace.monitoring.model_quality import Classified, ProblemType
from millrace.profiling.errors import FormatError
from millrace.profiling.untrusted_json import read_document

STATISTICS = "statistics.json"
CONSTRAINTS = "constraints.json"
VIOLATIONS = "constraint_violations.json"
LESS, GREATER = "LessThanThreshold", "GreaterThanThreshold"
SECTIONS: Mapping[ProblemType, str] = {
    ProblemType.BINARY: "binary_classification",
    ProblemType.MULTICLASS: "multiclass_classification",
    ProblemType.REGRESSION: "regression",
}
WRONG_SIDE: Mapping[str, str] = {
    **dict.fromkeys(("accuracy", "precision", "recall", "true_negative_rate", "auc", "f0_5", "f1", "f2", "r2"), LESS),
    **dict.fromkeys(("weighted_precision", "weighted_recall", "weighted_f0_5", "weighted_f1", "weighted_f2"), LESS),
    **dict.fromkeys(("log_loss", "brier", "mae", "mse", "rmse"), GREATER),
}
"""The metrics that a baseline suggests constraints for; the true and false positive and negative rates repeat them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    metric: str
    threshold: float
    operator: str
    """The wrong side: LessThanThreshold or GreaterThanThreshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    constraint: Constraint
    measure: Measure | None
    state: State

    @property
    def words(self) -> str:
        """One line for people; begins as Model Monitor's does."""
        wanted = self.constraint
        if self.measure is None:
            return (
                f"Metric {wanted.metric} was not measured; the constraint is {wanted.operator} {wanted.threshold:.4g}"
            )
        found = self.measure
        return (
            f"Metric {wanted.metric} with {found.value:.4f} was {wanted.operator} {wanted.threshold:.4f} "
            f"(interval {found.lower:.4f} to {found.upper:.4f}, {found.method})"
        )


def suggest(measures: Mapping[str, Measure]) -> list[Constraint]:
    """Constraints that a sample like the baseline satisfies, each at the worse end of the baseline's interval."""
    return [
        Constraint(
            metric=name, threshold=found.lower if WRONG_SIDE[name] == LESS else found.upper, operator=WRONG_SIDE[name]
        )
        for name, found in measures.items()
        if name in WRONG_SIDE
    ]


def judge(constraints: Sequence[Constraint], measures: Mapping[str, Measure]) -> list[Judgement]:
    """Every constraint against what was measured, the violated ones first."""
    found = [
        Judgement(constraint=c, measure=measures.get(c.metric), state=_state(c, measures.get(c.metric)))
        for c in constraints
    ]
    return sorted(found, key=lambda judgement: list(State).index(judgement.state))


def write_statistics(
    folder: Path, problem: ProblemType, measures: Mapping[str, Measure], rows: Classified | None, labelled: int
) -> Path:
    """Write `statistics.json` into `folder` and return its path.

    Beside Model Monitor's `value` and `standard_deviation` (which it computes from five subsamples) stand the interval
    and the method that made both.
    """
    section: dict[str, Any] = {}
    if rows is not None:
        names = rows.classes
        section["confusion_matrix"] = {
            actual: {predicted: int(n) for predicted, n in zip(names, line, strict=True)}
            for actual, line in zip(names, rows.confusion, strict=True)
        }
    section |= {name: described(found) for name, found in measures.items()}
    document = {"version": 0.0, "dataset": {"item_count": labelled}, f"{SECTIONS[problem]}_metrics": section}
    return _write(folder / STATISTICS, document)


def described(found: Measure) -> dict[str, Any]:
    """A measure as JSON."""
    deviation = found.standard_deviation
    return {
        "value": found.value,
        "standard_deviation": deviation if math.isfinite(deviation) else "NaN",
        "confidence_interval": {"lower": found.lower, "upper": found.upper, "method": found.method},
    }


def write_constraints(folder: Path, problem: ProblemType, constraints: Sequence[Constraint]) -> Path:
    """Write `constraints.json` into `folder` and return its path."""
    section = {c.metric: {"threshold": c.threshold, "comparison_operator": c.operator} for c in constraints}
    return _write(folder / CONSTRAINTS, {"version": 0.0, f"{SECTIONS[problem]}_constraints": section})


def read_constraints(folder: Path, problem: ProblemType) -> list[Constraint]:
    """The constraints in `folder/constraints.json`.

    Raises:
        FormatError: the file is missing, not of the documented form, or of another problem type.
    """
    document = read_document(folder / CONSTRAINTS)
    name = f"{SECTIONS[problem]}_constraints"
    if not document.has(name):
        raise FormatError(
            f"{document.where} has no {name} (it has {', '.join(document.object()) or 'nothing'}); give the constraints "
            f"of a {problem}, written by `model-quality --baseline-output`"
        )
    section = document[name]
    return [
        Constraint(
            metric=metric,
            threshold=section[metric]["threshold"].number(),
            operator=section[metric]["comparison_operator"].text(one_of=(LESS, GREATER)),
        )
        for metric in section.object()
    ]


def write_violations(folder: Path, judgements: Sequence[Judgement]) -> Path:
    """Write `constraint_violations.json` into `folder` and return its path."""
    violations = [
        {
            "constraint_check_type": judgement.constraint.operator,
            "description": judgement.words,
            "metric_name": judgement.constraint.metric,
        }
        for judgement in judgements
        if judgement.state is State.VIOLATED
    ]
    return _write(folder / VIOLATIONS, {"violations": violations})


def _state(wanted: Constraint, found: Measure | None) -> State:
    if wanted.operator == GREATER:
        return state_of(found, -math.inf, wanted.threshold)
    return state_of(found, wanted.threshold, math.inf)


def _write(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(json.dumps(document, indent=2, allow_nan=False), encoding="utf-8")
    return path
