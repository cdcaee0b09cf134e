"""Clarify's `analysis.json` and Model Monitor's violations, for feature attributions.

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-processing-job-run.html (`explanations`) and
.../clarify-model-monitor-model-attribution-drift-violations.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from millrace.monitoring.attribution import LEAST_NDCG, AttributionDrift
from millrace.monitoring.certainty import State
from millrace.profiling.errors import FormatError
from millrace.profiling.untrusted_json import read_document

ANALYSIS = "analysis.json"
VIOLATIONS = "constraint_violations.json"
LABEL = "label0"


def write_analysis(
    folder: Path,
    values: Mapping[str, float],
    drift: AttributionDrift | None = None,
    *,
    label: str = LABEL,
    expected: float | None = None,
) -> Path:
    """Write a window's global attributions, and how they compare with a baseline's, into `folder/analysis.json`.

    Args:
        values: of each feature.
        expected: the mean score of the background, which attributions are differences from.

    Returns:
        The file's path.
    """
    found: dict[str, Any] = {"global_shap_values": dict(values)}
    if expected is not None:
        found["expected_value"] = expected
    document: dict[str, Any] = {"version": "1.0", "explanations": {"kernel_shap": {label: found}}}
    if drift is not None:
        ndcg = drift.ndcg
        document["attribution_drift"] = {
            "ndcg": ndcg.value,
            "confidence_interval": {"lower": ndcg.lower, "upper": ndcg.upper, "method": ndcg.method},
            "rows": drift.rows,
        }
    path = folder / ANALYSIS
    path.write_text(json.dumps(document, indent=2, allow_nan=False), encoding="utf-8")
    return path


def read_attributions(folder: Path) -> dict[str, float]:
    """The mean absolute attributions in `folder/analysis.json`, ours or Clarify's own, of its first label.

    Raises:
        FormatError: the file is missing, or has no global SHAP values of 0 or more.
    """
    labels = read_document(folder / ANALYSIS)["explanations"]["kernel_shap"]
    if not labels.object():
        raise FormatError(f"{labels.where} names no label; give an analysis with global SHAP values")
    values = labels[next(iter(labels.object()))]["global_shap_values"]
    return {name: values[name].number(low=0) for name in values.object()}


def write_violations(
    folder: Path, drift: AttributionDrift | None, least_ndcg: float = LEAST_NDCG, *, label: str = LABEL
) -> Path:
    """Write `constraint_violations.json` into `folder` and return its path; without a comparison it names none."""
    violations = []
    if drift is not None and drift.state is State.VIOLATED:
        violations = [
            {
                "label": label,
                "metric_name": "shap",
                "constraint_check_type": "feature_attribution_drift_check",
                "description": f"Feature attribution drift {drift.ndcg.value:.4f} exceeds threshold {least_ndcg} (interval "
                f"{drift.ndcg.lower:.4f} to {drift.ndcg.upper:.4f})",
            }
        ]
    path = folder / VIOLATIONS
    path.write_text(json.dumps({"version": "1.0", "violations": violations}, indent=2), encoding="utf-8")
    return path
