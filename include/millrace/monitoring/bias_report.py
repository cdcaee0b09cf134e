"""What the bias report says: the result in words, its charts and tables. `page` draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from millrace.monitoring.bias import DISFAVOURED, FAVOURED, FLIP_TEST, FLIP_TEST_DESCRIPTION, outcomes
from millrace.monitoring.bias_file import METRICS, FacetBias, Judged
from millrace.monitoring.certainty import State
from millrace.monitoring.facets import Tally
from millrace.monitoring.page import Chart, Gauge, Page, Table, axis_around

FLIP_TEST_MEANING = "facet d's neighbours in facet a are accepted where d is not"


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasResult(FacetBias):
    """What was found for one facet, and the rows it was found in."""

    tally: Tally
    confidence: float

    @property
    def summary(self) -> str:
        """One sentence."""
        facet = f"{self.question.facet.column} in {self.question.facet.words} against everyone else"
        rows = f"{self.tally.rows - self.tally.left_out:,} rows"
        violated, watched = self.in_state(State.VIOLATED), self.in_state(State.WATCH)
        if violated:
            names = ", ".join(one.bias.name for one in violated)
            return f"Outside of its range with certainty: {names} ({facet}, {rows})."
        if not self.judged:
            return f"Measured, and held to no range ({facet}, {rows})."
        return (
            f"No metric is outside of its range with certainty, {len(watched)} of {len(self.judged)} are to be watched "
            f"({facet}, {rows})."
        )


def page_of(results: Sequence[BiasResult]) -> Page:
    """The page of one facet, or of several of one label."""
    violated = [one for result in results for one in result.in_state(State.VIOLATED)]
    watched = [one for result in results for one in result.in_state(State.WATCH)]
    judged = [one for result in results for one in result.judged]
    headline = "No bias beyond what is allowed"
    if not judged:
        headline = "Bias was measured, and held to no range"
    if watched:
        headline = "There may be more bias than is allowed; it is not certain"
    if violated:
        headline = "There is more bias than is allowed"
    return Page(
        title="Bias report",
        headline=headline,
        lead=" ".join(result.summary for result in results),
        tone="bad" if violated else "unsure" if watched or not judged else "good",
        facts=[fact for result in results for fact in _facts(result)],
        charts=[chart for result in results for chart in _charts_of(result, named=len(results) > 1)],
        tables=[table for result in results for table in (_facets(result), *_undefined(result))],
    )


def _charts_of(result: BiasResult, *, named: bool) -> list[Chart]:
    """The charts of one facet; with its name where there are others."""
    facet = f" ({result.question.facet.column} in {result.question.facet.words})" if named else ""
    return [
        *_charts(f"Predictions{facet}", result.post, result.confidence),
        *_charts(f"Labels{facet}", result.pre, result.confidence),
    ]


def _facts(result: BiasResult) -> list[tuple[str, str]]:
    facets = result.tally.counts.cells.sum(axis=(0, 2, 3))
    return [
        (
            f"Facet d: {result.question.facet.column} in {result.question.facet.words}",
            f"{int(facets[DISFAVOURED]):,} rows",
        ),
        ("Facet a: everyone else", f"{int(facets[FAVOURED]):,} rows"),
        ("Rows left out: something missing", f"{result.tally.left_out:,}"),
    ]


def _charts(title: str, found: Sequence[Judged], confidence: float) -> list[Chart]:
    measured = [one for one in found if one.bias.measure]
    bounded = [_gauge(one) for one in measured if _is_bounded(one.bias.name)]
    free = [_gauge(one) for one in measured if not _is_bounded(one.bias.name)]
    note = (
        f"The dot is what was measured; the bar holds the true value with {confidence:.0%} confidence. The grey line is "
        "fair: zero, or one for a ratio. The text under a name says what a value above zero means. Dashed lines are the "
        "ends of the range that a metric is held to: it is violated (red) when its whole bar is outside."
    )
    charts = []
    if bounded:
        axis = axis_around(bounded, -1.0, 1.0)
        charts.append(Chart(title=title, note=note, gauges=bounded, axis=axis, limit="range"))
    if free:
        note = "Read as above; these have no common scale."
        charts.append(Chart(title=f"{title}: ratios and divergences", note=note, gauges=free, axis=None, limit="range"))
    return charts


def _is_bounded(name: str) -> bool:
    return name == FLIP_TEST or METRICS[name].bounded


def _gauge(one: Judged) -> Gauge:
    found = one.bias.measure
    assert found is not None  # noqa: S101  # the caller has chosen those that were measured
    known = METRICS.get(one.bias.name)
    return Gauge(
        name=FLIP_TEST_DESCRIPTION if known is None else known.description,
        value=found.value,
        lower=found.lower,
        upper=found.upper,
        limits=one.range or (),
        state=one.state.value if one.state else "",
        bad=one.state is State.VIOLATED,
        note=FLIP_TEST_MEANING if known is None else known.meaning,
        ideal=0.0 if known is None else known.fair,
    )


def _facets(result: BiasResult) -> Table:
    counts = result.tally.counts
    seen = outcomes(counts.cells[None], counts.positive)
    rows = []
    for name, facet in ((f"d: {result.question.facet.words}", DISFAVOURED), ("a: everyone else", FAVOURED)):
        total = seen.rows[0, facet]
        line = [name, f"{int(total):,}", f"{seen.observed[0, facet] / total:.1%}"]
        if counts.predicted:
            right = seen.tp[0, facet] + seen.tn[0, facet]
            line += [f"{seen.accepted[0, facet] / total:.1%}", f"{right / total:.1%}"]
        rows.append(line)
    columns = ["Facet", "Rows", "Favourable labels"]
    return Table(
        title=f"Facets of {result.question.facet.column}",
        note=f"A label is favourable where {result.question.label.column} is in {result.question.label.words}.",
        columns=[*columns, *(["Favourable predictions", "Right predictions"] if counts.predicted else [])],
        rows=rows,
    )


def _undefined(result: BiasResult) -> list[Table]:
    missing = [one.bias for one in (*result.pre, *result.post) if one.bias.measure is None]
    if not missing:
        return []
    return [
        Table(
            title="Not measured",
            note="These metrics have no value on these rows.",
            columns=["Metric", "Why"],
            rows=[[bias.name, bias.error] for bias in missing],
            numbers=False,
        )
    ]
