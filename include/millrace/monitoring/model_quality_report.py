"""What the model quality report says: the result in words, its facts, charts and tables. `page` draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from millrace.monitoring.certainty import State
from millrace.monitoring.ground_truth import Coverage
from millrace.monitoring.interval import Measure
from millrace.monitoring.model_quality import Classified, ProblemType
from millrace.monitoring.model_quality_file import Judgement
from millrace.monitoring.page import Chart, Gauge, Page, Table, axis_around

MAX_CLASSES = 20
MEANINGS: Mapping[str, str] = {
    "accuracy": "share of predictions that are right",
    "precision": "share of positive predictions that are right",
    "recall": "share of positive labels that were found",
    "true_negative_rate": "share of negative labels that were found",
    "auc": "chance that a positive row scores above a negative one",
    "f1": "precision and recall together",
    "f0_5": "as F1, precision counts more",
    "f2": "as F1, recall counts more",
    "log_loss": "surprise at the labels; lower is better",
    "brier": "squared error of the probabilities; lower is better",
    "mae": "average error, in the label's unit; lower is better",
    "mse": "average squared error; lower is better",
    "rmse": "root of mse, in the label's unit; lower is better",
    "r2": "share of the labels' variance that is explained; higher is better",
    "weighted_f1": "F1 of each class, averaged by its rows",
}
SAME_AGAIN = ("true_positive_rate", "false_positive_rate", "false_negative_rate", "weighted_recall")
"""Stand in the files; on the page they would repeat recall, true_negative_rate and accuracy."""
OPEN_ENDED = ("log_loss", "brier", "mae", "mse", "rmse", "r2")


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityResult:
    """What was measured, or estimated, and how it was judged."""

    problem: ProblemType
    coverage: Coverage
    least_labels: int
    confidence: float
    rows: Classified | None
    measures: Mapping[str, Measure]
    """Empty when labels are too few."""
    judgements: Sequence[Judgement]
    estimated: Mapping[str, Measure]
    """Empty when labels are enough: an estimate never stands among measured figures."""
    estimated_judgements: Sequence[Judgement]
    calibrated: bool

    @property
    def measured(self) -> bool:
        return bool(self.measures)

    @property
    def too_few(self) -> str:
        """The sentence that says so."""
        seen = self.coverage
        return f"{seen.labelled:,} of {seen.predictions:,} predictions have a label; {self.least_labels:,} are needed."

    @property
    def summary(self) -> str:
        """One sentence."""
        if not self.measured:
            figures = ", ".join(f"{name} {m.value:.3f}" for name, m in self.estimated.items() if name != "precision")
            return f"Not measured: {self.too_few}" + (f" Estimated, not measured: {figures}." if figures else "")
        states = [j.state for j in self.judgements]
        bad, watch = states.count(State.VIOLATED), states.count(State.WATCH)
        rows = f"{self.coverage.labelled:,} labelled of {self.coverage.predictions:,} predictions"
        if not states:
            return f"Measured on {rows}; there is no baseline to judge by."
        if bad:
            names = ", ".join(j.constraint.metric for j in self.judgements if j.state is State.VIOLATED)
            return f"Worse than the baseline allows: {names} ({bad} of {len(states)} constraints, {rows})."
        return f"No constraint is violated with certainty, {watch} of {len(states)} are to be watched ({rows})."


def page_of(result: QualityResult) -> Page:
    """The page of a result."""
    bad = any(j.state is State.VIOLATED for j in result.judgements)
    watch = any(j.state is State.WATCH for j in result.judgements)
    headline = "Not measured: too few labels have come"
    if result.measured:
        headline = "Model quality was measured"
    if result.judgements and result.measured:
        headline = "No sign that the model has become worse"
        headline = "The model may have become worse; it is not certain" if watch else headline
        headline = "The model has become worse" if bad else headline
    return Page(
        title="Model quality report",
        headline=headline,
        lead=result.summary,
        tone="bad" if bad else "unsure" if watch or not result.measured else "good",
        facts=_facts(result.coverage),
        charts=[*_measured_charts(result), *_estimated_charts(result)],
        tables=[*_confusion(result), _coverage(result.coverage)],
    )


def _facts(coverage: Coverage) -> list[tuple[str, str]]:
    facts = [
        ("Predictions", f"{coverage.predictions:,}"),
        ("With a label", f"{coverage.labelled:,}"),
        ("Label coverage", f"{coverage.share:.1%}"),
    ]
    if coverage.delay_seconds:
        facts += [
            ("Half of the labels within", duration(coverage.delay_seconds["p50"])),
            ("90 % within", duration(coverage.delay_seconds["p90"])),
        ]
    return facts


def _measured_charts(result: QualityResult) -> list[Chart]:
    judged = {j.constraint.metric: j for j in result.judgements}
    gauges = [_gauge(n, m, judged.get(n)) for n, m in result.measures.items() if n not in SAME_AGAIN]
    bounded = [g for g in gauges if g.name not in OPEN_ENDED]
    free = [g for g in gauges if g.name in OPEN_ENDED]
    note = (
        f"The dot is what was measured on the labelled rows; the bar holds the true value with {result.confidence:.0%} "
        "confidence. A dashed line is the constraint's threshold: a metric is violated when its whole bar is on the "
        "wrong side (red), and worth a watch when only the dot is."
    )
    charts = []
    if bounded:
        axis = axis_around(bounded, 0.0, 1.0)
        charts.append(Chart(title="Measured: shares and scores", note=note, gauges=bounded, axis=axis))
    if free:
        title = "Measured: losses and errors"
        charts.append(Chart(title=title, note=note if not bounded else "Read as above.", gauges=free, axis=None))
    return charts


def _estimated_charts(result: QualityResult) -> list[Chart]:
    if not result.estimated:
        return []
    judged = {j.constraint.metric: j for j in result.estimated_judgements}
    gauges = [_gauge(n, m, judged.get(n), estimate=True) for n, m in result.estimated.items()]
    source = "held against the baseline's labels" if result.calibrated else "taken as they are"
    return [
        Chart(
            title="Estimate, not measured",
            note=f"What the metrics would be if the model's probabilities ({source}) still say how often they are right "
            "(confidence-based performance estimation). If labels have come to depend on the features in another way, "
            "this estimate does not see it. The bar holds chance in the labels only.",
            gauges=gauges,
            axis=axis_around(gauges, 0.0, 1.0),
        )
    ]


def _gauge(name: str, found: Measure, judgement: Judgement | None, *, estimate: bool = False) -> Gauge:
    state = "" if judgement is None else judgement.state.value
    if estimate and state:
        state = "estimate: within" if state == State.MET else "estimate: beyond"
    return Gauge(
        name=name,
        value=found.value,
        lower=found.lower,
        upper=found.upper,
        limits=() if judgement is None else (judgement.constraint.threshold,),
        state=state,
        bad=state == State.VIOLATED,
        note=MEANINGS.get(name, ""),
    )


def _confusion(result: QualityResult) -> list[Table]:
    if not result.measured or result.rows is None or len(result.rows.classes) > MAX_CLASSES:
        return []
    names = result.rows.classes
    return [
        Table(
            title="Confusion matrix",
            note="Labelled rows: what was true (one a line) against what was predicted (one a column).",
            columns=["Label", *(f"predicted {name}" for name in names)],
            rows=[
                [name, *(f"{int(cell):,}" for cell in line)]
                for name, line in zip(names, result.rows.confusion, strict=True)
            ],
        )
    ]


def _coverage(coverage: Coverage) -> Table:
    counts = [
        ("Usable predictions", coverage.predictions),
        ("of these with a label", coverage.labelled),
        ("Predictions left out: no id, prediction or probability", coverage.unusable),
        ("Predictions left out: their id came before", coverage.repeated_predictions),
        ("Ids in the ground truth", coverage.labels),
        ("of these without a prediction", coverage.unknown_labels),
        ("Labels left out: no id or no label", coverage.unusable_labels),
        ("Labels replaced by a later one of the same id", coverage.repeated_labels),
    ]
    rows = [[name, f"{count:,}"] for name, count in counts]
    names = {"p50": "half", "p90": "90 %", "p99": "99 %", "p100": "all"}
    delays = coverage.delay_seconds or {}
    rows += [[f"Delay: {names[key]} of the labels came within", duration(value)] for key, value in delays.items()]
    return Table(
        title="Ground truth",
        note="Labels that come late are missing here; the rows that have one may not be a fair draw from all rows.",
        columns=["", "Rows"],
        rows=rows,
    )


def duration(seconds: float) -> str:
    """Seconds in a unit that people read.

    >>> duration(90), duration(7200), duration(-172800)
    ('90 s', '2.0 h', '-2.0 d')
    """
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 180)):
        if abs(seconds) >= size:
            return f"{seconds / (60 if unit == 'min' else size):.1f} {unit}"
    return f"{seconds:.0f} s"
