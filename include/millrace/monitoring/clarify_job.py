"""Clarify's own processing job: what its container is told by `analysis_config.json` instead of by variables.

The dataset lies in `input/data`, the configuration in `input/config`, and the analysis goes to `output`, all below
/opt/ml/processing. Its `methods` say what is done: bias, explanations, or both, which end up in one `analysis.json`. This is
how the SageMaker SDK makes the baselines of its monitors of bias and of explanations.

What it does not do: partial dependence plots, Clarify's report, text, images and time series.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-processing-job-configure-parameters.html and
.../clarify-processing-job-configure-analysis.html
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from millrace.monitoring.clarify_config import headers_of
from millrace.monitoring.container_contract import BASE, Attributes, Contract, DatasetFormat
from millrace.profiling.errors import FormatError
from millrace.profiling.untrusted_json import Field, read_document

DATA, CONFIG, OUTPUT = "processing/input/data", "processing/input/config", "processing/output"
CONFIG_FILE = "analysis_config.json"
ANALYSIS = "analysis.json"
METHODS: Mapping[str, str] = {
    "pre_training_bias": "MODEL_BIAS",
    "post_training_bias": "MODEL_BIAS",
    "shap": "MODEL_EXPLAINABILITY",
}
"""The analysis that a method belongs to."""
WITHOUT_RESULT = ("report",)
"""Methods that say how the result looks; ours has its own look."""
REFUSED = (
    "joinsource_name_or_index", "excluded_columns", "facet_dataset_uri", "predicted_label_dataset_uri", "predicted_label",
    "dataset_uri", "time_series_data_config",
)  # fmt: skip
"""What would change the result and is not heeded."""


def contracts(environment: Mapping[str, str]) -> list[Contract]:
    """One for each analysis that Clarify's job is to do; none where the job is not Clarify's.

    Raises:
        FormatError: the configuration cannot be used, or asks for what is not offered.
    """
    root = Path(environment.get("SAGEMAKER_BASE_DIR", BASE))
    path = root / CONFIG / CONFIG_FILE
    if environment.get("dataset_source") or environment.get("analysis_type") or not path.is_file():
        return []
    document = read_document(path)
    for name in REFUSED:
        if document.has(name):
            raise FormatError(f"{document.where}.{name} is not offered; leave it out")
    if not document.has("headers") and isinstance(document.get("label", None).value, int):
        raise FormatError(
            f"{document.where}.label is a position, and there are no headers; give headers, or the label's name"
        )
    return [_contract(document, root, analysis) for analysis in _analyses(document)]


def of_this_job() -> list[Contract]:
    return contracts(os.environ)


def merge(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The analyses of one job as one document; their sections differ."""
    return {name: value for document in documents for name, value in document.items()}


def read_analysis(contract: Contract) -> dict[str, Any]:
    return read_document(contract.output / ANALYSIS).object()


def write_analysis(contract: Contract, document: Mapping[str, Any]) -> None:
    (contract.output / ANALYSIS).write_text(json.dumps(document, indent=2, allow_nan=False), encoding="utf-8")


def _analyses(document: Field) -> list[str]:
    methods = document["methods"].object() if document.has("methods") else {}
    unknown = sorted(set(methods) - set(METHODS) - set(WITHOUT_RESULT))
    if unknown or set(methods) <= set(WITHOUT_RESULT):
        what = f"names {unknown[0]!r}" if unknown else "names no method"
        raise FormatError(f"{document.where}.methods {what}; offered are {', '.join(METHODS)}")
    return list(dict.fromkeys(analysis for method, analysis in METHODS.items() if method in methods))


def _contract(document: Field, root: Path, analysis: str) -> Contract:
    predictor = document.get("predictor", {}).object()
    label, probability = (_attribute(predictor.get(name)) for name in ("label", "probability"))
    threshold = document["probability_threshold"].number() if document.has("probability_threshold") else None
    return Contract(
        analysis=analysis,
        source=root / DATA,
        format=_format(document, root / DATA),
        output=root / OUTPUT,
        constraints=None,
        statistics=None,
        since=None,
        until=None,
        exclude=(),
        metrics=None,
        endpoint=None,
        schedule=None,
        # The SDK calls the place of a score its label where explanations are asked for.
        attributes=Attributes(
            features=_attribute(document.get("features", None).value),
            inference=label,
            probability=probability or (label if analysis == METHODS["shap"] else None),
        ),
        probability_threshold=threshold,
        problem_type=None,
        ground_truth=None,
        config=root / CONFIG / CONFIG_FILE,
        asks_model=True,
        positive_label="1",
        least_labels=1,
    )


def _attribute(value: object) -> str | None:
    return None if value is None else str(value)


def _format(document: Field, source: Path) -> DatasetFormat:
    kinds: Mapping[str, DatasetFormat] = {
        "text/csv": DatasetFormat(kind="csv", header=_has_header(source, headers_of(document))),
        "application/jsonlines": DatasetFormat(kind="json", by_line=True),
        "application/json": DatasetFormat(kind="json", by_line=False),
        "application/x-parquet": DatasetFormat(kind="parquet"),
    }
    return kinds[document.get("dataset_type", "text/csv").text(one_of=tuple(kinds))]


def _has_header(source: Path, headers: Sequence[str]) -> bool:
    """Whether CSV files begin with their columns' names: where the configuration gives none, or the same ones."""
    files = sorted(path for path in source.rglob("*") if path.is_file()) if headers else []
    if not files:
        return not headers
    with files[0].open("r", encoding="utf-8", errors="replace", newline="") as stream:
        first = next(csv.reader([stream.readline(1024 * 1024)]), [])
    return [cell.strip() for cell in first] == list(headers)
