"""Compare how much each feature matters to the model now with how much it did in the baseline, as Clarify does (NDCG).

Both folders hold attributions, one column a feature; the baseline's may hold an analysis.json instead. With --predict
both hold the features themselves, and the attributions are made here from samples of their rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from millrace.monitoring import attribution, attribution_file, attribution_report, page, shapley
from millrace.monitoring.attribution import LEAST_NDCG, AttributionDrift, Totals
from millrace.monitoring.certainty import State
from millrace.monitoring.commands.data import add_data_arguments, level, reading, row_count, share
from millrace.monitoring.interval import CONFIDENCE
from millrace.monitoring.sample import Reservoir
from millrace.monitoring.shapley import MAX_BACKGROUND, Predict
from millrace.profiling.dataset import read_batches, read_into, settled
from millrace.profiling.errors import DatasetError
from millrace.profiling.summary import Floats
from millrace.verdict import FILE_NAME as VERDICT
from millrace.verdict import Finding, Verdict

ATTRIBUTIONS = "attributions.parquet"
MAX_EXPLAINED = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    parser.add_argument("--baseline", type=Path, default=Path("input/baseline"), help="folder like --data's")
    parser.add_argument("--output", type=Path, default=Path("output/report"))
    parser.add_argument(
        "--predict", help="module:function, from a matrix of rows to scores; both folders hold features"
    )
    parser.add_argument(
        "--explain", type=row_count, default=MAX_EXPLAINED, help="with --predict: rows of each side to explain"
    )
    parser.add_argument("--least-ndcg", type=share, default=LEAST_NDCG)
    parser.add_argument("--confidence", type=level, default=CONFIDENCE, help="of the intervals")


def run(options: argparse.Namespace) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    baseline: Totals | dict[str, float]
    if options.predict:
        baseline, window = _explained(options, shapley.load_predict(options.predict))
    else:
        window = _totals(options.data, options)
        if (options.baseline / attribution_file.ANALYSIS).is_file():
            baseline = attribution_file.read_attributions(options.baseline)
        else:
            baseline = _totals(options.baseline, options)
    drift = attribution.compare(baseline, window, confidence=options.confidence, least_ndcg=options.least_ndcg)
    attribution_file.write_analysis(options.output, {f.name: f.now.value for f in drift.features}, drift)
    attribution_file.write_violations(options.output, drift, options.least_ndcg)
    page.write_page(options.output, attribution_report.page_of(drift, options.least_ndcg, options.confidence))
    verdict = verdict_of(drift, options.least_ndcg, made_here=bool(options.predict))
    verdict.write(options.output)
    print(f"wrote {VERDICT} and the report to {options.output}: {verdict.summary}")


def verdict_of(drift: AttributionDrift, least_ndcg: float, *, made_here: bool) -> Verdict:
    """The attribution drift gate's verdict."""
    moved = [f for f in drift.features if f.rank != f.baseline_rank]
    findings = [
        Finding(
            subject=f.name,
            message=f"rank {f.baseline_rank} in the baseline ({f.baseline:.4g}), now {f.rank} ({f.now.value:.4g})",
        )
        for f in moved
    ]
    return Verdict(
        gate="attribution drift",
        passed=drift.state is not State.VIOLATED,
        summary=attribution_report.summary(drift, least_ndcg),
        metrics={"ndcg": drift.ndcg.value, "rows": drift.rows, "features": len(drift.features), "moved": len(moved)},
        findings=[] if drift.state is State.MET else findings[:10],
        artifacts={
            "report": page.FILE_NAME,
            "analysis": attribution_file.ANALYSIS,
            "violations": attribution_file.VIOLATIONS,
            **({"attributions": ATTRIBUTIONS} if made_here else {}),
        },
    )


def _totals(folder: Path, options: argparse.Namespace) -> Totals:
    return settled(lambda types: attribution.totals(read_batches(folder, types)), folder, reading(options))


def _explained(options: argparse.Namespace, predict: Predict) -> tuple[Totals, Totals]:
    """Attributions of a sample of the rows of both sides, against a background of the baseline's rows."""
    names: list[str] = []
    sides: list[Floats] = []
    for folder in (options.baseline, options.data):
        rows = read_into(lambda: Reservoir(options.explain + MAX_BACKGROUND), folder, reading(options)).rows()
        names = names or rows.column_names
        sides.append(np.column_stack([_numbers(rows, name) for name in names]))
    needed = MAX_BACKGROUND + min(options.explain, MAX_BACKGROUND)
    if len(sides[0]) < needed:
        raise DatasetError(f"the baseline has {len(sides[0])} rows; --predict needs {needed}")
    # A row that is explained against itself would seem to matter less: the background's rows are not explained.
    background, explained = sides[0][:MAX_BACKGROUND], (sides[0][MAX_BACKGROUND:], sides[1][: options.explain])
    tables = [
        pa.table(dict(zip(names, shapley.shapley_values(predict, side, background).T, strict=True)))
        for side in explained
    ]
    pq.write_table(tables[1], options.output / ATTRIBUTIONS)
    before, now = (attribution.totals(table.to_batches()) for table in tables)
    return before, now


def _numbers(rows: pa.Table, name: str) -> Floats:
    if name not in rows.column_names:
        raise DatasetError(f"the rows have no column {name!r}, which the baseline has")
    column = rows[name]
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise DatasetError(
            f"column {name!r} holds {column.type}; --predict takes numbers: leave the column out with --exclude"
        )
    values: Floats = column.cast(pa.float64()).to_numpy()
    return values
