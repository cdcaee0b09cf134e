"""Looks into the step cache, one record for each task instance that asked, so that a miss can be explained later.

A record is `cache/looks/<dag>/<task>/<map index>/<run>.json`; a later try of the same run takes its place. What it does not
do: no look is ever needed for a hit, so losing them loses explanations only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from . import cache_records
from .cache_records import RecordError
from .fingerprint import Fingerprint, NoFingerprint
from .names import TaskIdentity, digest, slug
from .step_cache import Hit, Miss

FORMAT = 1
LOOKS = "cache/looks/"
COMPARED = 20
"""Earlier looks among which the nearest is sought."""

Answer = Literal["hit", "miss", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a task instance asked the step cache, and what it was told."""

    asked_by: TaskIdentity
    components: Mapping[str, str]
    key: str
    """Empty when there was no fingerprint."""
    answer: Answer
    reason: str
    job_name: str = ""
    """The job whose result a hit took over."""
    looked_at: str
    """For people; nothing is decided by it."""


def look_of(identity: TaskIdentity, found: Fingerprint | NoFingerprint, answer: Hit | Miss | None) -> Look:
    """The record of one look; `answer` is None where no fingerprint could be looked for."""
    looked_at = datetime.now(UTC).isoformat(timespec="seconds")
    if isinstance(found, NoFingerprint) or answer is None:
        reason = found.reason if isinstance(found, NoFingerprint) else "nothing was looked for"
        return Look(
            asked_by=identity, components={}, key="", answer="none", reason=_sentence(reason),
            looked_at=looked_at,
        )  # fmt: skip
    return Look(
        asked_by=identity,
        components=found.components,
        key=found.key,
        answer="hit" if isinstance(answer, Hit) else "miss",
        reason=_sentence(answer.reason),
        job_name=answer.entry.job_name if isinstance(answer, Hit) else "",
        looked_at=looked_at,
    )


def note_look(s3: Any, bucket: str, look: Look) -> str:
    """Write a look down. Returns why it could not be, or nothing: an explanation is not worth a task's failure."""
    from botocore.exceptions import BotoCoreError, ClientError

    by = look.asked_by
    key = (
        f"{_folder(by.dag_id, by.task_id, by.map_index)}{slug(by.run_id)[:60]}-{digest(by.deployment, by.run_id)}.json"
    )
    body = json.dumps({"format": FORMAT, **asdict(look)}, sort_keys=True).encode()
    if len(body) > cache_records.MAX_BYTES:
        return f"the look of {len(body)} bytes is over {cache_records.MAX_BYTES} and was not recorded"
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")
    except (ClientError, BotoCoreError) as error:
        return f"the look was not recorded: {error}"
    return ""


def looks(s3: Any, bucket: str, dag_id: str, task_id: str, map_index: int = -1) -> Iterator[Look]:
    """The looks of a task, the latest first, read one by one as they are asked for. What is no look is passed over.

    Raises:
        botocore.exceptions.ClientError: S3 refused.
    """
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=_folder(dag_id, task_id, map_index))
    found = [item for page in pages for item in page.get("Contents", ())]
    for item in sorted(found, key=lambda item: item["LastModified"], reverse=True):
        record = cache_records.read(s3, bucket, item["Key"])
        try:
            if record is not None and record.document is not None:
                yield _look(record.document)
        except RecordError:
            continue


def nearest(look: Look, earlier: Sequence[Look]) -> Look | None:
    """Of earlier looks, the latest first, the one that differs least; the latest of several."""
    candidates = [other for other in earlier if other.key]
    return min(candidates, key=lambda other: len(explain(other, look)), default=None)


def explain(before: Look, after: Look) -> list[str]:
    """What differs from one look to another, a line for each component; nothing when their keys are equal."""
    lines = []
    for name in sorted({*before.components, *after.components}, key=_by_number):
        old, new = before.components.get(name), after.components.get(name)
        if old is None:
            lines.append(f"{name} is new{_value(name, new)}")
        elif new is None:
            lines.append(f"{name} is gone{_value(name, old)}")
        elif old != new:
            lines.append(_change(name, old, new))
    return lines


def _change(name: str, old: str, new: str) -> str:
    if _is_opaque(name):
        return f"{name} changed"
    if _is_object(name):
        if " " not in old + new:
            return f"{name} changed"
        (old_etag, _, old_size), (new_etag, _, new_size) = old.partition(" "), new.partition(" ")
        size = "" if old_size == new_size else f", {old_size} → {new_size} bytes"
        return f"{name} changed (ETag {_brief(old_etag)} → {_brief(new_etag)}{size})"
    return f"{name}: {old} → {new}"


def _value(name: str, value: str | None) -> str:
    return "" if value is None or _is_opaque(name) or _is_object(name) else f": {value}"


def _is_opaque(name: str) -> bool:
    """Whether the value is a digest, which tells a reader nothing."""
    return re.match(r"code\b|(model |model \d+ )?environment ", name) is not None


def _is_object(name: str) -> bool:
    return re.match(r'input ("[^"]*"|[^\s:,]+): |model( \d+)?: archive', name) is not None


def _sentence(reason: str) -> str:
    """One line of a length that is read back."""
    return " ".join("".join(c if c.isprintable() else " " for c in reason).split())[: cache_records.MAX_VALUE]


def _brief(etag: str) -> str:
    return etag if len(etag) <= 12 else f"{etag[:8]}…"


def _by_number(name: str) -> list[tuple[int, int, str]]:
    """`argument 2` before `argument 10`."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d{1,9})", name)]


def _folder(dag_id: str, task_id: str, map_index: int) -> str:
    return f"{LOOKS}{slug(dag_id)[:60]}-{digest(dag_id)}/{slug(task_id)[:60]}-{digest(task_id)}/{map_index}/"


def _look(document: dict[str, Any]) -> Look:
    """
    Raises:
        RecordError: it is not a look.
    """
    answer = document.get("answer")
    if document.get("format") != FORMAT or answer not in ("hit", "miss", "none"):
        raise RecordError("it is not a look of this format")
    return Look(
        asked_by=cache_records.identity(document, "asked_by"),
        components=cache_records.components(document),
        key=cache_records.text(document, "key"),
        answer=answer,
        reason=cache_records.text(document, "reason"),
        job_name=cache_records.text(document, "job_name"),
        looked_at=cache_records.text(document, "looked_at"),
    )
