"""QualityGateOperator: a Great Expectations suite between two steps; what fails it goes no further."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from millrace.verdict import Verdict
from operators.processing import ProcessingOperator, split_uri

if TYPE_CHECKING:
    from airflow.sdk import Context

MAX_ARGUMENT = 256


class QualityGateOperator(ProcessingOperator):
    """Hold data against an expectation suite, in a processing job, and fail the task when it does not pass.

    A gate that did not pass is not retried: the same data would fail again. `.output["quality"]` holds verdict.json,
    the full validation result and the Data Docs, whose first page is `.output["data_docs"]`.

    Args:
        suite: `module:function` that returns the suite.
        data: S3 URI of the Parquet or CSV files to look at.
        gate: what the gate is called in logs and reports.
        settings: keyword arguments of the suite's function; values may be templates, and are read as JSON.
        columns: column names of CSV files that have no header.

    Example::

        gate = QualityGateOperator(
            task_id="gate",
            suite="pipelines.digits.expectations:raw_digits",
            data=prepare.output["raw"],
            gate="raw data",
            packages=("pipelines.digits",),
            instance_type="ml.m5.large",
        )
    """

    template_fields: Sequence[str] = (*ProcessingOperator.template_fields, "data")
    ui_color = "#fff4d6"

    def __init__(
        self,
        *,
        suite: str,
        data: Any,
        gate: str,
        packages: Sequence[str],
        settings: Mapping[str, Any] | None = None,
        columns: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        self.data = data  # a template field of its own, so that a mapped gate comes after what makes it
        arguments = ["--suite", suite, "--data", "input/data", "--output", "output/quality", "--gate", gate]
        for name, value in (settings or {}).items():
            arguments += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
        for names in _chunks(columns):
            arguments += ["--columns", names]
        super().__init__(
            module="millrace.quality",
            packages=(*packages, "millrace.quality"),
            arguments=arguments,
            inputs={"data": data},
            required_inputs=("data",),
            outputs=("quality",),
            verdict="quality",
            **kwargs,
        )

    def judge(self, verdict: Verdict, uri: str, context: Context) -> dict[str, Any]:
        bucket, prefix = split_uri(uri)
        docs = f"s3://{bucket}/{prefix}/{verdict.artifacts.get('data_docs', '')}"
        self.publish(context, data_docs=docs)
        if not verdict.passed:
            findings = "\n".join(f"- {finding.subject}: {finding.message}" for finding in verdict.findings[:20])
            raise AirflowFailException(
                f"the gate {verdict.gate!r} did not pass: {verdict.summary}\n{findings}\nThe report: {docs}"
            )
        return {"data_docs": docs}


def _chunks(columns: Sequence[str]) -> list[str]:
    """Column names as comma-separated arguments of at most the 256 characters that SageMaker takes."""
    chunks: list[str] = []
    for column in columns:
        if chunks and len(chunks[-1]) + len(column) + 1 <= MAX_ARGUMENT:
            chunks[-1] += f",{column}"
        else:
            chunks.append(column)
    return chunks
