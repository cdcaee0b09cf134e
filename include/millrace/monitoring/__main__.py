"""The command line of a monitoring job: `python -m millrace.monitoring baseline | drift`.

Paths are relative to the job's working directory, /opt/ml/processing. A job that did its work exits 0, whatever it
found; an input that cannot be used exits 1 with one line on stderr and in SageMaker's ExitMessage.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from millrace.monitoring import constraints_file, report, statistics_file, violations_file
from millrace.monitoring.dataset import read_batches
from millrace.monitoring.drift import ALPHA, DRIFT_SHARE, DriftResult, decide
from millrace.monitoring.errors import MonitoringError
from millrace.monitoring.profile import DatasetProfile
from millrace.monitoring.summary import DatasetSummary
from millrace.verdict import FILE_NAME as VERDICT
from millrace.verdict import Finding, Verdict

MAX_FINDINGS = 10
MAX_EXIT_MESSAGE = 1000


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "baseline":
            baseline(options)
        else:
            drift(options)
    except MonitoringError as error:
        message = " ".join(str(error).split())[:MAX_EXIT_MESSAGE]
        exit_message = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "output" / "message"
        if exit_message.parent.is_dir():
            exit_message.write_text(message, encoding="utf-8")
        print(message, file=sys.stderr)
        return 1
    return 0


def baseline(options: argparse.Namespace) -> None:
    """Write the statistics and the suggested constraints of a dataset."""
    dataset = _profile(options)
    options.output.mkdir(parents=True, exist_ok=True)
    statistics_file.write_statistics(options.output, dataset)
    path = constraints_file.write_constraints(options.output, constraints_file.suggest(dataset))
    print(f"wrote {statistics_file.FILE_NAME} and {path.name} to {options.output}")


def drift(options: argparse.Namespace) -> None:
    """Compare a dataset with a baseline and write statistics, constraints, violations, report and verdict."""
    known = statistics_file.read_statistics(options.baseline)
    constraints = constraints_file.read_constraints(options.baseline)
    for name in options.exclude:
        constraints.features.pop(name, None)
    print(f"read the baseline: {known.rows} rows, {len(constraints.features)} features")
    codes = {name for name, feature in constraints.features.items() if feature.inferred_type == "String"}
    dataset = _profile(options, as_text=codes)
    result = decide(known, dataset, constraints, alpha=options.alpha, drift_share=options.drift_share)
    options.output.mkdir(parents=True, exist_ok=True)
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
    summary = f"{drifted} of {total} features have drifted"
    if result.schema_violations:
        summary += f" and {len(result.schema_violations)} columns are missing or have changed their type"
    order = [*result.schema_violations, *(v for v in result.violations if v not in result.schema_violations)]
    return Verdict(
        gate="drift",
        passed=not result.drifted,
        summary=f"{'Drift' if result.drifted else 'No drift'}: {summary} ({dataset.rows} rows against {known.rows}).",
        metrics={
            "features": total,
            "drifted_features": drifted,
            "drifted_share": result.share,
            "largest_distance": max((feature.distance for feature in result.features), default=0.0),
            "violations": len(result.violations),
            "rows": dataset.rows,
            "baseline_rows": known.rows,
        },
        findings=[Finding(subject=v.feature_name, message=v.description) for v in order[:MAX_FINDINGS]],
        artifacts={
            "report": report.FILE_NAME,
            "violations": violations_file.FILE_NAME,
            "statistics": statistics_file.FILE_NAME,
            "constraints": constraints_file.FILE_NAME,
        },
    )


def _profile(options: argparse.Namespace, as_text: set[str] | None = None) -> DatasetSummary:
    profile = DatasetProfile()
    for batch in read_batches(options.data, exclude=options.exclude, as_text=as_text or (), columns=options.columns):
        profile.add(batch)
    print(f"profiled {options.data}: {profile.rows} rows, {len(profile.columns)} columns")
    return profile.summary()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m millrace.monitoring", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in (("baseline", "profile a dataset"), ("drift", "compare a dataset with a baseline")):
        command = commands.add_parser(name, help=words)
        command.add_argument("--data", type=Path, default=Path("input/data"), help="folder of .csv or .parquet files")
        command.add_argument("--exclude", action="append", default=[], help="a column to leave out; repeatable")
        command.add_argument("--columns", type=lambda t: t.split(","), help="names for CSV files without a header line")
    commands.choices["baseline"].add_argument("--output", type=Path, default=Path("output/baseline"))
    command = commands.choices["drift"]
    command.add_argument("--output", type=Path, default=Path("output/report"))
    command.add_argument("--baseline", type=Path, default=Path("input/baseline"), help="folder of the baseline's files")
    command.add_argument("--drift-share", type=_share, default=DRIFT_SHARE, help="share of features that makes a drift")
    command.add_argument("--alpha", type=_share, default=ALPHA, help="false discovery rate that is accepted")
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share; give a number above 0 and up to 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
