"""What an explainability analysis needs before it asks a model; tests/runtime/test_model_monitors.py has it ask one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.monitoring.analyses.tree import CAPTURED, SOURCE, analyze, message, put
from tests.profiling.captured import line

from millrace.monitoring.analyses import explainability
from millrace.monitoring.endpoint_predictor import Row

CONFIG = "processing/input/config/analysis_config.json"
ASKED: dict[str, Any] = {
    "headers": ["size", "word"],
    "methods": {"shap": {"baseline": [[0, "x"]], "num_samples": 10, "agg_method": "mean_abs"}},
    "predictor": {"model_name": "model", "instance_type": "ml.c5.large", "initial_instance_count": 1},
}
NOBODY = "http://127.0.0.1:9"
"""Where nobody listens: a port that is not given to programs."""


def shap(**changes: Any) -> dict[str, Any]:
    return {"methods": {"shap": {"baseline": [[0, "x"]], **changes}}}


@pytest.mark.parametrize(
    ("changes", "variables", "why"),
    [
        ({}, {"analysis_config": ""}, "analysis_config is missing"),
        ({"methods": {}}, {}, "has no shap; say how to explain"),
        ({"predictor": None}, {}, "has no predictor; say which model to ask"),
        ({"predictor": {"content_type": "text/csv"}}, {}, "has no model_name"),
        (
            {"predictor": {**ASKED["predictor"], "content_type": "image/png"}},
            {},
            "must be one of text/csv, application/jsonlines",
        ),
        ({"predictor": {**ASKED["predictor"], "content_template": "{}"}}, {}, "it must hold $features"),
        (shap(agg_method="median"), {}, "is 'median'; it must be one of mean_abs, mean_sq"),
        (shap(num_samples=0), {}, "num_samples is 0"),
        (shap(baseline=[]), {}, "must be a list of rows, one at least"),
        (shap(baseline=[[1, "x", 2]]), {}, "row 0 of the baseline of shap has the features size, word, _c2"),
        (shap(baseline="http://x"), {}, "it must look like s3://bucket/key"),
        (shap(baseline="s3://bucket/rows.csv"), {}, "the baseline of shap s3://bucket/rows.csv cannot be read"),
        ({"headers": ["size", "word", "age"]}, {}, "a record has no feature 'age' (it has size, word)"),
        ({}, {"start_time": "2026-02-01T00:00:00Z"}, "the window holds no record"),
        ({}, {"baseline_constraints": "/opt/ml/nowhere.json"}, "analysis.json cannot be read"),
        ({}, {}, "a shadow endpoint of the model model cannot be had: Could not connect to the endpoint URL"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(
    tmp_path: Path, changes: dict[str, Any], variables: dict[str, str], why: str
) -> None:
    put(tmp_path, CONFIG, [json.dumps({**ASKED, **changes})])
    put(tmp_path, f"{SOURCE}/a.jsonl", (line(f"{n},x", "1") for n in range(5)))
    ended = analyze(
        tmp_path,
        **{
            "analysis_type": "MODEL_EXPLAINABILITY", "analysis_config": f"/opt/ml/{CONFIG}", "dataset_format": CAPTURED,
            "AWS_ENDPOINT_URL": NOBODY, "AWS_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1",
            "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", **variables,
        },
    )  # fmt: skip
    assert ended.returncode == 1
    assert why in message(tmp_path)
    assert "Traceback" not in ended.stderr


def test_a_long_background_is_thinned_out_from_end_to_end() -> None:
    rows: list[Row] = [{"size": n} for n in range(100)]
    assert explainability._evenly(rows, 4) == [rows[0], rows[25], rows[50], rows[75]]
    assert explainability._evenly(rows, 30) == rows[::4]
    assert explainability._evenly(rows[:3], 50) == rows[:3]
    assert explainability._evenly(rows, 0) == rows[:1]
