"""The Data Docs of a gate: one self-contained HTML page, the verdict first, what failed above what holds.

It is made from the result document and the verdict alone, under Jinja's autoescape, so that a value of the data can never
become markup; no script, no font and no image is fetched. It decides nothing. Great Expectations' own page of the same
document is `data_docs`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from millrace.quality.findings import BLOCKING, PUT_ASIDE, QUARANTINE, observed, severity, subject_of
from millrace.quality.results import IN_MEMORY
from millrace.verdict import Verdict

TEMPLATE = Path(__file__).with_name("page.html")
FILE_NAME = "index.html"
MAX_HOLDING = 1000
"""Expectations that hold are listed up to here; those that fail always are."""
MAX_TEXT = 400
MAX_TEXT_WHERE_IT_HOLDS = 80
COLUMNS = ("column", "column_A", "column_B", "column_list", "batch_id")
SIGNS = {"min_value": ("≥", ">"), "max_value": ("≤", "<")}
PLAIN = {"value_set": "", "column_set": "", "value": "", "regex": "", "type_": ""}
"""Arguments whose name says no more than the expectation's."""
ORDER = (BLOCKING, "warning", "info")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One expectation, as a line of the page's tables."""

    severity: str
    subject: str
    words: str
    """`values to be between`."""
    arguments: str
    """`≥ 0, ≤ 16`."""
    seen: str
    unexpected: str
    missing: str
    in_memory: str | None
    """Why it was not streamed."""
    because: str | None
    """The author's note: `meta.notes` or the like."""


def write_page(
    folder: Path, document: dict[str, Any], verdict: Verdict, *, columns: int, links: Sequence[tuple[str, str]] = ()
) -> Path:
    """Write `index.html` into `folder` and return its path.

    Args:
        document: the result document (`results`).
        verdict: what was made of it.
        columns: columns of the data.
        links: words and relative addresses of further pages.
    """
    failed = [result for result in document["results"] if not result["success"]]
    holding = [result for result in document["results"] if result["success"]]
    blocking = [line_of(result) for result in failed if severity(result) == BLOCKING]
    warning = sorted(
        (line_of(r) for r in failed if severity(r) != BLOCKING), key=lambda line: ORDER.index(line.severity)
    )
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        verdict=verdict,
        suite=document["suite_name"],
        when=document["meta"]["run_id"]["run_time"][:16].replace("T", " ") + " UTC",
        columns=columns,
        blocking=blocking,
        warning=warning,
        holding=[line_of(result) for result in holding[:MAX_HOLDING]],
        not_listed=max(0, len(holding) - MAX_HOLDING),
        obstacles=[finding for finding in verdict.findings if finding.subject == QUARANTINE],
        aside=[finding for finding in verdict.findings if finding.message.startswith(PUT_ASIDE)],
        quarantine="rows_quarantined" in verdict.metrics,
        links=links,
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    path.write_text(page, encoding="utf-8")
    return path


def line_of(result: dict[str, Any]) -> Line:
    """A result of the document as a line."""
    config, seen = result["expectation_config"], result.get("result") or {}
    arguments = {name: v for name, v in config["kwargs"].items() if name not in COLUMNS and v is not None}
    told = [words for name, value in arguments.items() if (words := _told(name, value, arguments))]
    notes = config.get("meta", {}).get("notes")
    return Line(
        severity=severity(result),
        subject=_subject(result),
        words=_words(config["type"]),
        arguments=_cut(", ".join(told), MAX_TEXT_WHERE_IT_HOLDS if result["success"] else MAX_TEXT),
        seen=_cut(observed(result), MAX_TEXT_WHERE_IT_HOLDS if result["success"] else MAX_TEXT),
        unexpected=_count(seen, "unexpected_count"),
        missing=_count(seen, "missing_count"),
        in_memory=result["meta"].get("reason") if result["meta"].get("evaluated") == IN_MEMORY else None,
        because=_cut(str(notes)) if notes else None,
    )


def _subject(result: dict[str, Any]) -> str:
    arguments = result["expectation_config"]["kwargs"]
    if "column_A" in arguments:
        return f"{arguments['column_A']}, {arguments.get('column_B')}"
    return "table" if "column_set" in arguments else _cut(subject_of(result))


def _words(kind: str) -> str:
    plain = kind.removeprefix("expect_")
    for prefix in ("column_values_", "table_", "column_"):
        if plain.startswith(prefix):
            plain = plain.removeprefix(prefix)
            break
    return plain.removeprefix("to_").replace("_", " ")


def _told(name: str, value: Any, arguments: dict[str, Any]) -> str:
    """One argument as a person writes it; empty where another one says it."""
    if name in ("min_value", "max_value"):
        strict = arguments.get("strict_" + name.removesuffix("_value"))
        return f"{SIGNS[name][bool(strict)]} {_value(value)}"
    if name == "mostly" and isinstance(value, (int, float)):
        return f"in at least {value:.6g} of the rows" if value < 1 else ""
    return "" if name in ("strict_min", "strict_max") else f"{PLAIN.get(name, name)} {_value(value)}".strip()


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _count(seen: dict[str, Any], name: str) -> str:
    return f"{seen[name]:,}" if isinstance(seen.get(name), int) else ""


def _cut(text: str, most: int = MAX_TEXT) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
