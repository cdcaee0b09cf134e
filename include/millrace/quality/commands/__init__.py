"""The commands of a quality job, by name."""

from __future__ import annotations

from types import MappingProxyType, ModuleType

from millrace.quality.commands import check, merge, propose, schema, skew

COMMANDS: MappingProxyType[str, ModuleType] = MappingProxyType(
    {"check": check, "merge": merge, "propose": propose, "schema": schema, "skew": skew}
)
DEFAULT = "check"
