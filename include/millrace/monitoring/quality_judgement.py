"""Model quality from joined predictions to files: measured and judged, or estimated where labels are too few.

The command `model-quality` and Model Monitor's analysis of that name share it. With fewer labels than are asked for nothing
is judged; where there are probabilities an estimate is written, and named one.

What it does not do: it reads no predictions and no labels (`ground_truth` joins them), and decides nothing about the job.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace.monitoring import estimated_quality, ground_truth, model_quality, model_quality_report, page
from millrace.monitoring import model_quality_file as files
from millrace.monitoring.ground_truth import Joined
from millrace.monitoring.interval import CONFIDENCE, Measure
from millrace.monitoring.model_quality import Classified, ProblemType
from millrace.monitoring.model_quality_report import QualityResult
from millrace.profiling.errors import DatasetError

LEAST_LABELS = 100
COVERAGE = "coverage.json"
ESTIMATE = "estimate.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityQuestion:
    """What is asked of joined predictions."""

    problem: ProblemType
    positive: str = "1"
    """Of two classes."""
    threshold: float | None = None
    """Of two classes: the positive one is predicted from this probability on."""
    classes: tuple[str, ...] = ()
    """Of several: those whose probabilities there are, in the order of their columns."""
    least_labels: int = LEAST_LABELS
    confidence: float = CONFIDENCE


def judge(question: QualityQuestion, joined: Joined, baseline: Path | None) -> QualityResult:
    """Measure joined predictions, or estimate their quality, and hold it against a baseline.

    Args:
        baseline: a folder with constraints.json, and the calibration if there is one.

    Raises:
        DatasetError: the predictions or labels are not of the problem type.
        FormatError: the baseline cannot be used.
    """
    problem = question.problem
    constraints = files.read_constraints(baseline, problem) if baseline else []
    calibration = estimated_quality.read_calibration(baseline) if baseline else None
    rows = _classified(question, joined)
    coverage = joined.coverage
    print(f"{coverage.predictions} predictions, of which {coverage.labelled} have a label")
    enough = coverage.labelled >= question.least_labels
    measures = _measures(question, joined, rows) if enough else {}
    estimated: dict[str, Measure] = {}
    if not enough and rows is not None:
        estimated = estimated_quality.estimate(
            rows,
            calibration or estimated_quality.AS_THEY_ARE,
            binary=problem is ProblemType.BINARY,
            confidence=question.confidence,
        )
    return QualityResult(
        problem=problem,
        coverage=coverage,
        least_labels=question.least_labels,
        confidence=question.confidence,
        rows=rows,
        measures=measures,
        judgements=files.judge(constraints, measures),
        estimated=estimated,
        estimated_judgements=files.judge(constraints, estimated) if estimated else [],
        calibrated=calibration is not None,
    )


def write_result(folder: Path, result: QualityResult, baseline: Path | None) -> None:
    """Write statistics, violations, coverage, an estimate if there is one, the report, and the baseline's constraints."""
    folder.mkdir(parents=True, exist_ok=True)
    coverage = result.coverage
    files.write_statistics(
        folder, result.problem, result.measures, result.rows if result.measured else None, coverage.labelled
    )
    files.write_violations(folder, result.judgements)
    _write_json(folder / COVERAGE, ground_truth.described(coverage))
    if baseline:
        shutil.copyfile(baseline / files.CONSTRAINTS, folder / files.CONSTRAINTS)
    if result.estimated:
        figures = {name: files.described(found) for name, found in result.estimated.items()}
        _write_json(
            folder / ESTIMATE,
            {"kind": "estimate, not measured", "calibrated": result.calibrated, "metrics": figures},
        )
    page.write_page(folder, model_quality_report.page_of(result))


def write_baseline(folder: Path, result: QualityResult) -> None:
    """Write what was measured as a baseline for later: statistics, constraints, and the calibration of probabilities.

    Raises:
        DatasetError: nothing was measured.
    """
    if not result.measured:
        raise DatasetError(f"{result.too_few} A baseline needs labels: give more of them, or ask for fewer at least")
    folder.mkdir(parents=True, exist_ok=True)
    files.write_statistics(folder, result.problem, result.measures, result.rows, result.coverage.labelled)
    files.write_constraints(folder, result.problem, files.suggest(result.measures))
    if result.rows is not None and result.rows.probabilities is not None:
        estimated_quality.write_calibration(folder, estimated_quality.calibrate(result.rows))
    print(f"wrote the baseline to {folder}")


def _classified(question: QualityQuestion, joined: Joined) -> Classified | None:
    if question.problem is ProblemType.BINARY:
        return model_quality.binary(joined, question.positive, question.threshold)
    if question.problem is ProblemType.MULTICLASS:
        return model_quality.multiclass(joined, question.classes)
    return None


def _measures(question: QualityQuestion, joined: Joined, rows: Classified | None) -> dict[str, Measure]:
    if rows is not None:
        two = question.problem is ProblemType.BINARY
        return model_quality.classification(rows, binary=two, confidence=question.confidence)
    if joined.predictions is None:
        raise DatasetError(f"{ProblemType.REGRESSION} takes a column of predictions, and none is named")
    predicted = model_quality.numbers(joined.predictions, "predictions")[joined.has_label]
    return model_quality.regression(predicted, model_quality.numbers(joined.labels, "labels"), question.confidence)


def _write_json(path: Path, document: Mapping[str, object]) -> None:
    path.write_text(json.dumps(document, indent=2, allow_nan=False), encoding="utf-8")
