"""`constraint_violations.json`: where a dataset did not satisfy its constraints.

It does not decide anything: `checks` and `drift` find violations, this module writes and reads the file.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-violations.html
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from millrace.profiling.untrusted_json import read_document

FILE_NAME = "constraint_violations.json"
DATA_TYPE = "data_type_check"
COMPLETENESS = "completeness_check"
DRIFT = "baseline_drift_check"
MISSING_COLUMN = "missing_column_check"
EXTRA_COLUMN = "extra_column_check"
CATEGORIES = "categorical_values_check"
CHECKS = (DATA_TYPE, COMPLETENESS, DRIFT, MISSING_COLUMN, EXTRA_COLUMN, CATEGORIES)
SCHEMA_CHECKS = (MISSING_COLUMN, DATA_TYPE)
"""The violations after which the data cannot be fed to the model; one of them alone means drift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One constraint that one feature did not satisfy."""

    feature_name: str
    constraint_check_type: str
    description: str


def write_violations(folder: Path, violations: Sequence[Violation]) -> Path:
    """Write `constraint_violations.json` into `folder` and return its path."""
    path = folder / FILE_NAME
    path.write_text(json.dumps({"violations": [asdict(v) for v in violations]}, indent=2), encoding="utf-8")
    return path


def read_violations(folder: Path) -> list[Violation]:
    """The violations in `folder/constraint_violations.json`; FormatError if it is not of the documented form."""
    return [
        Violation(
            feature_name=item["feature_name"].text(),
            constraint_check_type=item["constraint_check_type"].text(one_of=CHECKS),
            description=item["description"].text(),
        )
        for item in read_document(folder / FILE_NAME)["violations"].items()
    ]
