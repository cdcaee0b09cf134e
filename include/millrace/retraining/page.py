"""A model's history as one picture and one table, in one self-contained HTML page.

Three strips over one time axis, each there when there are records for it: how far each window was from the champion's
baseline, how good the champion was, how many rows were let through. Lines across them are retrainings that were asked for,
and challengers that won or lost. No script and nothing from a network; every text is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from html import escape
from itertools import pairwise
from pathlib import Path

from millrace.retraining.record import OUTCOMES, Record

STYLE = Path(__file__).with_name("page.css")
WIDTH, LEFT, RIGHT, STRIP, GAP = 1060, 70, 16, 120, 44
COLOURS = {"drifted": "#b3361e", "stable": "#8a99ad", "not judged": "#dfe4ea"}
MARKS = {
    "retrain": ("#b3361e", "retraining", -1),
    "promote": ("#1d7a46", "new champion", 1),
    "refuse": ("#8a6d1d", "challenger refused", 1),
}
"""Action to colour, words, and the side of its window on which it is drawn."""
KINDS = list(OUTCOMES)
MAX_ROWS = 200
"""Of the table."""


def page(model: str, records: Sequence[Record]) -> str:
    """The page of a model's records, in any order."""
    ordered = sorted(records, key=lambda record: (record.at, KINDS.index(record.kind)))
    latest = next((one for one in reversed(ordered) if one.action != "none"), None)
    said = f"{_day(latest)}, {latest.action}: {latest.why}" if latest else "Nothing was decided yet."
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>History of {escape(model)}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head><body><main>"
        f"<header><h1>History of {escape(model)}</h1><p>{escape(said)}</p></header>"
        f"<section><h2>What moved, and what followed</h2>{_key()}{_picture(ordered)}</section>"
        f"<section><h2>Decisions</h2>{_table([one for one in ordered if one.action != 'none'])}</section>"
        f"<section><h2>Findings</h2>{_table([one for one in ordered if one.action == 'none'])}</section>"
        "</main></body></html>"
    )


def _key() -> str:
    windows = [(COLOURS["stable"], "no drift"), (COLOURS["drifted"], "drift"), (COLOURS["not judged"], "not judged")]
    items = "".join(f'<span class="key" style="background:{colour}"></span>{words}' for colour, words in windows)
    return f'<p class="note">{items}</p>'


