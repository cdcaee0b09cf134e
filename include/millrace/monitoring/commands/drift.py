"""Compare a dataset with a baseline and write statistics, constraints, violations, profile, report and verdict.

A window of fewer than `--least-rows` rows is not judged: its verdict passes, says so, and has the metric `judged` 0. A few
rows would show only drift that is very large, and silence about the rest would read as health.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from millrace.monitoring import multivariate, report, violations_file
from millrace.monitoring.commands.data import (
    add_capture_argument,
    add_data_arguments,
    add_profiles_argument,
    row_count,
    share,
    stored_profile,
)
from millrace.monitoring.drift import ALPHA, DRIFT_SHARE, DriftResult, decide
from millrace.monitoring.multivariate import ReconstructionShift
from millrace.monitoring.sample import Reservoir
from millrace.profiling import constraints_file, profile_file, statistics_file
from millrace.profiling.errors import DatasetError
from millrace.profiling.summary import DatasetSummary
from millrace.verdict import FILE_NAME as VERDICT
from millrace.verdict import Finding, Verdict

MAX_FINDINGS = 10
LEAST_ROWS = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    add_capture_argument(parser)
    add_profiles_argument(parser)
    parser.add_argument("--output", type=Path, default=Path("output/report"))
    parser.add_argument("--baseline", type=Path, default=Path("input/baseline"), help="folder of the baseline's files")
    parser.add_argument("--least-rows", type=row_count, default=LEAST_ROWS, help="rows below which nothing is judged")
    parser.add_argument("--drift-share", type=share, default=DRIFT_SHARE, help="share of features that makes a drift")
    parser.add_argument("--alpha", type=share, default=ALPHA, help="false discovery rate that is accepted")


def run(options: argparse.Namespace) -> None:
    known = statistics_file.read_statistics(options.baseline)
    constraints = constraints_file.read_constraints(options.baseline)
    by_position = list(constraints.features)
    for name in options.exclude:
        constraints.features.pop(name, None)
    print(f"read the baseline: {known.rows} rows, {len(constraints.features)} features")
    codes = {name for name, feature in constraints.features.items() if feature.inferred_type == "String"}
    stored, sample = stored_profile(options, as_text=codes, names=by_position)
    options.output.mkdir(parents=True, exist_ok=True)
    profile_file.write_profile(options.output, stored)
    if stored.profile.rows < options.least_rows:
        verdict = _not_judged(stored.profile.rows, options.least_rows)
        verdict.write(options.output)
        print(verdict.summary)
        return
    dataset = stored.profile.summary()
    result = decide(known, dataset, constraints, alpha=options.alpha, drift_share=options.drift_share)
    if sample is not None and not result.schema_violations:
        result = replace(result, together=_together(options.baseline, sample))
    statistics_file.write_statistics(options.output, dataset)
    shutil.copyfile(options.baseline / constraints_file.FILE_NAME, options.output / constraints_file.FILE_NAME)
    violations_file.write_violations(options.output, result.violations)
    report.write_report(options.output, result, known, dataset)
    verdict = verdict_of(result, known, dataset)
    verdict.write(options.output)
    print(f"wrote {VERDICT} and the report to {options.output}: {verdict.summary}")


def verdict_of(result: DriftResult, known: DatasetSummary, dataset: DatasetSummary) -> Verdict:
    """The drift gate's verdict: schema violations first among the findings, then the most distant features."""
    drifted, total = len(result.drifted_features), len(result.features)
    order = [*result.schema_violations, *(v for v in result.violations if v not in result.schema_violations)]
    summary = f"{drifted} of {total} features have drifted"
    if result.schema_violations:
        summary += f" and {len(result.schema_violations)} columns are missing or have changed their type"
    findings = [Finding(subject=v.feature_name, message=v.description) for v in order[:MAX_FINDINGS]]
    if result.together is not None and result.together.drifted():
        summary += ", and columns no longer go together as they did"
        findings.insert(0, Finding(subject="columns together", message=result.together.words))
    return Verdict(
        gate="drift",
        passed=not result.drifted,
        summary=f"{'Drift' if result.drifted else 'No drift'}: {summary} ({dataset.rows} rows against {known.rows}).",
        metrics={
            "judged": 1,
            "features": total,
            "drifted_features": drifted,
            "drifted_share": result.share,
            "largest_distance": max((feature.distance for feature in result.features), default=0.0),
            "violations": len(result.violations),
            "rows": dataset.rows,
            "baseline_rows": known.rows,
            **({"reconstruction_shift": result.together.shift} if result.together else {}),
        },
        findings=findings,
        artifacts={
            "report": report.FILE_NAME,
            "violations": violations_file.FILE_NAME,
            "statistics": statistics_file.FILE_NAME,
            "constraints": constraints_file.FILE_NAME,
            "profile": profile_file.FILE_NAME,
        },
    )


def _together(folder: Path, sample: Reservoir) -> ReconstructionShift | None:
    """How the window's columns go together; None where the baseline does not say, or the window has too few rows."""
    if not (folder / multivariate.FILE_NAME).is_file():
        return None
    rows = sample.rows()
    if rows.num_rows < multivariate.LEAST_ROWS:
        return None
    fit = multivariate.read_reconstruction(folder)
    try:
        return multivariate.reconstruction_shift(fit, rows)
    except DatasetError as error:  # the columns one by one have been judged: that verdict must not be lost
        print(f"how columns go together was not looked at: {error}")
        return None


def _not_judged(rows: int, least: int) -> Verdict:
    return Verdict(
        gate="drift",
        passed=True,
        summary=f"Not judged: the window has {rows} rows, and at least {least} are needed.",
        metrics={"judged": 0, "rows": rows},
        artifacts={"profile": profile_file.FILE_NAME},
    )
