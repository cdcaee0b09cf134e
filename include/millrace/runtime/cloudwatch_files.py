"""The metrics that a monitoring job leaves in /opt/ml/output/metrics/cloudwatch, as rows of CloudWatch's PutMetricData.

A job wrote them, so every line is checked: what is no metric is counted and not sent. What it does not do: it sends nothing
(`metric_publisher.py`).

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-cloudwatch.html; the namespaces of the other kinds
are those of .../clarify-model-monitor-bias-drift-cw.html, .../clarify-feature-attribute-drift-cw.html and
.../model-monitor-model-quality-metrics.html
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from .jobs import contained
from .staging import regular_files

FOLDER = "output/metrics/cloudwatch"
KEPT = "cloudwatch.jsonl"
"""Beside an instance's log."""
SWITCH = "publish_cloudwatch_metrics"
MAX_BYTES = 16 * 1024 * 1024
MAX_NAME, MAX_DIMENSIONS = 255, 30
STATISTICS = ("SampleCount", "Sum", "Minimum", "Maximum")
LARGEST = 2.0**360
"""What CloudWatch takes."""
MONITORED = {True: "aws/sagemaker/Endpoints", False: "aws/sagemaker/ModelMonitoring"}
"""By whether an endpoint is monitored, or what batch transform writes."""
METRICS = {
    "DATA_QUALITY": "data-metrics", "MODEL_QUALITY": "model-metrics", "MODEL_BIAS": "bias-metrics",
    "MODEL_EXPLAINABILITY": "explainability-metrics",
}  # fmt: skip
"""By `analysis_type`. AWS's pages spell the first in three ways; this is how its notebooks query it."""


def are_wanted(request: Mapping[str, Any]) -> bool:
    """Whether a processing job is told to write metrics."""
    return bool((request.get("Environment") or {}).get(SWITCH) == "Enabled")


def namespace(request: Mapping[str, Any]) -> str:
    """Where the metrics of a monitoring job go."""
    environment = request.get("Environment") or {}
    stem = METRICS.get(environment.get("analysis_type", ""), METRICS["DATA_QUALITY"])
    return f"{MONITORED['sagemaker_endpoint_name' in environment]}/{stem}"


def keep(ml: Path, kept: Path) -> int:
    """Write the metrics of a job's tree to a file that outlives it, and return how many lines were none.

    Args:
        ml: the instance's /opt/ml.
    """
    folder = contained(ml, FOLDER)
    rows, odd = read(folder) if folder is not None and folder.is_dir() else ([], 0)
    kept.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return odd


def read(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """The metrics in a job's folder, their times in seconds since the epoch, and how many lines are none."""
    rows, odd = [], 0
    for path, _ in regular_files(folder):
        with path.open("rb") as stream:
            lines = stream.read(MAX_BYTES).splitlines()
        for line in filter(bytes.strip, lines):
            try:
                rows.append(_metric(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                odd += 1
    return rows, odd


def _metric(row: Any) -> dict[str, Any]:
    """
    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is no metric.
    """
    metric: dict[str, Any] = {
        "MetricName": _text(row["MetricName"]),
        "Timestamp": datetime.fromisoformat(row["Timestamp"]).timestamp(),
        "Dimensions": [
            {"Name": _text(dimension["Name"]), "Value": _text(dimension["Value"])}
            for dimension in row.get("Dimensions", [])[:MAX_DIMENSIONS]
        ],
    }
    if "Unit" in row:
        metric["Unit"] = _text(row["Unit"])
    if "StatisticValues" in row:
        metric["StatisticValues"] = {name: _number(row["StatisticValues"][name]) for name in STATISTICS}
    else:
        metric["Value"] = _number(row["Value"])
    return metric


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME or not value.isprintable():
        raise ValueError(value)
    return value


def _number(value: Any) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or abs(value) > LARGEST
    ):
        raise ValueError(value)
    return float(value)
