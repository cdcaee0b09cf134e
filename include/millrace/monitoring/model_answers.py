"""Ask an endpoint about rows, in CSV or JSON lines, and read its answers as rows.

What it does not do: it makes no endpoint (`shadow_endpoint`), and does not say which part of an answer is what.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from millrace.monitoring.shap_config import CSV, PLACEHOLDER, PredictorConfig
from millrace.monitoring.shapley import PredictError
from millrace.profiling.payload import Cell, Cells, PayloadError, rows_of

MAX_ROWS, MAX_BYTES = 2000, 4 * 1024 * 1024
"""Of one request; an endpoint takes 6 MiB."""


class ModelAnswers:
    """The answers of a model behind an endpoint.

    Args:
        runtime: a boto3 client of sagemaker-runtime.
    """

    def __init__(self, runtime: Any, endpoint: str, predictor: PredictorConfig) -> None:
        self._runtime = runtime
        self._endpoint = endpoint
        self._predictor = predictor
        self.asked = 0

    def of(self, rows: Iterable[Sequence[Cell]]) -> Iterator[Cells]:
        """One answer a row, in their order.

        Raises:
            PredictError: the model does not answer, or not one row to each.
        """
        for lines in _requests(map(self._line, rows)):
            yield from self._ask(lines)
            self.asked += len(lines)

    def _line(self, cells: Sequence[Cell]) -> str:
        """One record, as the model takes it."""
        if self._predictor.content_type != CSV:
            return self._predictor.template.replace(PLACEHOLDER, json.dumps(list(cells))) + "\n"
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(["" if cell is None else cell for cell in cells])
        return text.getvalue()

    def _ask(self, lines: Sequence[str]) -> list[Cells]:
        from botocore.exceptions import BotoCoreError, ClientError

        predictor = self._predictor
        try:
            answer = self._runtime.invoke_endpoint(
                EndpointName=self._endpoint,
                Body="".join(lines).encode(),
                ContentType=predictor.content_type,
                Accept=predictor.accept,
            )
            body = answer["Body"].read().decode()
        except (BotoCoreError, ClientError, UnicodeDecodeError) as error:
            raise PredictError(f"the model {predictor.model} did not answer: {error}") from error
        return self._rows(body, answer.get("ContentType") or predictor.accept, len(lines))

    def _rows(self, body: str, content_type: str, count: int) -> list[Cells]:
        model = self._predictor.model
        try:
            rows = rows_of(body, "json" if "json" in content_type.lower() else "csv")
        except PayloadError as error:
            raise PredictError(f"the answer of the model {model} cannot be read as {content_type}: {error}") from error
        if len(rows) != count:
            raise PredictError(f"the model {model} answered {len(rows)} rows to {count}; it must answer a row to each")
        return rows


def _requests(lines: Iterable[str]) -> Iterator[list[str]]:
    """Lines in bodies of a size that an endpoint takes."""
    body: list[str] = []
    size = 0
    for line in lines:
        length = len(line.encode())
        if body and (len(body) == MAX_ROWS or size + length > MAX_BYTES):
            yield body
            body, size = [], 0
        body.append(line)
        size += length
    if body:
        yield body
