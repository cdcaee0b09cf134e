"""Great Expectations' result document, validation.json, made from answers wherever they come from.

Every expectation is in it with its severity, what was observed, and in its `meta` how it was evaluated. Who reads it
(`findings`, `page`, Great Expectations' own renderer) need not know more.

Format: `ExpectationSuiteValidationResult.to_json_dict()` of Great Expectations 1.x.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from millrace.quality.expectation import Expectation, Suite
from millrace.quality.streaming.answers import Answer

STREAMED = "streamed"
IN_MEMORY = "in memory"
NOTHING_RAISED = {"raised_exception": False, "exception_traceback": None, "exception_message": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """An expectation, its answer, and how it was come by."""

    expectation: Expectation
    answer: Answer
    how: str = STREAMED
    why: str | None = None
    """Why it was not streamed."""


def document_of(suite: Suite, results: Sequence[Evaluated], *, gate: str) -> dict[str, Any]:
    """The document, in the suite's order. `success` is Great Expectations' own: every expectation holds, of whatever
    severity; what blocks is the verdict's business."""
    held = sum(result.answer.success for result in results)
    now = datetime.now(UTC).isoformat()
    return {
        "success": held == len(results),
        "suite_name": suite.name,
        "suite_parameters": {},
        "statistics": {
            "evaluated_expectations": len(results),
            "successful_expectations": held,
            "unsuccessful_expectations": len(results) - held,
            "success_percent": held / len(results) * 100 if results else None,
        },
        "results": [_result(result) for result in results],
        "meta": {
            "run_id": {"run_name": re.sub(r"[^A-Za-z0-9-]+", "-", gate).strip("-") or "gate", "run_time": now},
            "active_batch_definition": {"data_asset_name": gate},
        },
    }


def _result(result: Evaluated) -> dict[str, Any]:
    how = {"evaluated": result.how} | ({"reason": result.why} if result.why else {})
    return {
        "success": result.answer.success,
        "expectation_config": result.expectation.to_json(),
        "result": _plain(result.answer.result),
        "meta": how,
        "exception_info": _raised(result.answer.exception) if result.answer.exception else NOTHING_RAISED,
    }


def _raised(message: str) -> dict[str, Any]:
    return {"raised_exception": True, "exception_traceback": "", "exception_message": message}


def _plain(value: Any) -> Any:
    """The value as JSON has it; dates as ISO 8601, whatever else as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
