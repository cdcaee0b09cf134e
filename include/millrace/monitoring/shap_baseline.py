"""The rows that stand for an absent feature: Clarify's `baseline`, written in the configuration or lying in S3.

Rows hold the features only, in the form of the dataset: lists of values by position, objects, or in S3 CSV lines with or
without a header, or JSON lines.

What it does not do: without a baseline it makes none (Clarify clusters the dataset).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from millrace.monitoring.endpoint_predictor import Row
from millrace.monitoring.record_cells import features_of
from millrace.profiling.errors import DatasetError
from millrace.profiling.payload import Cells, json_cells, rows_of

MAX_BYTES = 64 * 1024 * 1024


def given(rows: Sequence[Any], attribute: str | None, features: Sequence[str]) -> list[Row]:
    """Rows as the configuration holds them.

    Args:
        attribute: where the features are in an object.

    Raises:
        DatasetError: a row does not hold all features.
    """
    return [
        _row(json_cells(row), attribute if isinstance(row, dict) else None, features, f"row {number}")
        for number, row in enumerate(rows)
    ]


def fetched(s3: Any, uri: str, attribute: str | None, features: Sequence[str]) -> list[Row]:
    """Rows as they lie in S3.

    Args:
        s3: a boto3 client.

    Raises:
        DatasetError: the object cannot be had or read, or a row does not hold all features.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc or not parts.path.strip("/"):
        raise DatasetError(f"the baseline of shap is {uri!r}; it must look like s3://bucket/key")
    try:
        body = s3.get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))["Body"].read(MAX_BYTES + 1)
        found = _read(body.decode(), features) if len(body) <= MAX_BYTES else []
    except (BotoCoreError, ClientError, ValueError, RecursionError) as error:
        raise DatasetError(f"the baseline of shap {uri} cannot be read: {error}") from error
    if not found:
        raise DatasetError(
            f"the baseline of shap {uri} holds no row, or more than {MAX_BYTES} bytes; a few rows will do"
        )
    is_json = any(name is not None for name, _ in found[0])
    return [_row(cells, attribute if is_json else None, features, f"row {n} of {uri}") for n, cells in enumerate(found)]


def _read(text: str, features: Sequence[str]) -> list[Cells]:
    if text.lstrip().startswith(("{", "[")):
        return [json_cells(json.loads(line)) for line in text.splitlines() if line.strip()]
    rows = rows_of(text, "csv")
    return rows[1:] if [cell for _, cell in rows[0]] == list(features) and len(rows) > 1 else rows


def _row(cells: Cells, attribute: str | None, features: Sequence[str], where: str) -> Row:
    row = features_of(cells, attribute, features)
    if set(row) != set(features):
        raise DatasetError(
            f"{where} of the baseline of shap has the features {', '.join(list(row)[:8])}; it must have "
            f"{', '.join(features[:8])}, as the records have"
        )
    return row
