"""Model quality, as Model Monitor's container does it: predictions joined with ground truth, held against a baseline.

A dataset without ground truth beside it holds its labels itself, and becomes a baseline. Which cells are the prediction, the
probability and the label, the contract's attributes say. With too few labels the window is not measured, and the
ExitMessage says so; that is no failure, since labels come late.

What it does not do: probabilities of more than two classes are not read.

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html and
.../model-monitor-model-quality-baseline.html
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

from millrace.job_exit import InputError
from millrace.monitoring import exit_message, ground_truth, metrics_file, quality_judgement
from millrace.monitoring.baseline_folder import under_its_name
from millrace.monitoring.certainty import State
from millrace.monitoring.container_contract import Attributes, Contract
from millrace.monitoring.ground_truth import Columns, Joined
from millrace.monitoring.ground_truth_file import GroundTruthFile
from millrace.monitoring.model_quality import ProblemType
from millrace.monitoring.model_quality_file import CONSTRAINTS
from millrace.monitoring.model_quality_report import QualityResult
from millrace.monitoring.monitored_records import MonitoredRecords
from millrace.monitoring.quality_judgement import LEAST_LABELS, QualityQuestion
from millrace.monitoring.record_cells import find
from millrace.profiling.errors import DatasetError
from millrace.profiling.payload import Cell
from millrace.profiling.typed_rows import typed_batches

ID, PREDICTION, PROBABILITY, LABEL = "inference_id", "prediction", "probability", "label"
Row = dict[str, Cell]
THRESHOLD = 0.5
"""Clarify's, where a probability is named and no threshold."""


def run(contract: Contract) -> None:
    question = question_of(contract)
    attributes = contract.attributes
    records = MonitoredRecords(contract, as_text=_names_of_classes(attributes, question.problem))
    truth = GroundTruthFile(contract.ground_truth, attributes.ground_truth) if contract.ground_truth else None
    joined = _join(records, truth, attributes, question)
    baseline = under_its_name(contract.constraints, CONSTRAINTS) if contract.constraints else nullcontext()
    with baseline as folder:
        result = quality_judgement.judge(question, joined, folder)
        if truth is None and folder is None:
            quality_judgement.write_baseline(contract.output, result)
        else:
            quality_judgement.write_result(contract.output, result, folder)
    metrics_file.write_metrics(contract, metrics_file.of_measures(result.measures))
    violations = [judged for judged in result.judgements if judged.state is State.VIOLATED]
    notes = [*_notes(result), *exit_message.unread(records.unreadable, records.rows)]
    exit_message.leave(len(violations), notes + (_truth_notes(truth, result) if truth else []))


def question_of(contract: Contract) -> QualityQuestion:
    """What a contract asks.

    Raises:
        InputError: it names no problem type, or not where the prediction is.
    """
    known = [problem.value for problem in ProblemType]
    if contract.problem_type not in known:
        raise InputError(f"problem_type is {contract.problem_type!r}; it must be one of {', '.join(known)}")
    problem = ProblemType(contract.problem_type)
    attributes = contract.attributes
    binary = problem is ProblemType.BINARY
    if attributes.inference is None and not (binary and attributes.probability):
        other = ", or probability_attribute with probability_threshold_attribute" if binary else ""
        raise InputError(f"inference_attribute is missing; a {problem} needs it (InferenceAttribute){other}")
    threshold = THRESHOLD if contract.probability_threshold is None else contract.probability_threshold
    return QualityQuestion(
        problem=problem,
        positive=contract.positive_label,
        threshold=threshold if attributes.inference is None else None,
        least_labels=LEAST_LABELS if contract.least_labels is None else contract.least_labels,
    )


def _names_of_classes(attributes: Attributes, problem: ProblemType) -> list[str]:
    """What holds names of classes, even where these look like numbers."""
    named = [] if problem is ProblemType.REGRESSION else [attributes.inference, attributes.ground_truth]
    return [name for name in named if name]


def _join(
    records: MonitoredRecords, truth: GroundTruthFile | None, attributes: Attributes, question: QualityQuestion
) -> Joined:
    asks = {PREDICTION: attributes.inference, PROBABILITY: attributes.probability}
    if question.problem is not ProblemType.BINARY:
        asks[PROBABILITY] = None
    wanted = {column: attribute for column, attribute in asks.items() if attribute}
    columns = Columns(
        inference_id=ID,
        prediction=PREDICTION if PREDICTION in wanted else None,
        probabilities=(PROBABILITY,) if PROBABILITY in wanted else (),
        label=LABEL,
    )

    def predictions() -> Iterator[Row]:
        for number, record in enumerate(records):
            key = str(number) if truth is None else record.key
            yield {ID: key, **{column: find(record.answered, attribute) for column, attribute in wanted.items()}}

    def labels() -> Iterator[Row]:
        if truth is not None:
            yield from ({ID: key, LABEL: label} for key, label in truth)
        elif attributes.ground_truth is None:
            raise InputError("ground_truth_attribute is missing; say which column of the dataset holds the labels")
        else:
            for number, record in enumerate(records):
                yield {ID: str(number), LABEL: find(record.answered, attributes.ground_truth)}

    texts = {ID} if question.problem is ProblemType.REGRESSION else columns.text
    known = ground_truth.read_labels(typed_batches(labels, as_text=texts), columns)
    joined = ground_truth.join(typed_batches(predictions, as_text=texts), known, columns)
    if not joined.coverage.predictions:
        _refuse_unusable(joined, wanted, records)
    return joined


def _refuse_unusable(joined: Joined, wanted: dict[str, str], records: MonitoredRecords) -> None:
    first = next(iter(records))
    have = ", ".join(name or f"position {index}" for index, (name, _) in enumerate(first.answered[:8]))
    asked = " and ".join(repr(attribute) for attribute in wanted.values())
    raise DatasetError(
        f"none of {joined.coverage.unusable} records has an id and {asked}; the first one has the cells {have}"
        + ("" if first.key else ", and no id: name its column with inference_id_attribute in the Environment")
    )


def _notes(result: QualityResult) -> list[str]:
    """What has to be known beside the violations."""
    unusable = result.coverage.unusable
    notes = [] if result.measured else [result.summary]
    return notes + ([f"{unusable} records without an id or a prediction were left out."] if unusable else [])


def _truth_notes(truth: GroundTruthFile, result: QualityResult) -> list[str]:
    missing = result.coverage.unusable_labels
    notes = [f"{missing} lines of ground truth hold no label."] if missing else []
    return notes + exit_message.unread(truth.unreadable, result.coverage.labels)
