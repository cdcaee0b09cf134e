"""Deterministic names: the same task instance and generation always ask for the same job; and the tags that say whose it is.

A name is `<deployment>-<slug>-<hash>`; the hash covers everything that tells two jobs apart, so that truncating the slug
loses nothing. Tags can be read back: what a tag cannot hold is quoted, and what was too long says that it was.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

HASH_LENGTH = 12
TAG_LENGTH = 256
TAG_HASH_LENGTH = 24
CUT = "=="
"""Before the hash of a tag that was too long; it stands in no other, because "=" is always followed by two digits."""
QUOTED = re.compile(r"[^\w .:/+\-@]")
"""What a tag cannot hold, and "=" itself."""

DEPLOYMENT_TAG = "millrace:deployment"
GENERATION_TAG = "airflow:generation"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskIdentity:
    """One task instance of one deployment."""

    deployment: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    def job_name(self, generation: int, limit: int = 63) -> str:
        """The name of this task's job in a generation, at most `limit` characters."""
        parts = (self.deployment, self.dag_id, self.run_id, self.task_id, str(self.map_index), str(generation))
        return _joined(self.deployment, self.task_id, digest(*parts), limit)

    def prefix(self, generation: int) -> str:
        """The S3 prefix, below the bucket, of what this task writes in a generation."""
        run_hash = digest(self.dag_id, self.run_id)[:8]
        task_hash = digest(self.dag_id, self.run_id, self.task_id, str(self.map_index))[:8]
        run = f"{slug(self.run_id)[:40].strip('-')}-{run_hash}"
        return f"{self.deployment}/{slug(self.dag_id)[:60]}/{run}/{slug(self.task_id)[:60]}-{task_hash}/{generation}"

    def tags(self, generation: int, request_hash: str, version: str) -> list[dict[str, str]]:
        """The tags that prove whose job it is."""
        values = {
            DEPLOYMENT_TAG: self.deployment,
            "millrace:request": request_hash,
            "millrace:version": version,
            "airflow:dag": self.dag_id,
            "airflow:run": self.run_id,
            "airflow:task": self.task_id,
            "airflow:map_index": str(self.map_index),
            GENERATION_TAG: str(generation),
        }
        return [{"Key": key, "Value": tag_value(value)} for key, value in values.items()]

    def owns(self, tags: dict[str, str]) -> bool:
        """Whether tags say that a job belongs to this task instance of this deployment."""
        mine = {tag["Key"]: tag["Value"] for tag in self.tags(0, "", "")}
        return all(
            tags.get(key) == mine[key]
            for key in (DEPLOYMENT_TAG, "airflow:dag", "airflow:run", "airflow:task", "airflow:map_index")
        )

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> TaskIdentity | None:
        """The task instance that tags name, or None when they do not say exactly which."""
        deployment, dag_id, run_id, task_id = (
            tag_text(tags.get(key, "")) for key in (DEPLOYMENT_TAG, "airflow:dag", "airflow:run", "airflow:task")
        )
        map_index = _number(tags.get("airflow:map_index", ""))
        if not (deployment and dag_id and run_id and task_id) or map_index is None:
            return None
        return cls(deployment=deployment, dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)


def generation_from_tags(tags: Mapping[str, str]) -> int | None:
    """The generation of the job that carries these tags, or None when they do not say."""
    return _number(tags.get(GENERATION_TAG, ""))


def content_name(deployment: str, slug_of: str, content: str, limit: int = 63) -> str:
    """A name by content, for models and endpoint configurations: equal content, equal name."""
    return _joined(deployment, slug_of, digest(deployment, content), limit)


def slug(text: str) -> str:
    """Letters, digits and single hyphens."""
    return re.sub(r"-{2,}", "-", re.sub(r"[^A-Za-z0-9]+", "-", text)).strip("-") or "x"


def tag_value(text: str) -> str:
    """A text as a tag can hold it: foreign characters as `=XX`, one for each byte; over 256 characters cut, with a hash.

    Different texts have different values, whatever is cut.
    """
    quoted = QUOTED.sub(lambda found: "".join(f"={byte:02X}" for byte in _utf8(found[0])), text)
    if len(quoted) <= TAG_LENGTH:
        return quoted
    tail = CUT + hashlib.sha256(_utf8(text)).hexdigest()[:TAG_HASH_LENGTH]
    return quoted[: TAG_LENGTH - len(tail)] + tail


def tag_text(value: str) -> str | None:
    """The text that `tag_value` made this of, or None when that is not known exactly: it was cut, or made by others."""
    try:
        text = unquote(value.replace("=", "%"), errors="surrogatepass")
    except UnicodeDecodeError:
        return None
    return text if tag_value(text) == value else None


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:HASH_LENGTH]


def _joined(deployment: str, middle: str, tail: str, limit: int) -> str:
    room = limit - len(deployment) - len(tail) - 2
    middle = slug(middle)[: max(room, 0)].strip("-")
    return "-".join(part for part in (deployment, middle, tail) if part)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-1|0|[1-9][0-9]{0,8}", text) else None
