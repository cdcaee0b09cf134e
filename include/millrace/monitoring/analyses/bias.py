"""Bias drift, as Model Monitor's container does it: labels and predictions of facets, held against a baseline's analysis.

Facets and favourable labels are those of Clarify's `analysis_config.json`. The features are what the model was asked, the
prediction is what it answered, and the label is the ground truth that has come; a dataset without ground truth beside it
holds all three in its rows. A window with too few labels, or without a row of one side of a facet, is not measured, and the
ExitMessage says so.

A monitoring job has the answers that the model gave. Clarify's own job has none, and asks it through a shadow endpoint.

What it does not do: it takes no probabilities of several classes.

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-config-json-monitor-bias-parameters.html and
.../clarify-model-monitor-bias-drift-violations.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pyarrow as pa

from millrace.job_exit import InputError
from millrace.monitoring import bias_file, bias_judgement, exit_message, ground_truth, metrics_file
from millrace.monitoring.asked_records import AskedRecords
from millrace.monitoring.baseline_folder import under_its_name
from millrace.monitoring.bias_file import FacetBias
from millrace.monitoring.bias_report import BiasResult
from millrace.monitoring.certainty import State
from millrace.monitoring.clarify_config import BiasConfig, read_bias
from millrace.monitoring.container_contract import Contract
from millrace.monitoring.facet_choice import choices_of, text_of
from millrace.monitoring.facets import EmptyFacetError, Question
from millrace.monitoring.ground_truth import Columns
from millrace.monitoring.ground_truth_file import GroundTruthFile
from millrace.monitoring.model_answers import ModelAnswers
from millrace.monitoring.monitored_records import MonitoredRecord, MonitoredRecords
from millrace.monitoring.quality_judgement import LEAST_LABELS
from millrace.monitoring.record_cells import features_of, find
from millrace.monitoring.shadow_endpoint import client, shadow_endpoint
from millrace.monitoring.shap_config import read_predictor
from millrace.profiling.capture import PARTS
from millrace.profiling.errors import DatasetError
from millrace.profiling.payload import Cell
from millrace.profiling.typed_rows import typed_batches

Records = MonitoredRecords | AskedRecords
PREDICTED = "_predicted"
"""A name that no feature is likely to have."""
THRESHOLD = 0.5
"""Clarify's, of a probability."""
Row = dict[str, Cell]


def run(contract: Contract) -> None:
    if contract.config is None:
        raise InputError("analysis_config is missing; a bias analysis needs it (ConfigUri)")
    config = read_bias(contract.config)
    with _records(contract, config) as records:
        rows = LabelledRows(contract, config, records)
        labelled = list(rows)
    if config.needs_predictions and labelled and all(row[PREDICTED] is None for row in labelled):
        attribute = contract.attributes.inference or contract.attributes.probability
        raise DatasetError(
            f"no answer has a {attribute!r}; say where the prediction is with InferenceAttribute or ProbabilityAttribute"
        )
    least = LEAST_LABELS if contract.least_labels is None else contract.least_labels
    print(f"{records.rows} predictions, of which {len(labelled)} have a label")
    notes = []
    if len(labelled) < least:
        notes = [f"Not measured: {len(labelled):,} of {records.rows:,} predictions have a label; {least:,} are needed."]
        labelled = []
    baseline = under_its_name(contract.constraints, bias_file.ANALYSIS) if contract.constraints else nullcontext()
    with baseline as folder:
        found = [_judged(question, labelled, config, folder) for question in _questions(config, labelled)]
    bias_judgement.write_results(contract.output, found)
    metrics_file.write_metrics(contract, metrics_file.of_bias(found))
    notes += _notes(found, has_baseline=contract.constraints is not None)
    notes += exit_message.unread(records.unreadable, records.rows)
    notes += exit_message.unread(rows.truth.unreadable, rows.labels) if rows.truth else []
    exit_message.leave(sum(len(one.in_state(State.VIOLATED)) for one in found), notes)


@contextmanager
def _records(contract: Contract, config: BiasConfig) -> Iterator[Records]:
    """The records with their answers: those that were given, or those of a shadow endpoint where there are none yet."""
    names = config.features if contract.ground_truth else config.headers
    records = MonitoredRecords(contract, parts=PARTS, names=names, as_text=[config.label])
    if contract.config is None or not (contract.asks_model and config.needs_predictions):
        yield records
        return
    predictor = read_predictor(contract.config)
    with shadow_endpoint(client("sagemaker"), predictor, contract.schedule) as endpoint:
        answers = ModelAnswers(client("sagemaker-runtime"), endpoint, predictor)
        yield AskedRecords(records, answers, lambda record: _given_to_model(record, contract, config))


