"""The suite that a baseline proposes: what its dataset itself satisfied, from statistics.json and constraints.json alone.

A proposal is a beginning, to be edited by someone who knows the data: a baseline cannot know which of its accidents
matter. What would break the code that reads the data is critical (columns, and values where there always were some); what
is only unlike the baseline warns. Held against what a model is asked to score, the same suite finds training-serving skew:
categories that training has not seen, values outside its range, values missing where they were not.
"""

from __future__ import annotations

from typing import Any

from millrace.profiling.constraints_file import Constraints, FeatureConstraints
from millrace.profiling.summary import DatasetSummary, NumericSummary
from millrace.quality.expectation import Expectation, Suite

NOTE = "notes"
SHARE_DIGITS = 4
MEAN_TOLERANCE = 0.5
"""How many standard deviations of the baseline's values the mean may move before it warns."""


def proposed(baseline: DatasetSummary, constraints: Constraints, *, name: str, tolerance: float = 0.0) -> Suite:
    """The suite that a baseline satisfies.

    Args:
        baseline: what is known of its dataset.
        constraints: its constraints.json, maybe edited; columns without constraints get no expectation.
        name: the suite's.
        tolerance: the share of rows, from 0 to 1, that may lie outside the baseline's range or categories, or be missing
            beyond the baseline's own share.
    """
    names = list(constraints.features)
    found = [_expect("table_columns_to_match_set", "critical", column_set=names, exact_match=False)]
    for feature in constraints.features.values():
        found += _of_feature(feature, baseline, tolerance)
    return Suite(name=name, expectations=tuple(found))


def _of_feature(feature: FeatureConstraints, baseline: DatasetSummary, tolerance: float) -> list[Expectation]:
    column, name = baseline.columns.get(feature.name), feature.name
    found = []
    if feature.completeness > 0:
        complete = feature.completeness == 1
        mostly = _mostly(feature.completeness - tolerance)
        note = f"the baseline has a value in {feature.completeness:.2%} of its rows"
        found.append(
            _expect("column_values_to_not_be_null", "critical" if complete else "warning", note, column=name, **mostly)
        )
    rest = _mostly(1 - tolerance)
    if feature.domains is not None:
        note = f"the {len(feature.domains)} categories of the baseline"
        members = list(feature.domains)
        found.append(_expect("column_values_to_be_in_set", "warning", note, column=name, value_set=members, **rest))
    if isinstance(column, NumericSummary):
        low, high, reach = column.minimum, column.maximum, MEAN_TOLERANCE * column.std_dev
        bounds = {"min_value": low, "max_value": high}
        found.append(
            _expect("column_values_to_be_between", "warning", "the baseline's range", column=name, **bounds, **rest)
        )
        note = f"the baseline's mean, give or take {MEAN_TOLERANCE:g} standard deviations"
        bounds = {"min_value": column.mean - reach, "max_value": column.mean + reach}
        found.append(_expect("column_mean_to_be_between", "warning", note, column=name, **bounds))
    return found


def _mostly(share: float) -> dict[str, float]:
    """The argument, rounded down so that the baseline itself satisfies it; none for every row."""
    rounded = int(max(share, 0.0) * 10**SHARE_DIGITS) / 10**SHARE_DIGITS
    return {} if rounded >= 1 else {"mostly": rounded}


def _expect(what: str, severity: str, note: str | None = None, **kwargs: Any) -> Expectation:
    return Expectation(type=f"expect_{what}", kwargs=kwargs, severity=severity, meta={NOTE: note} if note else {})
