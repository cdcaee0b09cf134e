"""The commands of a monitoring job. Each is a module with `add_arguments` and `run`, whose docstring is its help."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from millrace.monitoring.commands import analyze, attribution_drift, baseline, bias, drift, model_quality, profile

COMMANDS: Mapping[str, ModuleType] = {
    "analyze": analyze,
    "attribution-drift": attribution_drift,
    "baseline": baseline,
    "bias": bias,
    "drift": drift,
    "model-quality": model_quality,
    "profile": profile,
}
