"""Join predictions with the ground truth that has come, measure the model with confidence intervals, and judge it.

With fewer labels than --least-labels nothing is judged; where there are probabilities an estimate is written, and named one.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from millrace.monitoring import estimated_quality, ground_truth, model_quality, model_quality_report, page
from millrace.monitoring import model_quality_file as files
from millrace.monitoring.certainty import State
from millrace.monitoring.commands.data import level, share
from millrace.monitoring.interval import CONFIDENCE, Measure
from millrace.monitoring.model_quality import Classified, ProblemType
from millrace.monitoring.model_quality_report import QualityResult
from millrace.profiling.dataset import Reading, read_batches
from millrace.profiling.errors import DatasetError
from millrace.verdict import FILE_NAME as VERDICT
from millrace.verdict import Finding, Verdict

LEAST_LABELS = 100
ESTIMATE = "estimate.json"
MAX_FINDINGS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--predictions", type=Path, default=Path("input/predictions"), help="folder of .csv or .parquet"
    )
    parser.add_argument(
        "--columns", type=lambda text: text.split(","), help="names for predictions in CSV files without a header line"
    )
    parser.add_argument(
        "--ground-truth", type=Path, help="folder of .csv or .parquet; left out while no label has come"
    )
    parser.add_argument("--baseline", type=Path, help="folder of the constraints (and the calibration) to judge by")
    parser.add_argument("--baseline-output", type=Path, help="write what is measured here as a baseline for later")
    parser.add_argument("--output", type=Path, default=Path("output/report"))
    parser.add_argument("--problem-type", type=ProblemType, choices=list(ProblemType), default=ProblemType.BINARY)
    parser.add_argument("--id-column", default="inference_id", help="in both folders")
    parser.add_argument("--prediction-column", default="prediction")
    parser.add_argument("--label-column", default="label")
    parser.add_argument(
        "--probability-column",
        action="append",
        default=[],
        help="of the positive class; of several classes CLASS=COLUMN, once a class",
    )
    parser.add_argument(
        "--probability-threshold",
        type=share,
        help="predict the positive class from this probability on, of two classes",
    )
    parser.add_argument("--positive-label", default="1", help="of two classes")
    parser.add_argument("--prediction-time", help="column of the predictions")
    parser.add_argument("--label-time", help="column of the ground truth")
    parser.add_argument("--least-labels", type=int, default=LEAST_LABELS, help="with fewer, nothing is judged")
    parser.add_argument("--require-labels", action="store_true", help="do not pass with too few labels")
    parser.add_argument("--confidence", type=level, default=CONFIDENCE, help="of the intervals")


def run(options: argparse.Namespace) -> None:
    problem: ProblemType = options.problem_type
    constraints = files.read_constraints(options.baseline, problem) if options.baseline else []
    calibration = estimated_quality.read_calibration(options.baseline) if options.baseline else None
    columns, classes = _columns(options)
    joined = _join(options, columns)
    rows = _classified(options, joined, classes)
    coverage = joined.coverage
    print(f"{coverage.predictions} predictions, of which {coverage.labelled} have a label")
    enough = coverage.labelled >= options.least_labels
    measures = _measures(options, joined, rows) if enough else {}
    estimated: dict[str, Measure] = {}
    if not enough and rows is not None:
        estimated = estimated_quality.estimate(
            rows,
            calibration or estimated_quality.AS_THEY_ARE,
            binary=problem is ProblemType.BINARY,
            confidence=options.confidence,
        )
    result = QualityResult(
        problem=problem,
        coverage=coverage,
        least_labels=options.least_labels,
        confidence=options.confidence,
        rows=rows,
        measures=measures,
        judgements=files.judge(constraints, measures),
        estimated=estimated,
        estimated_judgements=files.judge(constraints, estimated) if estimated else [],
        calibrated=calibration is not None,
    )
    if options.baseline_output:
        _write_baseline(options.baseline_output, result)
    options.output.mkdir(parents=True, exist_ok=True)
    files.write_statistics(options.output, problem, measures, rows if enough else None, coverage.labelled)
    files.write_violations(options.output, result.judgements)
    _write_json(options.output / "coverage.json", ground_truth.described(coverage))
    if options.baseline:
        shutil.copyfile(options.baseline / files.CONSTRAINTS, options.output / files.CONSTRAINTS)
    if estimated:
        figures = {name: files.described(found) for name, found in estimated.items()}
        _write_json(
            options.output / ESTIMATE,
            {"kind": "estimate, not measured", "calibrated": result.calibrated, "metrics": figures},
        )
    page.write_page(options.output, model_quality_report.page_of(result))
    verdict = verdict_of(result, require_labels=options.require_labels, baseline=bool(options.baseline))
    verdict.write(options.output)
    print(f"wrote {VERDICT} and the report to {options.output}: {verdict.summary}")


def verdict_of(result: QualityResult, *, require_labels: bool, baseline: bool) -> Verdict:
    """The model quality gate's verdict: only what is measured and certain keeps it from passing."""
    violated = [j for j in result.judgements if j.state is State.VIOLATED]
    watched = [j for j in result.judgements if j.state is State.WATCH]
    doubtful = [j for j in result.estimated_judgements if j.state in (State.VIOLATED, State.WATCH)]
    findings = [Finding(subject=j.constraint.metric, message=j.words) for j in violated]
    findings += [Finding(subject=j.constraint.metric, message=f"Watch, not certain: {j.words}") for j in watched]
    findings += [Finding(subject=j.constraint.metric, message=f"Estimate, not measured: {j.words}") for j in doubtful]
    if not result.measured:
        findings.insert(0, Finding(subject="labels", message=f"{result.too_few} Nothing was measured."))
    metrics = {name: found.value for name, found in result.measures.items()}
    metrics |= {f"{name}_low": found.lower for name, found in result.measures.items()}
    metrics |= {f"{name}_high": found.upper for name, found in result.measures.items()}
    metrics |= {f"estimated_{name}": found.value for name, found in result.estimated.items()}
    coverage = result.coverage
    return Verdict(
        gate="model quality",
        passed=not violated and (result.measured or not require_labels),
        summary=result.summary,
        metrics=metrics
        | {
            "predictions": coverage.predictions,
            "labelled": coverage.labelled,
            "label_coverage": coverage.share,
            "violations": len(violated),
        },
        findings=findings[:MAX_FINDINGS],
        artifacts={
            "report": page.FILE_NAME,
            "statistics": files.STATISTICS,
            "violations": files.VIOLATIONS,
            "coverage": "coverage.json",
            **({"constraints": files.CONSTRAINTS} if baseline else {}),
            **({"estimate": ESTIMATE} if result.estimated else {}),
        },
    )


