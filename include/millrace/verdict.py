"""The one small document that jobs hand back to operators.

A gate, an evaluation or a drift check runs as a SageMaker processing job, looks at the data, and writes one
`verdict.json`. The operator reads it from S3 and decides what happens next. Standard library only: this module
travels inside a job's source archive and is imported by Airflow workers.

What it does not do: it holds no data rows and no figures, only what a person reads in a log line and a machine
branches on. Everything larger stays in S3 and is named in `artifacts`.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE_NAME = "verdict.json"
MAX_BYTES = 256 * 1024


class VerdictError(ValueError):
    """A verdict document is missing a field, has a field of the wrong type, or is too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at and found wanting."""

    subject: str
    """What it is about: a column, a metric, an expectation."""
    message: str
    """What was expected and what was seen, with the values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A gate's result.

    Raises:
        VerdictError: a metric is not a finite number.
    """

    gate: str
    """Which gate spoke, for example `raw data` or `drift`."""
    passed: bool
    summary: str
    """One sentence for the task's log and the UI."""
    metrics: dict[str, float] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    artifacts: dict[str, str] = field(default_factory=dict)
    """Name to path, relative to the folder of the verdict."""

    def __post_init__(self) -> None:
        for name, value in self.metrics.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_finite(value):
                raise VerdictError(f"metric {name!r} of verdict {self.gate!r} is {value!r}; it must be a finite number")

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True)

    def write(self, folder: Path) -> Path:
        """Write `verdict.json` into `folder` (made if missing) and return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE_NAME
        path.write_text(self.to_json(), encoding="utf-8")
        return path


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond what a float holds
        return False


def parse(text: str | bytes) -> Verdict:
    """The verdict in a JSON document that came from outside.

    Raises:
        VerdictError: it is over 256 KiB, not JSON, or a field is missing or of the wrong type.
    """
    if len(text) > MAX_BYTES:
        raise VerdictError(f"the verdict is {len(text)} bytes; at most {MAX_BYTES} are read")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise VerdictError(f"the verdict is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise VerdictError(f"the verdict is a JSON {type(document).__name__}; it must be an object")
    expected: dict[str, type] = {
        "gate": str, "passed": bool, "summary": str, "metrics": dict, "findings": list, "artifacts": dict,
    }  # fmt: skip
    for name, kind in expected.items():
        if not isinstance(document.get(name), kind):
            raise VerdictError(f"verdict field {name!r} is {document.get(name)!r}; it must be a {kind.__name__}")
    try:
        findings = [Finding(subject=str(f["subject"]), message=str(f["message"])) for f in document["findings"]]
    except (KeyError, TypeError) as error:
        raise VerdictError(f"a finding lacks 'subject' or 'message': {error!r}") from error
    return Verdict(
        gate=document["gate"],
        passed=document["passed"],
        summary=document["summary"],
        metrics={str(k): v for k, v in document["metrics"].items()},
        findings=findings,
        artifacts={str(k): str(v) for k, v in document["artifacts"].items()},
    )
