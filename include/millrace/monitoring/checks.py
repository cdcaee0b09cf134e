"""Constraints other than drift: columns, types, completeness and categories of a dataset against `constraints.json`.

Each check returns the violation or nothing. What is not here: distances between distributions (`drift`), and the
question whether a violation matters (`drift.decide`).
"""

from __future__ import annotations

from collections.abc import Iterator

from scipy.special import bdtr

from millrace.monitoring.violations_file import (
    CATEGORIES,
    COMPLETENESS,
    DATA_TYPE,
    EXTRA_COLUMN,
    MISSING_COLUMN,
    Violation,
)
from millrace.profiling.constraints_file import Constraints, FeatureConstraints
from millrace.profiling.summary import (
    ColumnSummary,
    DatasetSummary,
    NumericSummary,
    TextSummary,
    completeness,
)


def check(dataset: DatasetSummary, constraints: Constraints, *, alpha: float) -> Iterator[Violation]:
    """Every violation of a constraint other than drift, in the order of the constraints."""
    for feature in constraints.features.values():
        column = dataset.columns.get(feature.name)
        if column is None:
            yield _violation(feature, MISSING_COLUMN, "The baseline has this column and the dataset does not.")
        elif feature.config.evaluate_constraints:
            for found in (_data_type(feature, column), _completeness(feature, column, alpha), _values(feature, column)):
                if found:
                    yield found
    for name in dataset.columns.keys() - constraints.features.keys():
        yield Violation(
            feature_name=name,
            constraint_check_type=EXTRA_COLUMN,
            description="The dataset has this column and the baseline does not.",
        )


def _data_type(feature: FeatureConstraints, column: ColumnSummary) -> Violation | None:
    """Whole numbers are welcome in a fractional column; a few fractions are borne in an integral one."""
    expected, required = feature.inferred_type, 1 - feature.config.datatype_check_threshold
    if expected == "Unknown" or not column.present:
        return None
    if isinstance(column, NumericSummary) and expected != "String":
        share = 1.0 if expected == "Fractional" else column.integral / column.present
    else:
        share = float(column.inferred_type == expected)
    if share >= required:
        return None
    return _violation(
        feature,
        DATA_TYPE,
        f"Data type match requirement is not met. Expected data type: {expected}, Expected match: {required:.1%}. "
        f"Observed: Only {share:.1%} of data is {expected}; the column is {column.inferred_type}.",
    )


def _completeness(feature: FeatureConstraints, column: ColumnSummary, alpha: float) -> Violation | None:
    """Fewer values than the baseline's share, by more than chance explains (one-sided binomial test)."""
    seen, rows = completeness(column), column.present + column.missing
    if seen >= feature.completeness or bdtr(column.present, rows, feature.completeness) >= alpha:
        return None
    return _violation(
        feature,
        COMPLETENESS,
        f"Value: {seen:.4f} does not meet the constraint requirement: completeness >= {feature.completeness:.4f} "
        f"({column.missing} of {rows} values are missing).",
    )


def _values(feature: FeatureConstraints, column: ColumnSummary) -> Violation | None:
    if feature.domains is None or not isinstance(column, TextSummary):
        return None
    known = set(feature.domains)
    foreign = {value: count for value, count in column.categories.items() if value not in known}
    share = (sum(foreign.values()) + column.other) / column.present
    if share <= feature.config.domain_content_threshold:
        return None
    examples = ", ".join(repr(value) for value in list(foreign)[:5])
    return _violation(
        feature,
        CATEGORIES,
        f"{share:.1%} of the values are not in the baseline's {len(known)} categories (threshold "
        f"{feature.config.domain_content_threshold:.1%}): {examples}.",
    )


def _violation(feature: FeatureConstraints, kind: str, description: str) -> Violation:
    return Violation(feature_name=feature.name, constraint_check_type=kind, description=description)
