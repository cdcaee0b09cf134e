"""Deterministic names: the same task instance and generation always ask for the same job.

A name is `<deployment>-<slug>-<hash>`; the hash covers everything that tells two jobs apart, so that truncating the slug
loses nothing.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

HASH_LENGTH = 12
TAG_VALUE = re.compile(r"[^\w .:/=+\-@]")


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
            "millrace:deployment": self.deployment,
            "millrace:request": request_hash,
            "millrace:version": version,
            "airflow:dag": self.dag_id,
            "airflow:run": self.run_id,
            "airflow:task": self.task_id,
            "airflow:map_index": str(self.map_index),
            "airflow:generation": str(generation),
        }
        return [{"Key": key, "Value": tag_value(value)} for key, value in values.items()]

    def owns(self, tags: dict[str, str]) -> bool:
        """Whether tags say that a job belongs to this task instance of this deployment."""
        mine = {tag["Key"]: tag["Value"] for tag in self.tags(0, "", "")}
        return all(
            tags.get(key) == mine[key]
            for key in ("millrace:deployment", "airflow:dag", "airflow:run", "airflow:task", "airflow:map_index")
        )


def content_name(deployment: str, slug_of: str, content: str, limit: int = 63) -> str:
    """A name by content, for models and endpoint configurations: equal content, equal name."""
    return _joined(deployment, slug_of, digest(deployment, content), limit)


def slug(text: str) -> str:
    """Letters, digits and single hyphens."""
    return re.sub(r"-{2,}", "-", re.sub(r"[^A-Za-z0-9]+", "-", text)).strip("-") or "x"


def tag_value(text: str) -> str:
    """What a tag can hold: SageMaker's characters, at most 256."""
    return TAG_VALUE.sub("_", text)[:256]


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:HASH_LENGTH]


def _joined(deployment: str, middle: str, tail: str, limit: int) -> str:
    room = limit - len(deployment) - len(tail) - 2
    middle = slug(middle)[: max(room, 0)].strip("-")
    return "-".join(part for part in (deployment, middle, tail) if part)
