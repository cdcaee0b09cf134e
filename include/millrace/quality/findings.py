"""Turn a Great Expectations result into a verdict: one finding for every failed expectation.

Values are shown, a few and shortened, because a gate that only counts cannot be acted on. An expectation that could not
be evaluated (its column is missing, or holds text where numbers are compared) has failed, and its finding says why. It
judges nothing itself: `passed` is Great Expectations' `success`.
"""

from __future__ import annotations

import json
from typing import Any

from millrace.verdict import Finding, Verdict

MAX_FINDINGS = 100
MAX_VALUES = 5
MAX_TEXT = 300
NOT_SHOWN = ("batch_id", "column")


def verdict_of(document: dict[str, Any], *, gate: str, rows: int, artifacts: dict[str, str]) -> Verdict:
    """The verdict on a validation result.

    Args:
        document: the result as Great Expectations' JSON document.
        rows: rows in the batch.
        artifacts: name to path, relative to the folder of the verdict.
    """
    failed = [result for result in document["results"] if not result["success"]]
    total = len(document["results"])
    findings = [Finding(subject=_subject(result), message=_message(result)) for result in failed[:MAX_FINDINGS]]
    if len(failed) > MAX_FINDINGS:
        more = len(failed) - MAX_FINDINGS
        findings.append(Finding(subject="suite", message=f"{more} more expectations failed; see validation.json"))
    passed = bool(document["success"])
    word = "Passed" if passed else "Failed"
    return Verdict(
        gate=gate,
        passed=passed,
        summary=f"{word}: {total - len(failed)} of {total} expectations hold on {rows} rows.",
        metrics={"rows": rows, "expectations": total, "failed_expectations": len(failed)},
        findings=findings,
        artifacts=artifacts,
    )


def _subject(result: dict[str, Any]) -> str:
    arguments = result["expectation_config"]["kwargs"]
    for name in ("column", "column_list", "column_set", "column_A"):
        if arguments.get(name) is not None:
            value = arguments[name]
            return value if isinstance(value, str) else ", ".join(map(str, value))[:MAX_TEXT]
    return "table"


def _message(result: dict[str, Any]) -> str:
    config, seen = result["expectation_config"], result.get("result") or {}
    arguments = {k: v for k, v in config["kwargs"].items() if k not in NOT_SHOWN and v is not None}
    expected = f"{config['type']}({', '.join(f'{k}={_short(v)}' for k, v in arguments.items())})"
    exception = _exception(result.get("exception_info") or {})
    if exception:
        return f"{expected}: could not be evaluated: {exception}"
    if "unexpected_count" in seen:
        percent = seen.get("unexpected_percent") or 0.0
        message = f"{expected}: {seen['unexpected_count']} of {seen.get('element_count')} unexpected ({percent:.2f} %)"
        found = (_short(v) for v in seen.get("partial_unexpected_list") or [] if v is not None)
        values = list(dict.fromkeys(found))[:MAX_VALUES]
        return f"{message}, for example {', '.join(values)}" if values else message
    if "observed_value" in seen:
        return f"{expected}: observed {_short(seen['observed_value'])}"
    return f"{expected}: not satisfied"


def _exception(info: dict[str, Any]) -> str | None:
    """The first exception message; Great Expectations nests one record per metric, or gives a single one."""
    records = [info] if "raised_exception" in info else [r for r in info.values() if isinstance(r, dict)]
    for record in records:
        if record.get("raised_exception"):
            return " ".join(str(record.get("exception_message")).split())[:MAX_TEXT]
    return None


def _short(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
