"""The drift report: one self-contained HTML page with the verdict, the distances and the distributions.

This module computes what is drawn (bars, positions, colours by role); `report.html` draws it as inline SVG under
Jinja's autoescape, so that a column name can never become markup. It decides nothing and reads no rows; no script, no
font and no image is fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import jinja2
import numpy as np

from millrace.monitoring.drift import DriftResult, FeatureDrift
from millrace.profiling.summary import ColumnSummary, DatasetSummary, Floats, NumericSummary, TextSummary

FILE_NAME = "report.html"
SCALES = (0.2, 0.5, 1.0)
MAX_BARS = 24
MAX_PANELS = 6
MAX_BINS = 20
MAX_CATEGORIES = 10
PANEL_WIDTH, PANEL_HEIGHT = 320.0, 130.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """One bin or category of a panel: where it stands and how high it is on both sides, in SVG units."""

    x: float
    width: float
    baseline: float
    current: float
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Two distributions of one feature over the same bins."""

    feature: FeatureDrift
    bins: list[Bin]
    ticks: list[tuple[float, str]]


def write_report(folder: Path, result: DriftResult, baseline: DatasetSummary, dataset: DatasetSummary) -> Path:
    """Write `report.html` into `folder` and return its path."""
    template = Path(__file__).with_name(FILE_NAME).read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    shown = result.features[:MAX_PANELS]
    bars = result.features[:MAX_BARS]
    page = environment.from_string(template).render(
        result=result,
        baseline=baseline,
        dataset=dataset,
        bars=bars,
        hidden=result.features[MAX_BARS:],
        scale=next((s for s in SCALES if all(max(f.distance, f.threshold * 1.1) <= s for f in bars)), 1.0),
        panels=[_panel(f, baseline.columns[f.name], dataset.columns[f.name]) for f in shown],
        panel_width=PANEL_WIDTH,
        panel_height=PANEL_HEIGHT,
    )
    path = folder / FILE_NAME
    path.write_text(page, encoding="utf-8")
    return path


def _panel(feature: FeatureDrift, old: ColumnSummary, new: ColumnSummary) -> Panel:
    if isinstance(old, NumericSummary):
        labels, shares = _histograms(old, new if isinstance(new, NumericSummary) else None)
    else:
        labels, shares = _category_shares(old, new)
    top = max(float(max(side.max() for side in shares)), 1e-9)
    width = PANEL_WIDTH / len(labels)
    bins = [
        Bin(
            x=index * width,
            width=width,
            baseline=float(before) / top * PANEL_HEIGHT,
            current=float(after) / top * PANEL_HEIGHT,
            title=f"{label}: baseline {before:.1%}, now {after:.1%}",
        )
        for index, (label, before, after) in enumerate(zip(labels, *shares, strict=True))
    ]
    if isinstance(old, NumericSummary):
        ends = [old.minimum, old.maximum]
        if isinstance(new, NumericSummary):
            ends += [new.minimum, new.maximum]
        low, high = min(ends), max(ends)
        ticks = [(0.0, f"{low:.4g}"), (PANEL_WIDTH / 2, f"{(low + high) / 2:.4g}"), (PANEL_WIDTH, f"{high:.4g}")]
    else:
        fits = max(3, int(PANEL_WIDTH / len(labels) / 6.5))
        ticks = [
            ((index + 0.5) * width, label if len(label) <= fits else label[: fits - 1] + "…")
            for index, label in enumerate(labels)
        ]
    return Panel(feature=feature, bins=bins, ticks=ticks)


def _histograms(old: NumericSummary, new: NumericSummary | None) -> tuple[list[str], list[Floats]]:
    sides = [old] if new is None else [old, new]
    low, high = min(s.minimum for s in sides), max(s.maximum for s in sides)
    whole = all((s.values == np.floor(s.values)).all() for s in sides) and high - low < MAX_BINS
    edges = np.arange(low - 0.5, high + 1) if whole else np.linspace(low, high, MAX_BINS + 1)
    if low == high:
        edges = np.array([low - 0.5, low + 0.5])
    shares = [np.histogram(s.values, bins=edges, weights=s.weights)[0] / s.present for s in sides]
    if new is None:
        shares.append(np.zeros_like(shares[0]))
    if whole:
        return [f"{edge + 0.5:g}" for edge in edges[:-1]], shares
    return [f"{left:.4g} to {right:.4g}" for left, right in pairwise(edges)], shares


def _category_shares(old: ColumnSummary, new: ColumnSummary) -> tuple[list[str], list[Floats]]:
    counts = [side.categories if isinstance(side, TextSummary) else {} for side in (old, new)]
    totals = [max(side.present, 1) for side in (old, new)]
    keys = sorted(
        counts[0].keys() | counts[1].keys(),
        key=lambda key: -max(c.get(key, 0) / t for c, t in zip(counts, totals, strict=True)),
    )[:MAX_CATEGORIES]
    return keys, [np.array([c.get(k, 0) / t for k in keys]) for c, t in zip(counts, totals, strict=True)]
