"""Metrics that a monitoring job has left: every line is checked, for a job wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millrace.runtime import cloudwatch_files

GOOD: dict[str, Any] = {"MetricName": "m", "Timestamp": "2026-01-31T15:00:00Z", "Value": 1.5}
SET = {"SampleCount": 2, "Sum": 3.0, "Minimum": 1, "Maximum": 2}


def test_metrics_are_read_with_their_dimensions(tmp_path: Path) -> None:
    dimensions = [{"Name": "Endpoint", "Value": "e"}]
    with_set = {"MetricName": "s", "Timestamp": GOOD["Timestamp"], "StatisticValues": SET, "Dimensions": dimensions}
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(GOOD)}\n\n{json.dumps(with_set)}\n")
    assert cloudwatch_files.read(tmp_path) == (
        [
            {"MetricName": "m", "Timestamp": 1_769_871_600.0, "Dimensions": [], "Value": 1.5},
            {"MetricName": "s", "Timestamp": 1_769_871_600.0, "Dimensions": dimensions, "StatisticValues": SET},
        ],
        0,
    )


ODD: list[dict[str, Any]] = [
    {"MetricName": ""}, {"MetricName": "x" * 256}, {"MetricName": 5}, {"MetricName": "a\nb"}, {"Timestamp": "soon"},
    {"Timestamp": 5}, {"Value": None}, {"Value": True}, {"Value": "1"}, {"Value": float("nan")}, {"Value": 1e300},
    {"StatisticValues": {}}, {"Dimensions": [{"Name": "x"}]}, {"Dimensions": 5},
]  # fmt: skip


@pytest.mark.parametrize("line", ["{", "[]", "5", *(json.dumps(GOOD | change) for change in ODD)])
def test_line_that_is_no_metric_is_counted_and_the_others_are_read(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(f"{line}\n{json.dumps(GOOD)}\n")
    rows, odd = cloudwatch_files.read(tmp_path)
    assert ([row["MetricName"] for row in rows], odd) == (["m"], 1)


def test_links_out_of_the_jobs_tree_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.jsonl").write_text(json.dumps(GOOD))
    ml = tmp_path / "ml"
    (ml / "output/metrics").mkdir(parents=True)
    (ml / cloudwatch_files.FOLDER).symlink_to(outside)
    assert cloudwatch_files.keep(ml, tmp_path / "kept") == 0
    assert (tmp_path / "kept").read_text() == ""


@pytest.mark.parametrize(
    ("environment", "namespace"),
    [
        ({}, "aws/sagemaker/ModelMonitoring/data-metrics"),
        ({"sagemaker_endpoint_name": "e"}, "aws/sagemaker/Endpoints/data-metrics"),
        ({"analysis_type": "MODEL_QUALITY", "sagemaker_endpoint_name": "e"}, "aws/sagemaker/Endpoints/model-metrics"),
        ({"analysis_type": "MODEL_BIAS"}, "aws/sagemaker/ModelMonitoring/bias-metrics"),
        ({"analysis_type": "one's own"}, "aws/sagemaker/ModelMonitoring/data-metrics"),
    ],
)
def test_each_kind_has_its_namespace(environment: dict[str, str], namespace: str) -> None:
    assert cloudwatch_files.namespace({"Environment": environment}) == namespace
