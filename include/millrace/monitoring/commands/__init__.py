"""The commands of a monitoring job. Each is a module with `add_arguments` and `run`, whose docstring is its help."""

from __future__ import annotations

NAMES = ("analyze", "attribution-drift", "baseline", "bias", "drift", "model-quality", "profile")
"""As they are called; a module has underscores instead of hyphens."""
