"""Generate the constraint table of preflight from botocore's service model: `python -m millrace.sagemaker.constraints`.

CI generates it again and compares: a new botocore shows itself as a difference, not as a surprise.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from .preflight import TABLE

OPERATIONS = (
    "CreateTrainingJob", "CreateProcessingJob", "CreateTransformJob", "CreateModel", "CreateEndpointConfig",
    "CreateEndpoint", "UpdateEndpoint",
)  # fmt: skip
# Java's Unicode classes, which Python's `re` has no names for.
CLASSES = {r"\p{L}": r"\w", r"\p{M}": "", r"\p{Z}": r"\s", r"\p{N}": r"\d", r"\p{S}": "", r"\p{P}": "!-/:-@"}


def generate() -> str:
    """The table as JSON text, byte for byte the same from the same model."""
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    model = ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")
    shapes: dict[str, dict[str, Any]] = {}
    operations = {}
    for name in OPERATIONS:
        shape: Any = model.operation_model(name).input_shape
        operations[name] = shape.name
        _add(shape, shapes)
    return json.dumps({"operations": operations, "shapes": shapes}, sort_keys=True, separators=(",", ":")) + "\n"


def _add(shape: Any, shapes: dict[str, dict[str, Any]]) -> None:
    if shape.name in shapes:
        return
    entry: dict[str, Any] = {"type": shape.type_name}
    shapes[shape.name] = entry
    for key in ("min", "max", "enum"):
        if shape.metadata.get(key) is not None:
            entry[key] = shape.metadata[key]
    if "pattern" in shape.metadata:
        entry["pattern"] = _python_pattern(shape.metadata["pattern"])
    if shape.type_name == "structure":
        entry["required"] = list(shape.required_members)
        entry["members"] = {name: member.name for name, member in shape.members.items()}
        children = list(shape.members.values())
    elif shape.type_name == "list":
        entry["member"] = shape.member.name
        children = [shape.member]
    elif shape.type_name == "map":
        entry["key"], entry["value"] = shape.key.name, shape.value.name
        children = [shape.key, shape.value]
    else:
        children = []
    for child in children:
        _add(child, shapes)


def _python_pattern(pattern: str) -> str:
    for java, python in CLASSES.items():
        pattern = pattern.replace(java, python)
    return re.sub(r"\$\{\d+,\d+\}", "", pattern)


if __name__ == "__main__":
    TABLE.write_text(generate(), encoding="utf-8")
    sys.stdout.write(f"wrote {TABLE}\n")
