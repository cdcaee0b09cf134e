"""Clarify's configuration: columns by name, by position and by path, as its own examples write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millrace.monitoring import clarify_config, clarify_job, shap_config
from millrace.monitoring.clarify_config import FacetConfig
from millrace.profiling.errors import FormatError

BIAS: dict[str, Any] = {
    "headers": ["feature_0", "target", "feature_1"],
    "label": "target",
    "label_values_or_threshold": [1],
    "facet": [{"name_or_index": "feature_1", "value_or_threshold": [1]}],
}
SHAP: dict[str, Any] = {
    "headers": ["feature_0", "feature_1", "target"],
    "methods": {"shap": {"baseline": [[0.5, 1]]}},
    "predictor": {"model_name": "model", "content_type": "application/jsonlines"},
}


def put(folder: Path, document: dict[str, Any]) -> Path:
    path = folder / "analysis_config.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("changes", "label", "facet", "features"),
    [
        ({}, "target", "feature_1", ("feature_0", "feature_1")),
        ({"label": 1, "facet": [{"name_or_index": 2}]}, "target", "feature_1", ("feature_0", "feature_1")),
        # Captured lines lack the label; their cells have the names that the dataset's columns have.
        ({"headers": None, "label": 1, "facet": [{"name_or_index": 2}]}, "_c1", "_c2", ("_c0", "_c2")),
        ({"headers": None, "label": 1, "facet": [{"name_or_index": 0}]}, "_c1", "_c0", ("_c0", "_c2")),
    ],
)
def test_columns_come_by_name_or_position(
    tmp_path: Path, changes: dict[str, Any], label: str, facet: str, features: tuple[str, ...]
) -> None:
    found = clarify_config.read_bias(put(tmp_path, BIAS | changes))
    assert (found.label, found.facets[0].column, found.features[:2]) == (label, facet, features)


def test_values_and_metrics(tmp_path: Path) -> None:
    found = clarify_config.read_bias(put(tmp_path, BIAS))
    assert found.facets == (FacetConfig(column="feature_1", values=(1.0,)),)
    assert {"CI", "DPPL", "FT"} < found.metrics
    labels_alone = clarify_config.read_bias(put(tmp_path, BIAS | {"methods": {"pre_training_bias": {}}}))
    assert labels_alone.metrics == {"CI", "DPL", "KL", "JS", "LP", "TVD", "KS", "CDDL"}
    assert (found.needs_predictions, labels_alone.needs_predictions) == (True, False)


@pytest.mark.parametrize(
    ("changes", "features"),
    [
        ({}, ("feature_0", "feature_1", "target")),
        ({"label": "target"}, ("feature_0", "feature_1")),
        ({"label": "a.path"}, ("feature_0", "feature_1")),
        ({"label": 0}, ("feature_1", "target")),
    ],
)
def test_label_is_no_feature_of_an_explanation(
    tmp_path: Path, changes: dict[str, Any], features: tuple[str, ...]
) -> None:
    found = shap_config.read_shap(put(tmp_path, SHAP | changes))
    assert found.features == features
    assert (found.predictor.content_type, found.predictor.accept) == ("application/jsonlines", "application/jsonlines")


def test_job_of_clarify_is_known_by_its_configuration(tmp_path: Path) -> None:
    assert clarify_job.contracts({"SAGEMAKER_BASE_DIR": str(tmp_path)}) == []
    folder = tmp_path / clarify_job.CONFIG
    folder.mkdir(parents=True)
    methods = {"pre_training_bias": {}, "post_training_bias": {}, **SHAP["methods"]}
    put(folder, BIAS | {"methods": methods, "predictor": {"label": 2}, "probability_threshold": 0.7})
    assert clarify_job.contracts({"SAGEMAKER_BASE_DIR": str(tmp_path), "dataset_source": "/opt/ml/x"}) == []
    bias, shap = clarify_job.contracts({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    assert (bias.analysis, shap.analysis) == ("MODEL_BIAS", "MODEL_EXPLAINABILITY")
    assert (bias.attributes.inference, bias.probability_threshold) == ("2", 0.7)
    assert shap.attributes.probability == "2"


@pytest.mark.parametrize(
    ("lines", "header"), [("feature_0, target,feature_1\n1,2,3\n", True), ("1,2,3\n", False), ("", False)]
)
def test_header_of_the_dataset_is_known_by_the_given_headers(tmp_path: Path, lines: str, header: bool) -> None:
    for folder in (clarify_job.CONFIG, clarify_job.DATA):
        (tmp_path / folder).mkdir(parents=True)
    put(tmp_path / clarify_job.CONFIG, BIAS | {"methods": {"pre_training_bias": {}}})
    (tmp_path / clarify_job.DATA / "a.csv").write_text(lines)
    (found,) = clarify_job.contracts({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    assert found.format.header is header


@pytest.mark.parametrize("headers", ["feature_0", [1], ["a", "a"]])
def test_headers_that_are_none_are_refused(tmp_path: Path, headers: object) -> None:
    with pytest.raises(FormatError, match="headers"):
        clarify_config.read_bias(put(tmp_path, BIAS | {"headers": headers}))
