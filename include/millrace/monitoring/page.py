"""A report page of measured values: a headline, facts, values with their intervals against thresholds, and tables.

Model quality, bias and attribution drift say what stands on their pages; this module places it, and `page.html` draws it as
inline SVG under Jinja's autoescape, so that no name from the data can become markup. No script, font or image is fetched.
It decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

TEMPLATE = "page.html"
FILE_NAME = "report.html"
WIDTH = 430.0
"""Of an axis, in SVG units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One value, where its interval lies, and the limit it is held against."""

    name: str
    value: float
    lower: float
    upper: float
    limits: tuple[float, ...] = ()
    state: str = ""
    """A word for the last column; empty where nothing is judged."""
    bad: bool = False
    note: str = ""
    """What the name means, in a few words."""
    ideal: float | None = None
    """Where nothing would be amiss; marked on the axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Gauges, on one axis or each on its own."""

    title: str
    note: str
    gauges: Sequence[Gauge]
    axis: tuple[float, float] | None
    """The ends of the common axis; None where units differ, and each gauge has an axis of its own."""
    limit: str = "threshold"
    """What a dashed line is."""

    def ends(self, gauge: Gauge) -> tuple[float, float]:
        """The axis of one gauge, never of zero length."""
        if self.axis is not None:
            return self.axis
        points = [gauge.lower, gauge.upper, gauge.value, *gauge.limits]
        points += [] if gauge.ideal is None else [gauge.ideal]
        low, high = min(points), max(points)
        room = (high - low or abs(high) or 1.0) * 0.15
        return low - room, high + room

    def place(self, gauge: Gauge, value: float) -> float:
        """Where a value stands on its gauge's axis, in SVG units, held inside of it."""
        low, high = self.ends(gauge)
        return min(max((value - low) / (high - low), 0.0), 1.0) * WIDTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: bool = True
    """Whether all columns but the first hold numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    title: str
    headline: str
    lead: str
    tone: str
    """`good`, `bad`, or `unsure`: the colour at the headline."""
    facts: Sequence[tuple[str, str]] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = field(default=())


def write_page(folder: Path, page: Page) -> Path:
    """Write `report.html` into `folder` and return its path."""
    template = Path(__file__).with_name(TEMPLATE).read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    path = folder / FILE_NAME
    path.write_text(environment.from_string(template).render(page=page, width=WIDTH), encoding="utf-8")
    return path


def axis_around(gauges: Sequence[Gauge], low: float, high: float) -> tuple[float, float]:
    """An axis inside of `low` to `high` that holds all gauges, with its ends at tenths of that range."""
    step = (high - low) / 10
    points = [point for g in gauges for point in (g.lower, g.upper, *g.limits)]
    steps = [(min(max(point, low), high) - low) / step for point in points] or [0.0, 10.0]
    first, last = int(min(steps)), -int(-max(steps) // 1)
    return low + first * step, low + min(max(last, first + 1), 10) * step
