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

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pyarrow as pa

from millrace.job_exit import InputError
from millrace.monitoring import bias_file, bias_judgement, exit_message, metrics_file
from millrace.monitoring.asked_records import AskedRecords
from millrace.monitoring.baseline_folder import under_its_name
from millrace.monitoring.bias_file import FacetBias
from millrace.monitoring.bias_report import BiasResult
from millrace.monitoring.certainty import State
from millrace.monitoring.clarify_config import BiasConfig, read_bias
from millrace.monitoring.container_contract import Contract
from millrace.monitoring.facet_choice import choices_of
from millrace.monitoring.facets import Choice, EmptyFacetError, Question
from millrace.monitoring.labelled_rows import PREDICTED, LabelledRows, Records, Row, names_of_cells, with_predictions
from millrace.monitoring.model_answers import ModelAnswers
from millrace.monitoring.monitored_records import MonitoredRecord, MonitoredRecords
from millrace.monitoring.quality_judgement import LEAST_LABELS
from millrace.monitoring.record_cells import features_of
from millrace.monitoring.shadow_endpoint import client, shadow_endpoint
from millrace.monitoring.shap_config import read_predictor
from millrace.profiling.capture import PARTS
from millrace.profiling.errors import DatasetError
from millrace.profiling.payload import Cell
from millrace.profiling.typed_rows import typed_batches

Words = Mapping[str, Collection[str]]
"""Of a baseline's choices, by their column."""


def run(contract: Contract) -> None:
    if contract.config is None:
        raise InputError("analysis_config is missing; a bias analysis needs it (ConfigUri)")
    config = read_bias(contract.config)
    _check_place_of_prediction(contract, config)
    with _records(contract, config) as records:
        rows = LabelledRows(contract, config, records)
        labelled = list(rows)
    least = LEAST_LABELS if contract.least_labels is None else contract.least_labels
    print(f"{records.rows} predictions, of which {len(labelled)} have a label")
    notes = []
    if len(labelled) < least:
        notes = [f"Not measured: {len(labelled):,} of {records.rows:,} predictions have a label; {least:,} are needed."]
        labelled = []
    baseline = under_its_name(contract.constraints, bias_file.ANALYSIS) if contract.constraints else nullcontext()
    with baseline as folder:
        known = bias_file.read_words(folder) if folder else {}
        label = _label(config, labelled, known)
        if config.needs_predictions:
            labelled = with_predictions(labelled, label, contract)
        questions = _questions(config, label, labelled, known)
        found = [_judged(question, labelled, config, folder) for question in questions]
    if contract.constraints is None and rows.truth is None:
        _refuse_empty_baseline(found, notes)
    bias_judgement.write_results(contract.output, found)
    metrics_file.write_metrics(contract, metrics_file.of_bias(found))
    notes += _notes(found, has_baseline=contract.constraints is not None)
    notes += exit_message.unread(records.unreadable, records.rows)
    notes += exit_message.unread(rows.truth.unreadable, rows.labels) if rows.truth else []
    exit_message.leave(sum(len(one.in_state(State.VIOLATED)) for one in found), notes)


def _check_place_of_prediction(contract: Contract, config: BiasConfig) -> None:
    """An answer by itself begins with the prediction; a row of a file begins with any column."""
    attributes = contract.attributes
    is_named = attributes.inference is not None or attributes.probability is not None
    if config.needs_predictions and not is_named and not contract.asks_model and contract.format.kind != "capture":
        raise InputError(
            "inference_attribute and probability_attribute are missing; name the column of the prediction "
            "(InferenceAttribute, or ProbabilityAttribute), or ask for methods of pre_training_bias alone"
        )


@contextmanager
def _records(contract: Contract, config: BiasConfig) -> Iterator[Records]:
    """The records with their answers: those that were given, or those of a shadow endpoint where there are none yet."""
    names, as_text = names_of_cells(contract, config), _names_of_values(contract, config)
    records = MonitoredRecords(contract, parts=PARTS, names=names, as_text=as_text)
    if contract.config is None or not (contract.asks_model and config.needs_predictions):
        yield records
        return
    predictor = read_predictor(contract.config)
    with shadow_endpoint(client("sagemaker"), predictor, contract.schedule) as endpoint:
        answers = ModelAnswers(client("sagemaker-runtime"), endpoint, predictor)
        yield AskedRecords(records, answers, lambda record: _given_to_model(record, contract, config))


def _names_of_values(contract: Contract, config: BiasConfig) -> list[str]:
    """What holds names of values, even where these look like numbers: `01` is not 1.

    A model that is asked gets numbers as numbers, but for a facet whose values are given as text.
    """
    if contract.asks_model:
        return [
            config.label,
            *(facet.column for facet in config.facets if any(isinstance(v, str) for v in facet.values)),
        ]
    named = [config.label, *(facet.column for facet in config.facets), config.group, contract.attributes.inference]
    return [name for name in named if name]


def _given_to_model(record: MonitoredRecord, contract: Contract, config: BiasConfig) -> list[Cell]:
    features = features_of(record.asked, contract.attributes.features, config.features)
    return [cell for name, cell in features.items() if name != config.label]


def _label(config: BiasConfig, rows: Sequence[Row], known: Words) -> Choice:
    """The favourable labels."""
    seen = [row[config.label] for row in rows]
    (label,) = choices_of(config.label, config.favourable, seen, known.get(config.label, ()))
    return label


def _questions(config: BiasConfig, label: Choice, rows: Sequence[Row], known: Words) -> list[Question]:
    """One for each facet."""
    prediction = PREDICTED if config.needs_predictions else None
    return [
        Question(facet=facet, label=label, prediction=prediction, group=config.group)
        for asked in config.facets
        for facet in choices_of(
            asked.column, asked.values, [row[asked.column] for row in rows], known.get(asked.column, ())
        )
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


def _refuse_empty_baseline(found: Sequence[FacetBias], notes: Sequence[str]) -> None:
    """A baseline that says nothing would let every later window pass."""
    if not any(isinstance(one, BiasResult) for one in found):
        why = " ".join(notes or _notes(found, has_baseline=False))
        raise DatasetError(
            f"{why} A baseline needs labels, and rows on both sides of a facet: check the columns' names"
        )


def _notes(found: Sequence[FacetBias], *, has_baseline: bool) -> list[str]:
    """What has to be known beside the violations."""
    notes = []
    for one in found:
        facet = one.question.facet
        if not isinstance(one, BiasResult):
            notes.append(f"{facet.column} in {facet.words} was not measured: {(*one.pre, *one.post)[0].bias.error}.")
        elif has_baseline and not one.judged:
            notes.append(f"The baseline says nothing of {facet.column} in {facet.words}.")
    return notes
