"""Measure the bias of labels and predictions between a facet and everyone else, as Clarify defines it, and judge it."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from millrace.monitoring import bias_file, bias_judgement, page
from millrace.monitoring.bias_report import BiasResult
from millrace.monitoring.certainty import State
from millrace.monitoring.commands.data import add_data_arguments, level, reading
from millrace.monitoring.facets import Choice, Question
from millrace.monitoring.interval import CONFIDENCE
from millrace.profiling.dataset import read_batches, settled
from millrace.profiling.errors import DatasetError
from millrace.verdict import FILE_NAME as VERDICT
from millrace.verdict import Finding, Verdict

MAX_FINDINGS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    parser.add_argument("--output", type=Path, default=Path("output/report"))
    parser.add_argument("--baseline", type=Path, help="folder of an analysis.json that sets the ranges")
    parser.add_argument("--facet-column", required=True)
    parser.add_argument("--facet-value", action="append", default=[], help="of the disfavoured facet; repeatable")
    parser.add_argument("--facet-threshold", type=float, help="numbers above it are the disfavoured facet")
    parser.add_argument("--label-column", required=True)
    parser.add_argument("--label-value", action="append", default=[], help="a favourable label; repeatable")
    parser.add_argument("--label-threshold", type=float, help="numbers above it are favourable labels")
    parser.add_argument("--prediction-column", help="predicted labels; left out before there is a model")
    parser.add_argument("--group-column", help="subgroups for the conditional disparities")
    parser.add_argument("--flip-column", action="append", default=[], help="a number for the flip test; repeatable")
    parser.add_argument(
        "--range",
        action="append",
        type=metric_range,
        default=[],
        metavar="METRIC=LOW:HIGH",
        help="what a metric is held to, such as DPPL=-0.1:0.1; repeatable",
    )
    parser.add_argument("--confidence", type=level, default=CONFIDENCE, help="of the intervals")


def run(options: argparse.Namespace) -> None:
    question = _question(options)
    known = bias_file.read_ranges(options.baseline, question) if options.baseline else bias_file.FOUR_FIFTHS
    ranges = {**known, **dict(options.range)}
    result = settled(
        lambda types: bias_judgement.judge(
            read_batches(options.data, types), question, ranges, confidence=options.confidence
        ),
        options.data,
        reading(options, as_text=question.as_text),
    )
    print(f"counted {options.data}: {result.tally.rows} rows, {result.tally.left_out} left out")
    bias_judgement.write_results(options.output, [result])
    verdict = verdict_of(result)
    verdict.write(options.output)
    print(f"wrote {VERDICT} and the report to {options.output}: {verdict.summary}")


def verdict_of(result: BiasResult) -> Verdict:
    """The bias gate's verdict: a range that is left with certainty keeps it from passing."""
    violated, watched = result.in_state(State.VIOLATED), result.in_state(State.WATCH)
    unknown = result.in_state(State.NOT_MEASURED)
    findings = [Finding(subject=one.bias.name, message=one.words) for one in (*violated, *unknown)]
    findings += [Finding(subject=one.bias.name, message=f"Watch, not certain: {one.words}") for one in watched]
    measures = {one.bias.name: one.bias.measure.value for one in (*result.pre, *result.post) if one.bias.measure}
    return Verdict(
        gate="bias",
        passed=not violated,
        summary=result.summary,
        metrics=measures | {"rows": result.tally.rows, "violations": len(violated)},
        findings=findings[:MAX_FINDINGS],
        artifacts={"report": page.FILE_NAME, "analysis": bias_file.ANALYSIS, "violations": bias_file.VIOLATIONS},
    )


def metric_range(text: str) -> tuple[str, tuple[float, float]]:
    """An argument METRIC=LOW:HIGH."""
    name, _, ends = text.partition("=")
    try:
        low, high = (float(end) for end in ends.split(":"))
    except ValueError:
        low, high = math.nan, math.nan
    if name not in bias_file.NAMES or not low <= high:
        names = ", ".join(bias_file.NAMES)
        raise argparse.ArgumentTypeError(f"{text} is not METRIC=LOW:HIGH with a metric of {names}")
    return name, (low, high)


def _question(options: argparse.Namespace) -> Question:
    for what, values, threshold in (
        ("facet", options.facet_value, options.facet_threshold),
        ("label", options.label_value, options.label_threshold),
    ):
        if bool(values) is (threshold is not None):
            raise DatasetError(f"give either --{what}-value or --{what}-threshold, to say which rows are meant")
    return Question(
        facet=Choice(column=options.facet_column, values=tuple(options.facet_value), threshold=options.facet_threshold),
        label=Choice(column=options.label_column, values=tuple(options.label_value), threshold=options.label_threshold),
        prediction=options.prediction_column,
        group=options.group_column,
        features=tuple(options.flip_column),
    )
