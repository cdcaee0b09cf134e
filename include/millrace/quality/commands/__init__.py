"""The commands of a quality job, by name."""

from __future__ import annotations

from types import MappingProxyType, ModuleType

from millrace.quality.commands import check

COMMANDS: MappingProxyType[str, ModuleType] = MappingProxyType({"check": check})
DEFAULT = "check"
