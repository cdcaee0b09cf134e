"""The step cache as a task uses it: is there a result of equal content, and may this one serve others?

What it does not do: it never fails a task, and it never hides: every look is logged and recorded for `millrace
explain-cache`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from millrace.sagemaker import cache_looks, step_cache
from millrace.sagemaker.fingerprint import Fingerprint, NoFingerprint, fingerprint
from millrace.sagemaker.kinds import JobKind
from millrace.sagemaker.names import TaskIdentity

log = logging.getLogger(__name__)


def look(
    s3: Any, sagemaker: Any, bucket: str, kind: JobKind, request: Mapping[str, Any], identity: TaskIdentity
) -> tuple[str, step_cache.Entry | None]:
    """The key of what is about to be asked for, empty when it has none, and the remembered job of that key."""
    found = fingerprint(s3, sagemaker, kind, request)
    answer = step_cache.lookup(s3, bucket, found) if isinstance(found, Fingerprint) else None
    trouble = cache_looks.note_look(s3, bucket, cache_looks.look_of(identity, found, answer))
    if trouble:
        log.warning(trouble)
    if isinstance(found, NoFingerprint):
        log.info("step cache: not used: %s", found.reason)
        return "", None
    if isinstance(answer, step_cache.Hit):
        log.info("step cache: HIT: %s; nothing is run, and nothing is paid", answer.reason)
        return found.key, answer.entry
    if isinstance(answer, step_cache.Miss):
        (log.warning if answer.suspect else log.info)("step cache: miss: %s", answer.reason)
        log.info("`millrace explain-cache %s %s` names what differs", identity.dag_id, identity.task_id)
    return found.key, None


def remember(
    s3: Any,
    sagemaker: Any,
    bucket: str,
    kind: JobKind,
    request: Mapping[str, Any],
    key_before: str,
    description: Mapping[str, Any],
    identity: TaskIdentity,
    *,
    replace: bool,
) -> None:
    """Let this result serve others, unless what it was made from has changed meanwhile."""
    after = fingerprint(s3, sagemaker, kind, request)
    done = step_cache.remember(s3, bucket, key_before, after, kind, description, identity, replace=replace)
    log.info("step cache: %s", done.reason)
