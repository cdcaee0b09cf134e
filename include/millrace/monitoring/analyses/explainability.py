"""Attribution drift, as Model Monitor's container does it: what features matter to the model now, against a baseline.

What the endpoint was asked is explained by Shapley values of the model, which is asked through an endpoint of its own
(`shadow_endpoint`). The ranking of features is held against that of a baseline's `analysis.json` by Clarify's NDCG.

What it does not do: it takes one score a row, explains a sample of the window, and aggregates by sums only (no median).

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-config-json-monitor-model-explainability-parameters.html and
.../clarify-model-monitor-model-attribution-drift-violations.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from millrace.job_exit import InputError
from millrace.monitoring import (
    attribution,
    attribution_file,
    attribution_report,
    exit_message,
    metrics_file,
    page,
    shap_baseline,
    shapley,
)
from millrace.monitoring.attribution import LEAST_NDCG, Totals
from millrace.monitoring.baseline_folder import under_its_name
from millrace.monitoring.certainty import State
from millrace.monitoring.container_contract import Contract
from millrace.monitoring.endpoint_predictor import Codes, EndpointPredictor, Row
from millrace.monitoring.interval import CONFIDENCE
from millrace.monitoring.model_answers import ModelAnswers
from millrace.monitoring.monitored_records import MonitoredRecords
from millrace.monitoring.record_cells import features_of
from millrace.monitoring.shadow_endpoint import client, shadow_endpoint
from millrace.monitoring.shap_config import MEAN_SQ, ShapConfig, read_shap
from millrace.monitoring.shapley import MAX_BACKGROUND
from millrace.profiling.capture import INPUT
from millrace.profiling.errors import DatasetError
from millrace.profiling.summary import Floats

MAX_EXPLAINED = 500
MAX_ASKED = 200_000
"""Rows that the model is asked about in one analysis, at most; fewer rows are explained where each needs more."""
LEAST_EXPLAINED = 100
"""A background is thinned out rather than fewer rows explained."""
WINDOW_BACKGROUND = 10
"""Rows of the window that stand for an absent feature, where no baseline is named."""
SEED = 20_170_705


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What a window's attributions are."""

    totals: Totals
    expected: float
    """The mean score of the background."""

    @property
    def values(self) -> dict[str, float]:
        return dict(zip(self.totals.features, map(float, self.totals.means), strict=True))


def run(contract: Contract) -> None:
    if contract.config is None:
        raise InputError("analysis_config is missing; an explainability analysis needs it (ConfigUri)")
    config = read_shap(contract.config)
    records = MonitoredRecords(contract, parts=(INPUT,), names=config.headers)
    known = _known(contract)
    explained = _explain(contract, config, _sample(_features(records, contract, config)))
    drift = attribution.compare(known, explained.totals) if known is not None else None
    label = config.predictor.label
    contract.output.mkdir(parents=True, exist_ok=True)
    attribution_file.write_analysis(contract.output, explained.values, drift, label=label, expected=explained.expected)
    attribution_file.write_violations(contract.output, drift, label=label)
    if drift is not None:
        page.write_page(contract.output, attribution_report.page_of(drift, LEAST_NDCG, CONFIDENCE))
    metrics_file.write_metrics(contract, metrics_file.of_attributions(explained.values, explained.expected, label))
    print(f"explained {explained.totals.rows} of {records.rows} rows")
    notes = [attribution_report.summary(drift, LEAST_NDCG)] if drift is not None else []
    violations = int(drift is not None and drift.state is State.VIOLATED)
    exit_message.leave(violations, notes + exit_message.unread(records.unreadable, records.rows))


def _features(records: MonitoredRecords, contract: Contract, config: ShapConfig) -> Iterable[Row]:
    for record in records:
        row = features_of(record.asked, contract.attributes.features, config.features)
        lacking = [name for name in config.features if name not in row]
        if lacking:
            raise DatasetError(
                f"a record has no feature {lacking[0]!r} (it has {', '.join(list(row)[:8])}); name every feature in headers "
                "and where they are with FeaturesAttribute"
            )
        wanted = config.features or [name for name in row if name != config.label]
        yield {name: row[name] for name in wanted}


def _sample(rows: Iterable[Row]) -> list[Row]:
    """Rows to explain, and for a background of the window's own, drawn evenly (Vitter's algorithm R)."""
    size, dice = MAX_EXPLAINED + WINDOW_BACKGROUND, np.random.default_rng(SEED)
    kept: list[Row] = []
    for index, row in enumerate(rows):
        if index < size:
            kept.append(row)
        elif (place := int(dice.integers(index + 1))) < size:
            kept[place] = row
    if not kept:
        raise DatasetError("the window holds no record; nothing can be explained")
    return [kept[place] for place in dice.permutation(len(kept))]


def _explain(contract: Contract, config: ShapConfig, rows: Sequence[Row]) -> Explained:
    codes = Codes(config.features or list(rows[0]))
    background, explained = _background(contract, config, rows, codes.features)
    per_background = 2 * (len(codes.features) + 1)
    background = _evenly(background, min(MAX_BACKGROUND, MAX_ASKED // (LEAST_EXPLAINED * per_background)))
    per_round = len(background) * per_background
    rounds = max(1, config.samples // per_round)
    explained = explained[: max(1, min(MAX_EXPLAINED, MAX_ASKED // (rounds * per_round)))]
    matrix, absent = codes.encode(explained), codes.encode(background)
    with shadow_endpoint(client("sagemaker"), config.predictor, contract.schedule) as endpoint:
        answers = ModelAnswers(client("sagemaker-runtime"), endpoint, config.predictor)
        predict = EndpointPredictor(answers, codes, score=contract.attributes.probability, logit=config.logit)
        found = shapley.shapley_values(predict, matrix, absent, rounds=rounds)
        expected = float(predict(absent).mean())
    print(f"asked the model {config.predictor.model} about {answers.asked} rows")
    return Explained(totals=_totals(found, codes.features, config.aggregate), expected=expected)


def _background(
    contract: Contract, config: ShapConfig, rows: Sequence[Row], features: Sequence[str]
) -> tuple[Sequence[Row], Sequence[Row]]:
    """The rows that stand for an absent feature, and those that are explained against them."""
    if config.baseline is None:
        # A row that is explained against itself would seem to matter less.
        return (rows[:WINDOW_BACKGROUND], rows[WINDOW_BACKGROUND:]) if len(rows) > WINDOW_BACKGROUND else (rows, rows)
    given = config.baseline
    if isinstance(given, str):
        found = shap_baseline.fetched(client("s3"), given, contract.attributes.features, features)
    else:
        found = shap_baseline.given(given, contract.attributes.features, features)
    return found, rows[:MAX_EXPLAINED]


def _evenly(rows: Sequence[Row], most: int) -> Sequence[Row]:
    """At most so many rows, and one at least, from all over the list: a file may be sorted."""
    step = -(-len(rows) // max(1, most))
    return rows[::step]


def _totals(found: Floats, features: Sequence[str], aggregate: str) -> Totals:
    values = np.square(found) if aggregate == MEAN_SQ else found
    return attribution.totals(pa.table(dict(zip(features, values.T, strict=True))).to_batches())


def _known(contract: Contract) -> dict[str, float] | None:
    """The baseline's attributions; None without one."""
    if contract.constraints is None:
        return None
    with under_its_name(contract.constraints, attribution_file.ANALYSIS) as folder:
        return attribution_file.read_attributions(folder)
