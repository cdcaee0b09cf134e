"""`statistics.json`: what Model Monitor knows about a dataset, written from a summary and read back into one.

The KLL sketch is kept in `kll.sketch.data`, one list per level, where a value on level h stands for 2**h rows, so that
distances can be computed from the file alone. What it does not keep: rows, and how many values of a fractional column
happen to be whole numbers. Two fields are ours, and a file without them is read too: `distinct_count` of numbers and
`length` of texts.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-statistics.html
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from millrace.profiling.errors import FormatError
from millrace.profiling.quantiles import SKETCH_K
from millrace.profiling.summary import (
    ColumnSummary,
    DatasetSummary,
    NumericSummary,
    TextLengths,
    TextSummary,
    UnknownSummary,
)
from millrace.profiling.untrusted_json import Field, read_document

FILE_NAME = "statistics.json"
BUCKETS = 10
SKETCH_C = 0.64
"""KLL's capacity shrink factor as Model Monitor's files state it; informative, nothing here depends on it."""


def write_statistics(folder: Path, dataset: DatasetSummary) -> Path:
    """Write `statistics.json` into `folder` and return its path."""
    document = {
        "version": 0.0,
        "dataset": {"item_count": dataset.rows},
        "features": [_feature(column) for column in dataset.columns.values()],
    }
    path = folder / FILE_NAME
    path.write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
    return path


def read_statistics(folder: Path) -> DatasetSummary:
    """The summary in `folder/statistics.json`.

    Raises:
        FormatError: the file is missing or not of the documented form, or a sketch does not add up to its counts.
    """
    document = read_document(folder / FILE_NAME)
    columns = [_column(field) for field in document["features"].items()]
    return DatasetSummary(rows=document["dataset"]["item_count"].count(), columns={c.name: c for c in columns})


def _feature(column: ColumnSummary) -> dict[str, Any]:
    feature: dict[str, Any] = {"name": column.name, "inferred_type": column.inferred_type}
    common = {"num_present": column.present, "num_missing": column.missing}
    if isinstance(column, NumericSummary):
        feature["numerical_statistics"] = {
            "common": common,
            "mean": column.mean,
            "sum": column.mean * column.present,
            "std_dev": column.std_dev,
            "min": column.minimum,
            "max": column.maximum,
            "distinct_count": column.distinct,
            "distribution": {"kll": {"buckets": _buckets(column), "sketch": _sketch(column)}},
        }
    else:
        categories = column.categories if isinstance(column, TextSummary) else {}
        feature["string_statistics"] = {
            "common": common,
            "distinct_count": column.distinct if isinstance(column, TextSummary) else 0,
            "distribution": {
                "categorical": {"buckets": [{"value": v, "count": n} for v, n in categories.items()]},
            },
        }
        if isinstance(column, TextSummary) and column.lengths:
            feature["string_statistics"]["length"] = asdict(column.lengths)
    return feature


def _buckets(column: NumericSummary) -> list[dict[str, float]]:
    counts, edges = np.histogram(
        column.values, bins=BUCKETS, range=(column.minimum, column.maximum), weights=column.weights
    )
    return [
        {"lower_bound": float(low), "upper_bound": float(high), "count": float(count)}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]


def _sketch(column: NumericSummary) -> dict[str, Any]:
    levels = int(np.log2(column.weights.max())) + 1
    data = [column.values[column.weights == 2**level].tolist() for level in range(levels)]
    return {"parameters": {"c": SKETCH_C, "k": float(SKETCH_K)}, "data": data}


def _column(field: Field) -> ColumnSummary:
    name = field["name"].text()
    kind = field["inferred_type"].text(one_of=("Integral", "Fractional", "String", "Unknown"))
    if kind in ("Integral", "Fractional"):
        return _numeric(name, kind, field["numerical_statistics"])
    strings = field["string_statistics"]
    present, missing = _counts(strings)
    if kind == "Unknown":
        return UnknownSummary(name=name, present=present, missing=missing)
    buckets = strings["distribution"]["categorical"]["buckets"]
    categories = {bucket["value"].text(): bucket["count"].count() for bucket in buckets.items()}
    if sum(categories.values()) > present:
        raise FormatError(f"{buckets.where} counts {sum(categories.values())} rows, but num_present is {present}")
    return TextSummary(
        name=name,
        present=present,
        missing=missing,
        distinct=strings["distinct_count"].count(),
        categories=categories,
        lengths=_lengths(strings["length"]) if strings.has("length") else None,
    )


def _lengths(field: Field) -> TextLengths:
    return TextLengths(
        mean=field["mean"].number(low=0),
        std_dev=field["std_dev"].number(low=0),
        minimum=field["minimum"].count(),
        maximum=field["maximum"].count(),
    )


def _numeric(name: str, kind: str, field: Field) -> ColumnSummary:
    present, missing = _counts(field)
    data = field["distribution"]["kll"]["sketch"]["data"]
    values: list[float] = []
    weights: list[float] = []
    for level, kept in enumerate(data.items()):
        if level > 62:
            raise FormatError(f"{data.where} has more than 63 levels; no dataset is that large")
        numbers = kept.numbers()
        values += numbers
        weights += [2.0**level] * len(numbers)
    if sum(weights) != present or not present:
        raise FormatError(f"{data.where} stands for {sum(weights):.0f} rows, but num_present is {present}")
    order = np.argsort(values, kind="stable")
    return NumericSummary(
        name=name,
        present=present,
        missing=missing,
        integral=present if kind == "Integral" else 0,
        declared_integral=kind == "Integral",
        mean=field["mean"].number(),
        std_dev=field["std_dev"].number(low=0),
        minimum=field["min"].number(),
        maximum=field["max"].number(),
        distinct=field["distinct_count"].count() if field.has("distinct_count") else None,
        values=np.array(values, dtype=np.float64)[order],
        weights=np.array(weights, dtype=np.float64)[order],
    )


def _counts(field: Field) -> tuple[int, int]:
    return field["common"]["num_present"].count(), field["common"]["num_missing"].count()
