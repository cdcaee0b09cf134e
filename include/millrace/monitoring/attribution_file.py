"""Clarify's `analysis.json` and Model Monitor's violations, for feature attributions.

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-processing-job-run.html (`explanations`) and
.../clarify-model-monitor-model-attribution-drift-violations.html
"""

from __future__ import annotations

import json
from pathlib import Path

from millrace.monitoring.attribution import AttributionDrift
from millrace.monitoring.certainty import State
from millrace.profiling.errors import FormatError
from millrace.profiling.untrusted_json import read_document

ANALYSIS = "analysis.json"
VIOLATIONS = "constraint_violations.json"
LABEL = "label0"


def write_analysis(folder: Path, drift: AttributionDrift) -> Path:
    """Write the window's mean absolute attributions, and how they compare, into `folder/analysis.json`; return its path."""
    found = drift.ndcg
    document = {
        "version": "1.0",
        "explanations": {"kernel_shap": {LABEL: {"global_shap_values": {f.name: f.now.value for f in drift.features}}}},
        "attribution_drift": {
            "ndcg": found.value,
            "confidence_interval": {"lower": found.lower, "upper": found.upper, "method": found.method},
            "rows": drift.rows,
        },
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


def write_violations(folder: Path, drift: AttributionDrift, least_ndcg: float) -> Path:
    """Write `constraint_violations.json` into `folder` and return its path."""
    violations = []
    if drift.state is State.VIOLATED:
        violations = [
            {
                "label": LABEL,
                "metric_name": "shap",
                "constraint_check_type": "feature_attribution_drift_check",
                "description": f"Feature attribution drift {drift.ndcg.value:.4f} exceeds threshold {least_ndcg} (interval "
                f"{drift.ndcg.lower:.4f} to {drift.ndcg.upper:.4f})",
            }
        ]
    path = folder / VIOLATIONS
    path.write_text(json.dumps({"version": "1.0", "violations": violations}, indent=2), encoding="utf-8")
    return path
