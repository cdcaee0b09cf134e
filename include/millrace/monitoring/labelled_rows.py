"""The rows that a bias analysis counts: the columns that are asked about, each with its label and the model's answer.

The first prediction of a label is taken, and the last label of an id; predictions without a label are passed over.

What it does not do: it keeps no features that nobody asks about, and counts nothing (`facets`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from millrace.monitoring import ground_truth
from millrace.monitoring.asked_records import AskedRecords
from millrace.monitoring.clarify_config import BiasConfig
from millrace.monitoring.container_contract import Contract
from millrace.monitoring.facets import Choice
from millrace.monitoring.ground_truth import Columns
from millrace.monitoring.ground_truth_file import GroundTruthFile
from millrace.monitoring.monitored_records import MonitoredRecord, MonitoredRecords
from millrace.monitoring.record_cells import features_of, find
from millrace.profiling.errors import DatasetError
from millrace.profiling.payload import Cell
from millrace.profiling.typed_rows import typed_batches

Records = MonitoredRecords | AskedRecords
Row = dict[str, Cell]
PREDICTED = "_predicted"
"""A name that no feature is likely to have."""
FIRST = "0"
THRESHOLD = 0.5
"""Clarify's, of a probability."""


def names_of_cells(contract: Contract, config: BiasConfig) -> tuple[str, ...]:
    """Names for a row's cells, by position; a row with ground truth beside it lacks the label."""
    return config.headers if contract.ground_truth is None else config.features


class LabelledRows:
    """The labelled rows of records; PREDICTED holds what was answered, a label or a probability.

    Raises (when it is read):
        DatasetError: a record lacks a column, or no answer has what is named.
    """

    def __init__(self, contract: Contract, config: BiasConfig, records: Records) -> None:
        self._contract = contract
        self._config = config
        self._records = records
        attributes = contract.attributes
        self.truth = GroundTruthFile(contract.ground_truth, attributes.ground_truth) if contract.ground_truth else None
        self.labels = 0
        self._answer = attributes.inference or attributes.probability or FIRST
        named = [facet.column for facet in config.facets] + ([config.group] if config.group else [])
        self._columns = list(dict.fromkeys(named))
        self._names = config.features if attributes.features else names_of_cells(contract, config)

    def __iter__(self) -> Iterator[Row]:
        labels = self._labels_by_key()
        count = answered = 0
        for record in self._records:
            label = labels.pop(record.key or "", None) if labels is not None else self._own_label(record)
            if label is not None:
                row = self._row(record, label)
                count, answered = count + 1, answered + (row[PREDICTED] is not None)
                yield row
        if count and not answered and self._config.needs_predictions:
            raise DatasetError(
                f"no answer has a {self._answer!r}; say where the prediction is: InferenceAttribute or ProbabilityAttribute"
            )

    def _labels_by_key(self) -> dict[str, Cell] | None:
        """None where each row holds its label."""
        truth = self.truth
        if truth is None:
            return None
        columns = Columns(inference_id="id", label="label")
        batches = typed_batches(lambda: ({"id": key, "label": label} for key, label in truth), as_text=columns.text)
        found = ground_truth.read_labels(batches, columns)
        self.labels = len(found.ids)
        return dict(zip(found.ids, found.values.to_pylist(), strict=True))

    def _own_label(self, record: MonitoredRecord) -> Cell:
        return find(record.asked, self._contract.attributes.ground_truth or self._config.label)

    def _row(self, record: MonitoredRecord, label: Cell) -> Row:
        features = features_of(record.asked, self._contract.attributes.features, self._names)
        lacking = [name for name in self._columns if name not in features]
        if lacking:
            raise DatasetError(
                f"a record has no column {lacking[0]!r} (it has {', '.join(list(features)[:8])}); name the columns with "
                "headers in the analysis configuration, or where they are with FeaturesAttribute"
            )
        named = {name: features[name] for name in self._columns}
        return named | {self._config.label: label, PREDICTED: find(record.answered, self._answer)}


def with_predictions(rows: Sequence[Row], label: Choice, contract: Contract) -> list[Row]:
    """The rows with predicted labels: what was answered, or where that is a probability what it says.

    A label with a threshold is a number, and so is its prediction: what was answered, or 0 or 1 by a probability.

    Raises:
        DatasetError: a probability is none, or the label's threshold does not tell 0 from 1.
    """
    attributes = contract.attributes
    if attributes.inference is not None or (label.threshold is not None and attributes.probability is None):
        return list(rows)
    favourable, other = _labels_by_probability(label)
    threshold = THRESHOLD if contract.probability_threshold is None else contract.probability_threshold
    return [row | {PREDICTED: _said(row[PREDICTED], threshold, favourable, other)} for row in rows]


def _labels_by_probability(label: Choice) -> tuple[Cell, Cell]:
    """The labels that a high and a low probability say."""
    if label.threshold is None:
        return label.values[0], f"not {label.values[0]}"
    if not 0 <= label.threshold < 1:
        raise DatasetError(
            f"label_values_or_threshold is a threshold of {label.threshold}, and ProbabilityAttribute predicts 0 or 1; name "
            "the predicted number with InferenceAttribute"
        )
    return 1, 0


def _said(share: Cell, threshold: float, favourable: Cell, other: Cell) -> Cell:
    if share is None:
        return None
    try:
        probability = float(share)
    except ValueError:
        probability = math.nan
    if not 0 <= probability <= 1:
        raise DatasetError(
            f"a record's probability is {share!r}, which is no number from 0 to 1; name the predicted label with "
            "InferenceAttribute, or the probability with ProbabilityAttribute"
        )
    return favourable if probability > threshold else other
