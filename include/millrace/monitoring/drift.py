"""The drift decision: has this dataset moved away from its baseline?

A feature has drifted when two things hold. The distance is large enough to matter: KS (numbers) or L-infinity
(categories), or else Jensen-Shannon, is above `comparison_threshold`, 0.1 by default. And it is larger than chance
explains: the p-value of KS (or chi-squared), adjusted after Benjamini and Hochberg over all features, is below alpha,
0.01 by default. Either condition alone alarms for nothing: with a hundred rows a KS distance of 0.1 is everyday noise,
with a million rows a distance of 0.002 is significant, and 64 pixel columns are 64 chances to be unlucky.
`comparison_method` "Simple" is Model Monitor's: the first distance alone, whatever chance explains.

The second distance is there because the first is blind to some changes: a spread that grows by a quarter moves no
cumulative share by a tenth (docs/drift-detection.md has the figures).

The dataset has drifted when at least `drift_share` of the compared features have (10 % by default: one odd pixel is a
finding, not an alarm), when a column is missing or has changed its type, or when columns no longer go together as they
did (`multivariate`: the baseline's principal components reconstruct the rows worse, or better).

What it does not see: anything about labels.
"""

from __future__ import annotations

from dataclasses import dataclass

from millrace.monitoring.checks import check
from millrace.monitoring.comparison import Comparison, Indices, compare
from millrace.monitoring.distance import benjamini_hochberg
from millrace.monitoring.multivariate import ReconstructionShift
from millrace.monitoring.violations_file import DRIFT, SCHEMA_CHECKS, Violation
from millrace.profiling.constraints_file import Constraints, FeatureConstraints
from millrace.profiling.errors import FormatError
from millrace.profiling.summary import DatasetSummary

ALPHA = 0.01
JENSEN_SHANNON = "Jensen-Shannon"
DRIFT_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """How far one feature has moved."""

    name: str
    method: str
    """`KS` or `L-infinity`; `Jensen-Shannon` where that alone is above the threshold."""
    distance: float
    """From 0 (same distribution) to 1 (nothing in common)."""
    threshold: float
    p_value: float
    """Adjusted for the number of features."""
    indices: Indices | None
    """Other measures; None where no value is left."""
    change: str
    """The part of the distribution that changed most, in words."""
    drifted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftResult:
    features: list[FeatureDrift]
    """The compared features, the most distant first."""
    violations: list[Violation]
    drift_share: float
    """The share of drifted features from which on the dataset has drifted."""
    together: ReconstructionShift | None = None
    """How the columns go together, where that is known."""

    @property
    def drifted(self) -> bool:
        """Whether the dataset has drifted."""
        apart = self.together is not None and self.together.drifted()
        return bool(self.schema_violations) or apart or (self.share > 0 and self.share >= self.drift_share)

    @property
    def drifted_features(self) -> list[FeatureDrift]:
        return [feature for feature in self.features if feature.drifted]

    @property
    def share(self) -> float:
        """The share of compared features that have drifted, from 0 to 1."""
        return len(self.drifted_features) / len(self.features) if self.features else 0.0

    @property
    def schema_violations(self) -> list[Violation]:
        return [v for v in self.violations if v.constraint_check_type in SCHEMA_CHECKS]


def decide(
    baseline: DatasetSummary,
    dataset: DatasetSummary,
    constraints: Constraints,
    *,
    alpha: float = ALPHA,
    drift_share: float = DRIFT_SHARE,
) -> DriftResult:
    """Compare a dataset with its baseline.

    Raises:
        FormatError: the constraints name a feature that the baseline's statistics lack.
    """
    measured: list[tuple[FeatureConstraints, Comparison]] = []
    for name, feature in constraints.features.items():
        if name not in baseline.columns:
            raise FormatError(
                f"constraints.json names the feature {name!r} and statistics.json does not; keep the two files of one "
                "baseline together, or run the `baseline` command again"
            )
        column = dataset.columns.get(name)
        found = compare(baseline.columns[name], column) if column and feature.config.perform_comparison else None
        if found:
            measured.append((feature, found))
    adjusted = benjamini_hochberg([found.p_value for _, found in measured])
    features = [
        _judge(feature, found, p_value, alpha) for (feature, found), p_value in zip(measured, adjusted, strict=True)
    ]
    features.sort(key=lambda feature: (not feature.drifted, -feature.distance, feature.name))
    violations = [*check(dataset, constraints, alpha=alpha), *(_violation(f) for f in features if f.drifted)]
    return DriftResult(features=features, violations=violations, drift_share=drift_share)


def _judge(feature: FeatureConstraints, found: Comparison, p_value: float, alpha: float) -> FeatureDrift:
    config, method, distance = feature.config, found.method, found.distance
    significant, simple = p_value < alpha, config.comparison_method == "Simple"
    if significant and not simple and found.indices and distance <= config.comparison_threshold:
        other = found.indices.jensen_shannon
        method, distance = (JENSEN_SHANNON, other) if other > config.comparison_threshold else (method, distance)
    return FeatureDrift(
        name=feature.name,
        method=method,
        distance=distance,
        threshold=config.comparison_threshold,
        p_value=p_value,
        indices=found.indices,
        change=found.change,
        drifted=(significant or simple) and distance > config.comparison_threshold,
    )


def _violation(feature: FeatureDrift) -> Violation:
    psi = "no value is left" if feature.indices is None else f"PSI {feature.indices.psi:.3f}"
    return Violation(
        feature_name=feature.name,
        constraint_check_type=DRIFT,
        description=f"Baseline drift distance: {feature.distance:.4f} exceeds threshold: {feature.threshold}; "
        f"{feature.change} ({feature.method}, adjusted p-value {feature.p_value:.2g}, {psi})",
    )