def _picture(records: Sequence[Record]) -> str:
    if not records:
        return '<p class="note">There is no record yet.</p>'
    first, last = records[0].at, records[-1].at
    span = (last - first) or timedelta(days=1)
    dates = sorted({record.at for record in records if record.kind == "window"})
    step = min((b - a for a, b in pairwise(dates)), default=span)
    bar = max(2.0, min(26.0, 0.7 * (WIDTH - LEFT - RIGHT) * (step / (span + step))))

    def x(record: Record) -> float:
        return LEFT + bar / 2 + (WIDTH - LEFT - RIGHT - bar) * ((record.at - first) / span)

    drawn = [
        (title, strip)
        for title, make in STRIPS.items()
        if (strip := make([record for record in records if record.kind == title[0]], x, bar))
    ]
    height = len(drawn) * (STRIP + GAP) + 36
    parts = [_mark(record, x(record), bar, height) for record in records if record.action in MARKS]
    for index, ((_, words), strip) in enumerate(drawn):
        top = index * (STRIP + GAP) + 24
        parts.append(
            f'<text class="title" x="{LEFT}" y="{top - 8}">{words}</text><g transform="translate(0 {top})">{strip}</g>'
        )
    labels = [records[0], records[len(records) // 2], records[-1]] if last > first else records[:1]
    for record, anchor in zip(labels, ("start", "middle", "end"), strict=False):
        parts.append(
            f'<text class="soft" x="{x(record):.1f}" y="{height - 4}" text-anchor="{anchor}">{_day(record)}</text>'
        )
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="The history as a picture">{"".join(parts)}</svg>'
    )


def _mark(record: Record, x: float, bar: float, height: int) -> str:
    colour, words, side = MARKS[record.action]
    at = x + side * (bar / 2 + 2)
    anchor = "start" if side > 0 else "end"
    return (
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="24" y2="{height - 36}" stroke="{colour}" stroke-width="2" '
        f'stroke-dasharray="5 3"><title>{_day(record)}: {words}. {escape(record.why)}</title></line>'
        f'<text x="{at + side * 5:.1f}" y="{height - 26}" text-anchor="{anchor}" style="fill:{colour};font-weight:600">'
        f"{words}</text>"
    )


Place = Callable[[Record], float]


def _drift(records: Sequence[Record], x: Place, bar: float) -> str:
    if not records:
        return ""
    top = max(0.2, *(record.facts.get("largest_distance", 0.0) for record in records))
    bars = "".join(
        _rect(
            x(one) - bar / 2, bar, max(1.5, _y(one.facts.get("largest_distance", 0.0), top)), COLOURS[one.outcome], one
        )
        for one in records
    )
    return _axis(f"{top:.2f}") + bars


def _quality(records: Sequence[Record], x: Place, _bar: float) -> str:
    shown = [record for record in records if "value" in record.facts]
    if not shown:
        return ""
    low = min(record.facts.get("low", record.facts["value"]) for record in shown)
    high = max(record.facts.get("high", record.facts["value"]) for record in shown)
    margin = 0.1 * (high - low) or 0.05
    low, high = low - margin, high + margin

    def y(value: float) -> float:
        return STRIP - STRIP * (value - low) / (high - low)

    parts = [_axis(f"{high:.3f}", f"{low:.3f}")]
    for one in shown:
        colour = "#1f6fb2" if one.outcome == "measured" else "#b9c4d0"
        if "low" in one.facts and "high" in one.facts:
            ends = f'y1="{y(one.facts["low"]):.1f}" y2="{y(one.facts["high"]):.1f}"'
            parts.append(
                f'<line x1="{x(one):.1f}" x2="{x(one):.1f}" {ends} stroke="{colour}" stroke-width="3" opacity="0.35"/>'
            )
        parts.append(
            f'<circle cx="{x(one):.1f}" cy="{y(one.facts["value"]):.1f}" r="4" fill="{colour}"><title>{_day(one)}: '
            f"{escape(one.summary)}</title></circle>"
        )
    return "".join(parts)


def _rows(records: Sequence[Record], x: Place, bar: float) -> str:
    shown = [record for record in records if _delivered(record)]
    if not shown:
        return ""
    top = max(_delivered(record) for record in shown)
    parts = [_axis(f"{top:,.0f}")]
    for one in shown:
        whole, aside = _y(_delivered(one), top), _y(one.facts.get("rows_quarantined", 0.0), top)
        parts.append(_rect(x(one) - bar / 2, bar, whole, "#8a99ad" if one.outcome == "passed" else "#dfe4ea", one))
        parts.append(_rect(x(one) - bar / 2, bar, aside, "#b3361e", one))
    return "".join(parts)


STRIPS: dict[tuple[str, str], Callable[[Sequence[Record], Place, float], str]] = {
    ("window", "Largest distance of a feature from the champion's baseline"): _drift,
    ("quality", "Quality of the champion, with its confidence interval; pale: an estimate"): _quality,
    ("gate", "Rows delivered; red: put into quarantine"): _rows,
}
"""Kind of record and title of a strip, to what draws it."""


def _delivered(record: Record) -> float:
    """Rows read; a gate without a quarantine counts them as its rows."""
    return record.facts.get("rows_read", record.facts.get("rows", 0.0))


def _y(value: float, top: float) -> float:
    return STRIP * value / top


def _rect(x: float, width: float, height: float, colour: str, record: Record) -> str:
    return (
        f'<rect x="{x:.1f}" y="{STRIP - height:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}">'
        f"<title>{_day(record)}: {escape(record.summary)}</title></rect>"
    )


def _axis(top: str, bottom: str = "0") -> str:
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{STRIP}" y2="{STRIP}" stroke="#5b6675"/>'
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="0" y2="0" stroke="#e8ecf1"/>'
        f'<text class="soft" x="{LEFT - 8}" y="10" text-anchor="end">{top}</text>'
        f'<text class="soft" x="{LEFT - 8}" y="{STRIP}" text-anchor="end">{bottom}</text>'
    )


def _table(records: Sequence[Record]) -> str:
    if not records:
        return '<p class="note">None yet.</p>'
    newest = list(reversed(records))[:MAX_ROWS]
    rows = "".join(
        f'<tr class="{escape(one.action)}"><td>{_day(one)}</td><td>{escape(one.kind)}</td><td>{escape(one.outcome)}</td>'
        f"<td>{escape(one.summary)}</td><td>{'' if one.action == 'none' else f'<strong>{escape(one.action)}</strong>: '}"
        f"{escape(one.why)}</td><td>{escape(one.champion or '')}</td></tr>"
        for one in newest
    )
    more = f'<p class="note">The newest {MAX_ROWS} of {len(records)}.</p>' if len(records) > MAX_ROWS else ""
    return (
        f"{more}<table><thead><tr><th>Time</th><th>What</th><th>Outcome</th><th>Found</th><th>Decided</th><th>Champion</th>"
        f"</tr></thead><tbody>{rows}</tbody></table>"
    )


def _day(record: Record) -> str:
    at = record.at
    return f"{at:%Y-%m-%d}" if (at.hour, at.minute) == (0, 0) else f"{at:%Y-%m-%d %H:%M}"