def _given_to_model(record: MonitoredRecord, contract: Contract, config: BiasConfig) -> list[Cell]:
    features = features_of(record.asked, contract.attributes.features, config.features)
    return [cell for name, cell in features.items() if name != config.label]


class LabelledRows:
    """The rows that have a label: the columns that are asked about, the label, and the prediction.

    The first prediction of a label is taken, and the last label of an id.

    Raises:
        DatasetError: what is captured lacks a column.
    """

    def __init__(self, contract: Contract, config: BiasConfig, records: Records) -> None:
        self._contract = contract
        self._config = config
        self._records = records
        attributes = contract.attributes
        self.truth = GroundTruthFile(contract.ground_truth, attributes.ground_truth) if contract.ground_truth else None
        self.labels = 0
        named = [facet.column for facet in config.facets] + ([config.group] if config.group else [])
        self._columns = list(dict.fromkeys(named))

    def __iter__(self) -> Iterator[Row]:
        labels = self._labels_by_key()
        for record in self._records:
            label = labels.pop(record.key or "", None) if labels is not None else self._own_label(record)
            if label is not None:
                yield self._row(record, label)

    def _labels_by_key(self) -> dict[str, Cell] | None:
        """None where each row holds its label."""
        truth = self.truth
        if truth is None:
            return None
        columns = Columns(inference_id="id", label="label")
        read = lambda: ({"id": key, "label": label} for key, label in truth)  # noqa: E731
        found = ground_truth.read_labels(typed_batches(read, as_text=columns.text), columns)
        self.labels = len(found.ids)
        return dict(zip(found.ids, found.values.to_pylist(), strict=True))

    def _own_label(self, record: MonitoredRecord) -> Cell:
        return find(record.asked, self._contract.attributes.ground_truth or self._config.label)

    def _row(self, record: MonitoredRecord, label: Cell) -> Row:
        features = features_of(record.asked, self._contract.attributes.features, self._config.features)
        lacking = [name for name in self._columns if name not in features]
        if lacking:
            raise DatasetError(
                f"a record has no column {lacking[0]!r} (it has {', '.join(list(features)[:8])}); name the columns with "
                "headers in the analysis configuration, or where they are with FeaturesAttribute"
            )
        row = {name: features[name] for name in self._columns} | {self._config.label: label}
        return row | ({PREDICTED: self._prediction(record)} if self._config.needs_predictions else {})

    def _prediction(self, record: MonitoredRecord) -> Cell:
        """The predicted label; from a probability the first favourable label, or another."""
        attributes = self._contract.attributes
        if attributes.inference is not None:
            return find(record.answered, attributes.inference)
        share = find(record.answered, attributes.probability or "0")
        if share is None:
            return None
        threshold = self._contract.probability_threshold
        favourable = self._config.favourable[0]
        try:
            is_favourable = float(share) > (THRESHOLD if threshold is None else threshold)
        except ValueError as error:
            raise DatasetError(
                f"a record's probability is {share!r}; name the predicted label with InferenceAttribute, or the probability "
                "with ProbabilityAttribute"
            ) from error
        return text_of(favourable) if is_favourable else f"not {text_of(favourable)}"


def _questions(config: BiasConfig, rows: Sequence[Row]) -> list[Question]:
    """One for each facet."""
    (label,) = choices_of(config.label, config.favourable, [row[config.label] for row in rows])
    prediction = PREDICTED if config.needs_predictions else None
    return [
        Question(facet=facet, label=label, prediction=prediction, group=config.group)
        for asked in config.facets
        for facet in choices_of(asked.column, asked.values, [row[asked.column] for row in rows])
    ]


def _judged(question: Question, rows: Sequence[Row], config: BiasConfig, baseline: Path | None) -> FacetBias:
    ranges = bias_file.read_ranges(baseline, question) if baseline else {}
    if not rows:
        return bias_judgement.not_measured(question, ranges, config.metrics, "too few predictions have a label")
    batches: Iterator[pa.RecordBatch] = typed_batches(lambda: iter(rows), as_text=question.as_text)
    try:
        return bias_judgement.judge(batches, question, ranges, metrics=config.metrics)
    except EmptyFacetError as error:
        return bias_judgement.not_measured(question, ranges, config.metrics, str(error))


def _notes(found: Sequence[FacetBias], *, has_baseline: bool) -> list[str]:
    """What has to be known beside the violations."""
    notes = []
    for one in found:
        facet = one.question.facet
        if not isinstance(one, BiasResult):
            notes.append(f"{facet.column} in {facet.words} was not measured: {one.pre[0].bias.error}.")
        elif has_baseline and not one.judged:
            notes.append(f"The baseline says nothing of {facet.column} in {facet.words}.")
    return notes
