"""The commands of a quality job. Each is a module with `add_arguments` and `run`, whose docstring is its help."""

from __future__ import annotations

NAMES = ("check", "merge", "propose", "schema", "skew")
DEFAULT = "check"
