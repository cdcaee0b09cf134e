"""Turn a result document into a verdict: one finding for every failed expectation, those that block first.

An expectation of severity `critical` blocks: when it fails, the gate fails. One of severity `warning` or `info` becomes a
finding and a metric, and lets the data pass. Values are shown, a few and shortened, because a gate that only counts
cannot be acted on. An expectation that could not be evaluated (its column is missing, or holds text where numbers are
compared) has failed, and its finding says why.
"""

from __future__ import annotations

import json
from typing import Any

from millrace.quality.quarantine import Quarantine
from millrace.quality.results import IN_MEMORY
from millrace.verdict import Finding, Verdict

MAX_FINDINGS = 100
MAX_VALUES = 5
MAX_TEXT = 300
NOT_SHOWN = ("batch_id", "column")
BLOCKING = "critical"
QUARANTINE = "quarantine"
"""The subject of what stops the data because of what was put aside."""
PUT_ASIDE = "put aside: "
"""How the finding about a reason of the quarantine begins."""


def verdict_of(
    document: dict[str, Any],
    *,
    gate: str,
    rows: int,
    artifacts: dict[str, str],
    quarantine: Quarantine | None = None,
    max_quarantined: float = 1.0,
) -> Verdict:
    """The verdict on a result document.

    Args:
        document: the result as Great Expectations' JSON document (`results`).
        rows: rows that were judged.
        artifacts: name to path, relative to the folder of the verdict.
        quarantine: what was put aside before.
        max_quarantined: the share of rows, from 0 to 1, that may be put aside.
    """
    results = document["results"]
    failed = [result for result in results if not result["success"]]
    blocking = [result for result in failed if severity(result) == BLOCKING]
    warnings = [result for result in failed if severity(result) != BLOCKING]
    in_memory = sum(result["meta"].get("evaluated") == IN_MEMORY for result in results)
    findings = [Finding(subject=subject_of(result), message=message_of(result)) for result in blocking]
    obstacles = [] if quarantine is None else _obstacles(quarantine, max_quarantined)
    aside = [] if quarantine is None else _put_aside(quarantine)
    findings = [*obstacles, *findings, *aside]
    findings += [
        Finding(subject=subject_of(result), message=f"{severity(result)}: {message_of(result)}") for result in warnings
    ]
    passed = not blocking and not obstacles
    summary = f"{len(results) - len(failed)} of {len(results)} expectations hold on {rows} rows"
    if quarantine is not None:
        summary += f", {quarantine.rows_quarantined} of {quarantine.rows_read} rows were put aside"
    if warnings:
        summary += f", {len(warnings)} only warn" if len(warnings) > 1 else ", 1 only warns"
    if in_memory:
        summary += f", {in_memory} evaluated in memory"
    return Verdict(
        gate=gate,
        passed=passed,
        summary=f"{'Passed' if passed else 'Failed'}: {summary}.",
        metrics={
            "rows": rows,
            "expectations": len(results),
            "failed_expectations": len(blocking),
            "warnings": len(warnings),
            "evaluated_in_memory": in_memory,
            **({} if quarantine is None else quarantine.metrics()),
        },
        findings=_at_most(findings),
        artifacts=artifacts,
    )


def severity(result: dict[str, Any]) -> str:
    return str(result["expectation_config"].get("severity") or BLOCKING)


def subject_of(result: dict[str, Any]) -> str:
    """What an expectation is about: its columns, or the table."""
    arguments = result["expectation_config"]["kwargs"]
    for name in ("column", "column_list", "column_set", "column_A"):
        if arguments.get(name) is not None:
            value = arguments[name]
            return value if isinstance(value, str) else ", ".join(map(str, value))[:MAX_TEXT]
    return "table"


def message_of(result: dict[str, Any]) -> str:
    """What was expected, and what was seen."""
    seen = observed(result)
    return f"{expected(result)}: {seen}"


def expected(result: dict[str, Any]) -> str:
    """The expectation as a call, without what names its column."""
    config = result["expectation_config"]
    arguments = {k: v for k, v in config["kwargs"].items() if k not in NOT_SHOWN and v is not None}
    return f"{config['type']}({', '.join(f'{k}={_short(v)}' for k, v in arguments.items())})"


def observed(result: dict[str, Any]) -> str:
    """What was seen, in words."""
    seen = result.get("result") or {}
    exception = _exception(result.get("exception_info") or {})
    if exception:
        return f"could not be evaluated: {exception}"
    if "element_count" in seen:
        percent = seen.get("unexpected_percent") or 0.0
        message = f"{seen['unexpected_count']} of {seen['element_count']} unexpected ({percent:.2f} %)"
        return message + _examples("for example", seen.get("partial_unexpected_list"))
    mismatched = (seen.get("details") or {}).get("mismatched")
    if mismatched:
        return _mismatched(mismatched)
    if seen.get("observed_value") is not None:
        return f"observed {_short(seen['observed_value'])}"
    if "unexpected_count" in seen or "missing_count" in seen:
        parts = [
            f"{seen[f'{word}_count']} {word}" + _examples("such as", seen.get(f"partial_{word}_list"))
            for word in ("unexpected", "missing")
            if f"{word}_count" in seen
        ]
        return "; ".join(parts)
    return "it holds" if result["success"] else "not satisfied"


def _mismatched(odd: Any) -> str:
    """Which columns are missing or unexpected, or in which position another one stands."""
    if isinstance(odd, dict):
        return "; ".join(f"{word}: {', '.join(map(str, names))}" for word, names in odd.items())[:MAX_TEXT]
    first = odd[:MAX_VALUES]
    places = [f"{one['Expected Column Position']}: {one['Found']} instead of {one['Expected']}" for one in first]
    return f"{len(odd)} positions differ, such as {', '.join(places)}"[:MAX_TEXT]


def _examples(words: str, values: list[Any] | None) -> str:
    shown = list(dict.fromkeys(_short(v) for v in values or [] if v is not None))[:MAX_VALUES]
    return f", {words} {', '.join(shown)}" if shown else ""


def _obstacles(quarantine: Quarantine, most: float) -> list[Finding]:
    """Why the quarantine itself stops the data."""
    if quarantine.share > most:
        message = (
            f"{quarantine.rows_quarantined} of {quarantine.rows_read} rows ({quarantine.share:.2%}) were put aside; at "
            f"most {most:.2%} may be"
        )
        return [Finding(subject=QUARANTINE, message=message)]
    if not quarantine.rows_accepted:
        return [Finding(subject=QUARANTINE, message="every row was put aside: nothing is left to go on with")]
    return []


def _put_aside(quarantine: Quarantine) -> list[Finding]:
    lines = f"{PUT_ASIDE}{quarantine.rows_unparsable} lines that are no rows: they have too many or too few cells"
    return [Finding(subject="lines", message=lines)] * bool(quarantine.rows_unparsable) + [
        Finding(
            subject=", ".join(reason.condition.columns)[:MAX_TEXT],
            message=f"{PUT_ASIDE}{reason.rows} rows that break {reason.text}"[: 2 * MAX_TEXT],
        )
        for reason in quarantine.reasons
        if reason.rows
    ]


def _at_most(findings: list[Finding]) -> list[Finding]:
    if len(findings) <= MAX_FINDINGS:
        return findings
    more = f"{len(findings) - MAX_FINDINGS} more findings; see validation.json"
    return [*findings[:MAX_FINDINGS], Finding(subject="suite", message=more)]


def _exception(info: dict[str, Any]) -> str | None:
    return " ".join(str(info.get("exception_message")).split())[:MAX_TEXT] if info.get("raised_exception") else None


def _short(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
