"""A gate on several instances: each writes what it has seen of its shard, and one merges the parts into a verdict.

SageMaker's ShardedByS3Key gives every instance other files of the same dataset. Counts, extrema, sums, moments and value
counts (up to 100,000 distinct values an instance) merge exactly; the standard deviation to rounding. What does not:
uniqueness (a value may come once on each of two instances), what is evaluated in memory, and examples that are neither
numbers nor text. Such an expectation has failed in the merged verdict, with a finding that says so: a gate must not pass
what it has not looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace.quality.errors import PartError
from millrace.quality.expectation import Suite
from millrace.quality.quarantine import Quarantine
from millrace.quality.streaming.answers import Answer, Evaluation, NotStreamed
from millrace.quality.streaming.suite_pass import InMemory, SuitePass

SUFFIX = ".part.json"
MAX_BYTES = 256 * 1024 * 1024


def write_part(folder: Path, suite: Suite, found: SuitePass, quarantine: Quarantine | None) -> Path:
    """Write what an instance has seen as `<instance>.part.json` and return its path."""
    part = {
        "suite": fingerprint(suite),
        "rows": found.rows,
        "names": found.names,
        "slots": [_slot(slot) for slot in found.slots],
        "quarantine": None if quarantine is None else _counts(quarantine),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{instance()}{SUFFIX}"
    path.write_text(json.dumps(part), encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True)
class Whole:
    """All instances together."""

    parts: int
    found: SuitePass
    quarantine: Quarantine | None


def merge_parts(folder: Path, suite: Suite) -> Whole:
    """Put the parts under `folder` together, in the order of the instances' names.

    Raises:
        PartError: there are no parts or no rows, a part is of another suite, or it is not what `write_part` writes.
    """
    paths = sorted(path for path in folder.rglob(f"*{SUFFIX}") if path.is_file()) if folder.is_dir() else []
    if not paths:
        raise PartError(f"{folder} holds no {SUFFIX} file; run the gate with --partial on every instance first")
    found = SuitePass(suite.expectations)
    quarantine: Quarantine | None = None
    for path in paths:
        part = _read(path, suite)
        try:
            _add(found, suite, part)
            if part["quarantine"] is not None:
                quarantine = quarantine or Quarantine(folder, folder, folder, suite.expectations)
                _add_counts(quarantine, part["quarantine"])
        except PartError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PartError(f"{path} is not a part of a gate: {error!r}; run the instance again") from error
    if not (found.rows or (quarantine and quarantine.rows_read)):
        raise PartError(f"the {len(paths)} parts under {folder} have seen no row; check the step before")
    return Whole(len(paths), found, quarantine)


def answers(found: SuitePass) -> list[Answer]:
    """The answers of merged parts; what could not be merged has failed."""
    return [_failed(answer.reason) if isinstance(answer, InMemory) else answer for answer in found.answers()]


def fingerprint(suite: Suite) -> str:
    return hashlib.sha256(json.dumps(suite.to_json(), sort_keys=True, default=str).encode()).hexdigest()


def instance() -> str:
    """This instance's name within the job, `algo-1` when there is only one."""
    path = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "config" / "resourceconfig.json"
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["current_host"]
    except (OSError, ValueError, KeyError, TypeError):
        return "algo-1"
    return str(name).replace("/", "-")


def _slot(slot: Any) -> dict[str, Any]:
    if isinstance(slot, InMemory):
        return {"not_merged": slot.reason}
    if isinstance(slot, Answer):
        return {"exception": slot.exception}
    try:
        return {"state": slot.state()}
    except NotStreamed as reason:
        return {"not_merged": str(reason)}


def _read(path: Path, suite: Suite) -> dict[str, Any]:
    if path.stat().st_size > MAX_BYTES:
        raise PartError(f"{path} is {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
    try:
        part = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise PartError(f"{path} is not JSON: {error}") from error
    if not isinstance(part, dict) or part.get("suite") != fingerprint(suite):
        raise PartError(f"{path} is the part of another suite; merge with the --suite and --set that the instances had")
    if len(part.get("slots", [])) != len(suite.expectations):
        raise PartError(f"{path} has {len(part.get('slots', []))} expectations and the suite {len(suite.expectations)}")
    return part


def _add(whole: SuitePass, suite: Suite, part: dict[str, Any]) -> None:
    fresh = SuitePass(suite.expectations)
    for position, written in enumerate(part["slots"]):
        known = whole.slots[position]
        if isinstance(known, Answer):  # failed already, on an earlier instance
            continue
        if isinstance(known, InMemory):
            whole.slots[position] = _failed(known.reason)
        elif "exception" in written:
            whole.slots[position] = Answer(success=False, exception=str(written["exception"]))
        elif "not_merged" in written:
            whole.slots[position] = _failed(str(written["not_merged"]))
        else:
            whole.slots[position] = _merged(known, fresh.slots[position], written["state"])
    whole.rows += int(part["rows"])
    names = [str(name) for name in part["names"]]
    if whole.names and names and sorted(names) != sorted(whole.names):
        odd = ", ".join(sorted(set(names) ^ set(whole.names)))
        raise PartError(f"the instances have seen other columns ({odd}); give every file the same columns")
    whole.names = whole.names or names


def _merged(known: Evaluation, fresh: Any, state: dict[str, Any]) -> Evaluation | Answer:
    """What is known, with what another instance wrote down; `fresh` is an evaluation that has seen nothing."""
    fresh.restore(state)
    try:
        known.merge(fresh)
    except NotStreamed as reason:
        return _failed(str(reason))
    return known


def _failed(reason: str) -> Answer:
    return Answer(success=False, exception=f"it cannot be merged from several instances: {reason}")


def _counts(quarantine: Quarantine) -> dict[str, Any]:
    return {
        "accepted": quarantine.rows_accepted,
        "quarantined": quarantine.rows_quarantined,
        "unparsable": quarantine.rows_unparsable,
        "reasons": [reason.rows for reason in quarantine.reasons],
    }


def _add_counts(quarantine: Quarantine, counts: dict[str, Any] | None) -> None:
    if counts is None:
        return
    quarantine.rows_accepted += int(counts["accepted"])
    quarantine.rows_quarantined += int(counts["quarantined"])
    quarantine.rows_unparsable += int(counts["unparsable"])
    reasons: Sequence[int] = counts["reasons"]
    for reason, rows in zip(quarantine.reasons, reasons, strict=True):
        reason.rows += int(rows)
