"""The metrics that a monitoring job hands to CloudWatch: a file of JSON lines after its PutMetricData.

Names and meanings are those of Model Monitor's own container: `feature_data_<name>` (of numbers, as a set of statistics),
`feature_non_null_<name>` (completeness, 0 to 1) and `feature_baseline_drift_<name>` (the drift distance, 0 to 1). SageMaker
sends what lies in /opt/ml/output/metrics/cloudwatch; this module sends nothing.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-cloudwatch.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-cloudwatch.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from millrace.monitoring.drift import FeatureDrift
from millrace.profiling.summary import DatasetSummary, NumericSummary, completeness

FILE_NAME = "cloudwatch_metrics.jsonl"
MAX_NAME = 255


def write_metrics(
    folder: Path,
    dataset: DatasetSummary,
    drift: Sequence[FeatureDrift],
    *,
    time: datetime,
    endpoint: str | None,
    schedule: str | None,
) -> Path:
    """Write the metrics of every feature into `folder` (made if missing) and return the file's path.

    Args:
        time: what the metrics are dated, the end of the window.
        endpoint, schedule: their dimensions.
    """
    named = {"Endpoint": endpoint, "MonitoringSchedule": schedule}
    common = {
        "Timestamp": time.isoformat(),
        "Dimensions": [{"Name": name, "Value": value} for name, value in named.items() if value],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    rows = [{"MetricName": name[:MAX_NAME], **common, **value} for name, value in _metrics(dataset, drift)]
    path.write_text("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows), encoding="utf-8")
    return path


def _metrics(dataset: DatasetSummary, drift: Sequence[FeatureDrift]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, column in dataset.columns.items():
        if isinstance(column, NumericSummary):
            statistics = {
                "SampleCount": column.present,
                "Sum": column.mean * column.present,
                "Minimum": column.minimum,
                "Maximum": column.maximum,
            }
            yield f"feature_data_{name}", {"StatisticValues": statistics}
        yield f"feature_non_null_{name}", {"Value": completeness(column)}
    for feature in drift:
        yield f"feature_baseline_drift_{feature.name}", {"Value": feature.distance}