def _columns(options: argparse.Namespace) -> tuple[ground_truth.Columns, list[str]]:
    """The columns to read, and the classes whose probabilities they are."""
    given: list[str] = options.probability_column
    if options.problem_type is ProblemType.MULTICLASS:
        pairs = [text.partition("=") for text in given]
        if not all(name and column for name, _, column in pairs):
            raise DatasetError("write --probability-column CLASS=COLUMN, once for every class")
        classes, names = [name for name, _, _ in pairs], [column for _, _, column in pairs]
    else:
        classes, names = [], given
    by_threshold = options.probability_threshold is not None and options.problem_type is ProblemType.BINARY
    if by_threshold and len(names) != 1:
        raise DatasetError("--probability-threshold needs one --probability-column, that of the positive class")
    return (
        ground_truth.Columns(
            inference_id=options.id_column,
            prediction=None if by_threshold else options.prediction_column,
            probabilities=tuple(names),
            predicted_at=options.prediction_time,
            label=options.label_column,
            labelled_at=options.label_time,
        ),
        classes,
    )


def _join(options: argparse.Namespace, columns: ground_truth.Columns) -> ground_truth.Joined:
    texts = {columns.inference_id} if options.problem_type is ProblemType.REGRESSION else columns.text
    known = read_batches(options.ground_truth, Reading(as_text=texts)) if options.ground_truth else iter(())
    labels = ground_truth.read_labels(known, columns)
    reading = Reading(as_text=texts, columns=options.columns)
    return ground_truth.join(read_batches(options.predictions, reading), labels, columns)


def _classified(options: argparse.Namespace, joined: ground_truth.Joined, classes: list[str]) -> Classified | None:
    if options.problem_type is ProblemType.BINARY:
        return model_quality.binary(joined, options.positive_label, options.probability_threshold)
    if options.problem_type is ProblemType.MULTICLASS:
        return model_quality.multiclass(joined, classes)
    return None


def _measures(options: argparse.Namespace, joined: ground_truth.Joined, rows: Classified | None) -> dict[str, Measure]:
    if rows is not None:
        two = options.problem_type is ProblemType.BINARY
        return model_quality.classification(rows, binary=two, confidence=options.confidence)
    if joined.predictions is None:
        raise DatasetError(f"{ProblemType.REGRESSION} takes a column of predictions, and none is named")
    predicted = model_quality.numbers(joined.predictions, "predictions")[joined.has_label]
    return model_quality.regression(predicted, model_quality.numbers(joined.labels, "labels"), options.confidence)


def _write_baseline(folder: Path, result: QualityResult) -> None:
    if not result.measured:
        raise DatasetError(f"{result.too_few} A baseline needs labels: give --ground-truth, or lower --least-labels")
    folder.mkdir(parents=True, exist_ok=True)
    files.write_statistics(folder, result.problem, result.measures, result.rows, result.coverage.labelled)
    files.write_constraints(folder, result.problem, files.suggest(result.measures))
    if result.rows is not None and result.rows.probabilities is not None:
        estimated_quality.write_calibration(folder, estimated_quality.calibrate(result.rows))
    print(f"wrote the baseline to {folder}")


def _write_json(path: Path, document: Mapping[str, object]) -> None:
    path.write_text(json.dumps(document, indent=2, allow_nan=False), encoding="utf-8")
