"""What the attribution drift report says: the result in words, its charts and its table. `page` draws them."""

from __future__ import annotations

from millrace.monitoring.attribution import AttributionDrift
from millrace.monitoring.certainty import State
from millrace.monitoring.page import Chart, Gauge, Page, Table

MAX_SHOWN = 30


def summary(drift: AttributionDrift, least_ndcg: float) -> str:
    """One sentence."""
    words = {
        State.VIOLATED: "Attribution drift: the ranking of features has changed",
        State.WATCH: "Attribution drift is likely and not certain",
        State.MET: "No attribution drift",
    }
    found = drift.ndcg
    return (
        f"{words[drift.state]} (NDCG {found.value:.3f}, interval {found.lower:.3f} to {found.upper:.3f}, at "
        f"least {least_ndcg:g} wanted; {drift.rows:,} rows)."
    )


def page_of(drift: AttributionDrift, least_ndcg: float, confidence: float) -> Page:
    """The report's page: NDCG, then every feature against its baseline."""
    headlines = {
        State.VIOLATED: "The model attends to other features than it did",
        State.WATCH: "The model may attend to other features than it did; it is not certain",
        State.MET: "The model attends to the same features as it did",
    }
    found = drift.ndcg
    ranking = Gauge(
        name="NDCG", value=found.value, lower=found.lower, upper=found.upper, limits=(least_ndcg,), state=drift.state.value,
        bad=drift.state is State.VIOLATED, note="1: the baseline's ranking", ideal=1.0,
    )  # fmt: skip
    shown = drift.features[:MAX_SHOWN]
    gauges = [
        Gauge(
            name=f.name, value=f.now.value, lower=f.now.lower, upper=f.now.upper, ideal=f.baseline,
            note=f"rank {f.baseline_rank} in the baseline, {f.rank} now",
        )
        for f in shown
    ]  # fmt: skip
    end = max([max(f.baseline, f.now.upper) for f in drift.features] or [1.0]) * 1.05 or 1.0
    more = f" The first {MAX_SHOWN} of {len(drift.features)} are shown." if len(drift.features) > MAX_SHOWN else ""
    return Page(
        title="Attribution drift report",
        headline=headlines[drift.state],
        lead=summary(drift, least_ndcg),
        tone={State.VIOLATED: "bad", State.WATCH: "unsure"}.get(drift.state, "good"),
        facts=[
            ("Rows now", f"{drift.rows:,}"),
            ("Features", f"{len(drift.features)}"),
            ("Features at another rank", f"{sum(f.rank != f.baseline_rank for f in drift.features)}"),
        ],
        charts=[
            Chart(
                title="How alike the two rankings are",
                note="Features that mattered in the baseline should still rank first (normalised discounted cumulative "
                f"gain). The bar holds the true value with {confidence:.0%} confidence; left of the dashed line is drift.",
                gauges=[ranking],
                axis=(min(0.5, found.lower), 1.0),
            ),
            Chart(
                title="How much each feature matters",
                note="Mean absolute Shapley value, in the score's unit: the dot now, with its interval; the grey line in "
                f"the baseline. In the baseline's order.{more}",
                gauges=gauges,
                axis=(0.0, end),
            ),
        ],
        tables=[
            Table(
                title="All features",
                note="In the baseline's order.",
                columns=["Feature", "Baseline", "Now", "Rank in the baseline", "Rank now"],
                rows=[
                    [f.name, f"{f.baseline:.4g}", f"{f.now.value:.4g}", str(f.baseline_rank), str(f.rank)]
                    for f in drift.features
                ],
            )
        ],
    )
