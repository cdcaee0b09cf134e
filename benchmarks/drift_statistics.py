"""What each statistic of drift finds by itself, at the threshold that is usual for it, and how often it alarms for nothing.

The drift decision takes a distance and a p-value together; the report shows the others for information. Here each decides
alone, on the same windows with planted changes, so that a reader can see what a lower threshold would buy and cost. A share
is that of windows in which the changed column (or the columns together) is above the threshold; on the first line, where
nothing has changed, that of windows in which any column is.

    python -m benchmarks.drift_statistics [--windows 500,2000] [--repetitions 40]
    python -m benchmarks.drift_statistics --quick
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.figures import emit
from benchmarks.planted_windows import PLANTED, TOGETHER, Baseline, command_line, reference
from millrace.monitoring.drift import ALPHA, JENSEN_SHANNON, DriftResult, FeatureDrift
from millrace.monitoring.multivariate import domain_classifier
from millrace.monitoring.planted import Change, Stream
from millrace.monitoring.violations_file import COMPLETENESS

OF_A_COLUMN: Mapping[str, Callable[[FeatureDrift], bool]] = {
    "the decision": lambda f: f.drifted,
    "KS > 0.1": lambda f: f.distance > f.threshold and f.method != JENSEN_SHANNON,
    "p < 0.01": lambda f: f.p_value < ALPHA,
    "PSI > 0.1": lambda f: f.indices is not None and f.indices.psi > 0.1,
    "JS > 0.1": lambda f: f.indices is not None and f.indices.jensen_shannon > 0.1,
    "Wasserstein > 0.1": lambda f: f.indices is not None and (f.indices.wasserstein or 0) > 0.1,
    "effect > 0.2": lambda f: f.indices is not None and abs(f.indices.effect_size or 0) > 0.2,
}
"""KS is L-infinity for categories; p is adjusted for the number of columns; Wasserstein is in standard
deviations and of numbers only; the effect is Cohen's d or Cramér's V."""
NAMES = (*OF_A_COLUMN, "completeness", "PCA", "domain classifier")


def alarms(baseline: Baseline, sample: pa.Table, window: pa.Table) -> dict[str, set[str]]:
    """What each statistic names in a window."""
    result = baseline.judge(window)
    named = {name: {f.name for f in result.features if exceeds(f)} for name, exceeds in OF_A_COLUMN.items()}
    separation = domain_classifier(sample, window)
    return named | {
        "completeness": _incomplete(result),
        "PCA": {TOGETHER} if result.together is not None and result.together.drifted() else set(),
        "domain classifier": {TOGETHER} if separation.drifted() else set(),
    }


def _incomplete(result: DriftResult) -> set[str]:
    return {v.feature_name for v in result.violations if v.constraint_check_type == COMPLETENESS}


def found(named: set[str], column: str, statistic: str) -> bool:
    """Whether what changed is named; a statistic of all columns together is right about any change."""
    if not column:
        return bool(named)
    return TOGETHER in named if statistic in ("PCA", "domain classifier") else column in named


def main() -> None:
    sizes, repetitions = command_line(__doc__, windows="500,2000", repetitions=40)
    print("| planted | rows | " + " | ".join(NAMES) + " |")
    print("|---" * (2 + len(NAMES)) + "|")
    results: dict[str, Any] = {}
    for rows in sizes:
        known = reference(rows)
        baseline, sample = Baseline.of(known), known.slice(0, 2 * rows)
        for kind, size, column in PLANTED:
            streams = [Stream(1 + number, Change(kind=kind, size=size)) for number in range(repetitions)]
            windows = [alarms(baseline, sample, stream.day(1, rows)) for stream in streams]
            shares = {name: float(np.mean([found(w[name], column, name) for w in windows])) for name in NAMES}
            print(
                f"| {kind} {size:g} | {rows:,} | " + " | ".join(f"{share:.0%}" for share in shares.values()) + " |",
                flush=True,
            )
            results |= {f"{kind} {size:g}, {rows} rows, {name}": share for name, share in shares.items()}
    emit("drift_statistics", results)


if __name__ == "__main__":
    main()
