"""Join predictions with the ground truth that has come, measure the model with confidence intervals, and judge it.

With fewer labels than --least-labels nothing is judged; where there are probabilities an estimate is written, and named one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from millrace.monitoring import ground_truth, page, quality_judgement
from millrace.monitoring import model_quality_file as files
from millrace.monitoring.certainty import State
from millrace.monitoring.commands.data import level, share
from millrace.monitoring.interval import CONFIDENCE
from millrace.monitoring.model_quality import ProblemType
from millrace.monitoring.model_quality_report import QualityResult
from millrace.monitoring.quality_judgement import COVERAGE, ESTIMATE, LEAST_LABELS, QualityQuestion
from millrace.profiling.dataset import Reading, read_batches, settled
from millrace.profiling.errors import DatasetError
from millrace.verdict import FILE_NAME as VERDICT
from millrace.verdict import Finding, Verdict

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
    columns, classes = _columns(options)
    question = QualityQuestion(
        problem=options.problem_type,
        positive=options.positive_label,
        threshold=options.probability_threshold,
        classes=tuple(classes),
        least_labels=options.least_labels,
        confidence=options.confidence,
    )
    result = quality_judgement.judge(question, _join(options, columns), options.baseline)
    if options.baseline_output:
        quality_judgement.write_baseline(options.baseline_output, result)
    quality_judgement.write_result(options.output, result, options.baseline)
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
            "coverage": COVERAGE,
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
    folder: Path | None = options.ground_truth
    labels = (
        ground_truth.read_labels((), columns)
        if folder is None
        else settled(
            lambda reading: ground_truth.read_labels(read_batches(folder, reading), columns),
            folder,
            Reading(as_text=texts),
        )
    )
    return settled(
        lambda reading: ground_truth.join(read_batches(options.predictions, reading), labels, columns),
        options.predictions,
        Reading(as_text=texts, columns=options.columns),
    )
