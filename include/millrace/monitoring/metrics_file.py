"""The metrics that a monitoring job hands to CloudWatch: a file of JSON lines after its PutMetricData.

Names and meanings are those of Model Monitor's own containers. Of data quality: `feature_data_<name>` (of numbers, as a set
of statistics), `feature_non_null_<name>` (completeness, 0 to 1) and `feature_baseline_drift_<name>` (the drift distance, 0
to 1). Of model quality: the metric's own name (`accuracy`, `rmse`). Of bias: `bias_metric_<name>`, with the facet and the
label as dimensions. Of attributions: `feature_<name>` and `ExpectedValue`. SageMaker sends what lies in
/opt/ml/output/metrics/cloudwatch; this module sends nothing.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-cloudwatch.html,
.../model-monitor-byoc-cloudwatch.html, .../model-monitor-model-quality-metrics.html,
.../clarify-model-monitor-bias-drift-cw.html and .../clarify-feature-attribute-drift-cw.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from millrace.monitoring.bias_file import FacetBias
from millrace.monitoring.container_contract import Contract
from millrace.monitoring.drift import FeatureDrift
from millrace.monitoring.interval import Measure
from millrace.profiling.summary import DatasetSummary, NumericSummary, completeness

FILE_NAME = "cloudwatch_metrics.jsonl"
MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a window."""

    name: str
    value: float | Mapping[str, float]
    """A value, or a set of statistics."""
    dimensions: Mapping[str, str] = field(default_factory=dict)
    """Beside the endpoint and the schedule."""


def write_metrics(contract: Contract, metrics: Iterable[Metric]) -> Path | None:
    """Write the metrics of a job into its folder for them (made if missing), where the contract asks for metrics.

    They are dated by the end of the window, else by now.

    Returns:
        The file's path; None where no metrics are asked for.
    """
    if contract.metrics is None:
        return None
    named = {"Endpoint": contract.endpoint, "MonitoringSchedule": contract.schedule}
    monitored = {name: value for name, value in named.items() if value}
    time = (contract.until or datetime.now(UTC)).isoformat()
    rows = [_row(metric, time, {**monitored, **metric.dimensions}) for metric in metrics]
    contract.metrics.mkdir(parents=True, exist_ok=True)
    path = contract.metrics / FILE_NAME
    path.write_text("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows), encoding="utf-8")
    return path


def of_features(dataset: DatasetSummary, drift: Sequence[FeatureDrift]) -> Iterator[Metric]:
    """Data quality's."""
    for name, column in dataset.columns.items():
        if isinstance(column, NumericSummary):
            statistics = {
                "SampleCount": column.present,
                "Sum": column.mean * column.present,
                "Minimum": column.minimum,
                "Maximum": column.maximum,
            }
            yield Metric(f"feature_data_{name}", statistics)
        yield Metric(f"feature_non_null_{name}", completeness(column))
    for feature in drift:
        yield Metric(f"feature_baseline_drift_{feature.name}", feature.distance)


def of_measures(measures: Mapping[str, Measure]) -> Iterator[Metric]:
    """Model quality's."""
    return (Metric(name, found.value) for name, found in measures.items())


def of_bias(found: Sequence[FacetBias]) -> Iterator[Metric]:
    """Bias's, as far as they could be measured."""
    for one in found:
        label, facet = one.question.label, one.question.facet
        for stage, metrics in (("Pre-training", one.pre), ("Post-Training", one.post)):
            dimensions = {
                "BiasStage": stage, "Label": label.column, "LabelValue": label.words,
                "Facet": facet.column, "FacetValue": facet.words,
            }  # fmt: skip
            for judged in metrics:
                if judged.bias.measure is not None:
                    yield Metric(f"bias_metric_{judged.bias.name}", judged.bias.measure.value, dimensions)


def of_attributions(values: Mapping[str, float], expected: float, label: str) -> Iterator[Metric]:
    """Attributions': of each feature, and the mean score of the background."""
    common = {"ExplainabilityMethod": "KernelShap", "Label": label}
    for name, value in values.items():
        yield Metric(f"feature_{name}", value, {**common, "ValueType": "GlobalShapValues"})
    yield Metric("ExpectedValue", expected, {**common, "ValueType": "ExpectedValue"})


def _row(metric: Metric, time: str, dimensions: Mapping[str, str]) -> dict[str, Any]:
    value = metric.value
    return {
        "MetricName": metric.name[:MAX_NAME],
        "Timestamp": time,
        "Dimensions": [{"Name": name, "Value": text[:MAX_NAME]} for name, text in dimensions.items()],
        **({"StatisticValues": value} if isinstance(value, Mapping) else {"Value": value}),
    }
