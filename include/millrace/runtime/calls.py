"""Who called what: each pair of access key and operation once, in `calls.jsonl` of the data folder.

This is what an IAM policy is written from: give every program a dummy key of its own, run it, and read here what it
needs. What it does not do: no parameters, no times, no counts.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

ACCESS_KEY = re.compile(r"Credential=([^/]+)/")
ANONYMOUS = "anonymous"


class CallLog:
    """Appends what it has not seen before. Several processes may append to one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: set[tuple[str, str, str]] = set()

    def note(self, authorization: str, service: str, operation: str) -> None:
        """Note one call by its Authorization header."""
        match = ACCESS_KEY.search(authorization)
        call = (match[1] if match else ANONYMOUS, service, operation)
        if call in self._seen or len(self._seen) > 10_000:
            return
        self._seen.add(call)
        line = json.dumps(dict(zip(("access_key", "service", "operation"), call, strict=True)))
        with self._path.open("a") as stream:
            stream.write(line + "\n")


def read(path: Path) -> set[tuple[str, str, str]]:
    """All calls in a file, as (access key, service, operation)."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {(row["access_key"], row["service"], row["operation"]) for row in rows}
