"""Schema drift: columns that are new, missing or of another type than in a baseline.

Types are Model Monitor's (Integral, Fractional, String). Integers in a fractional column are no drift: a file may happen
to hold whole numbers only; neither is a column without any value, which says nothing of its type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from millrace.profiling.constraints_file import Constraints
from millrace.quality.streaming.batch_view import kind_of
from millrace.verdict import Finding, Verdict

COMPATIBLE = {("Fractional", "Integral")}
"""Pairs of a baseline's type and the data's that are no drift."""


def types_of(batches: Iterable[pa.RecordBatch]) -> tuple[int, dict[str, str]]:
    """How many rows there are, and the type of every column over all batches."""
    rows, found = 0, dict[str, str]()
    for batch in batches:
        rows += batch.num_rows
        for field in batch.schema:
            seen, known = _type(field.type), found.get(field.name, "Unknown")
            if known == "Unknown" or (known, seen) == ("Integral", "Fractional"):
                found[field.name] = seen
            elif seen not in ("Unknown", known) and (known, seen) not in COMPATIBLE:
                found[field.name] = "mixed types"
    return rows, found


def compare(constraints: Constraints, types: Mapping[str, str], *, rows: int, gate: str) -> Verdict:
    """The verdict of the schema gate: it passes when no column is missing, new or retyped."""
    expected = {name: feature.inferred_type for name, feature in constraints.features.items()}
    missing = [name for name in expected if name not in types]
    new = [name for name in types if name not in expected]
    retyped = [
        (name, kind, types[name]) for name, kind in expected.items() if name in types and not _same(kind, types[name])
    ]
    findings = [
        *(Finding(subject=name, message=f"is missing; the baseline has it as {expected[name]}") for name in missing),
        *(
            Finding(subject=name, message=f"is new, of type {types[name]}; the baseline does not have it")
            for name in new
        ),
        *(Finding(subject=name, message=f"is {seen} and was {was} in the baseline") for name, was, seen in retyped),
    ]
    parts = [
        f"{len(found)} {word}" for found, word in ((missing, "missing"), (new, "new"), (retyped, "retyped")) if found
    ]
    said = ", ".join(parts) or f"the {len(expected)} columns are those of the baseline"
    return Verdict(
        gate=gate,
        passed=not findings,
        summary=f"{'Failed' if findings else 'Passed'}: {said} ({rows} rows).",
        metrics={
            "rows": rows,
            "columns": len(types),
            "missing_columns": len(missing),
            "new_columns": len(new),
            "retyped_columns": len(retyped),
        },
        findings=findings[:100],
    )


def _same(expected: str, seen: str) -> bool:
    return "Unknown" in (expected, seen) or expected == seen or (expected, seen) in COMPATIBLE


def _type(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_decimal(kind):
        return "Fractional"
    words = {"text": "String", "boolean": "String", "nothing": "Unknown", "other": "Unknown"}
    if kind_of(kind) == "number":
        return "Integral" if pa.types.is_integer(kind) else "Fractional"
    return words[kind_of(kind)]
