"""Bias from rows to files: counted, measured, and held to ranges. The command `bias` and Model Monitor's analysis share it.

What it does not do: it sets no ranges (`bias_file`), chooses no facet, and decides nothing about the job.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from millrace.monitoring import bias, bias_file, bias_report, page
from millrace.monitoring.bias import Bias
from millrace.monitoring.bias_file import FacetBias, Ranges
from millrace.monitoring.bias_report import BiasResult
from millrace.monitoring.facets import Question, Tally, tally
from millrace.monitoring.interval import CONFIDENCE


def judge(
    batches: Iterable[pa.RecordBatch],
    question: Question,
    ranges: Ranges,
    *,
    metrics: Collection[str] = bias_file.NAMES,
    confidence: float = CONFIDENCE,
) -> BiasResult:
    """Measure the bias of one facet, and hold it to ranges.

    Args:
        metrics: those that are wanted.

    Raises:
        EmptyFacetError: every row is of one facet.
        DatasetError: the rows cannot be counted.
    """
    counted = tally(batches, question)
    pre = bias.pre_training(counted.counts, confidence)
    post = bias.post_training(counted.counts, _flips(counted, question, confidence), confidence)
    return BiasResult(
        question=question,
        pre=bias_file.judge([one for one in pre if one.name in metrics], ranges),
        post=bias_file.judge([one for one in post if one.name in metrics], ranges),
        tally=counted,
        confidence=confidence,
    )


def not_measured(question: Question, ranges: Ranges, metrics: Collection[str], why: str) -> FacetBias:
    """What there is to say of a facet that could not be measured."""
    stages = (bias.PRE_TRAINING, (*bias.POST_TRAINING, bias.FLIP_TEST) if question.prediction else ())
    pre, post = ([Bias(name=name, measure=None, error=why) for name in names if name in metrics] for names in stages)
    return FacetBias(question=question, pre=bias_file.judge(pre, ranges), post=bias_file.judge(post, ranges))


def write_results(folder: Path, found: Sequence[FacetBias]) -> None:
    """Write the analysis, the violations, and the report of what was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    bias_file.write_analysis(folder, bias_file.analysis(found))
    bias_file.write_violations(folder, found)
    measured = [one for one in found if isinstance(one, BiasResult)]
    if measured:
        page.write_page(folder, bias_report.page_of(measured))


def _flips(counted: Tally, question: Question, confidence: float) -> Bias:
    if not question.features:
        return Bias(name=bias.FLIP_TEST, measure=None, error="no column to find neighbours by was named")
    return bias.flip_test(counted.features, counted.disfavoured, counted.accepted, confidence)
