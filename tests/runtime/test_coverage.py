"""The table of operations says what really becomes of a call: each of SageMaker's is called and its answer compared."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from typer.testing import CliRunner

from millrace.cli import app
from millrace.runtime.coverage import Coverage, coverage
from tests.runtime.process import RuntimeProcess

SCOPE = "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/sagemaker/aws4_request, SignedHeaders=host, Signature=0"


def answer(runtime: RuntimeProcess, operation: str) -> str:
    """The error that an empty request meets, or nothing."""
    request = urllib.request.Request(
        runtime.url, b"{}", {"X-Amz-Target": f"SageMaker.{operation}", "Authorization": SCOPE,
                             "Content-Type": "application/x-amz-json-1.1"},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=30):
            return ""
    except urllib.error.HTTPError as error:
        body = error.read()
        return str(json.loads(body)["__type"]) if body.startswith(b"{") and b"__type" in body else body.decode()


@pytest.mark.parametrize("kind", [Coverage.EXECUTED, Coverage.REFUSED])
def test_every_operation_is_what_the_table_says(runtime: RuntimeProcess, kind: Coverage) -> None:
    names = [name for name, found in coverage()["sagemaker"].items() if found is kind]
    assert names
    refused = {name for name in names if answer(runtime, name) == "UnknownOperationException"}
    assert refused == (set(names) if kind is Coverage.REFUSED else set())


def test_what_is_passed_on_keeps_its_records(runtime: RuntimeProcess) -> None:
    assert coverage()["sagemaker"]["CreateExperiment"] is Coverage.PASSED_ON
    sagemaker = runtime.client("sagemaker")
    sagemaker.create_experiment(ExperimentName="kept")
    assert sagemaker.describe_experiment(ExperimentName="kept")["ExperimentName"] == "kept"


def test_table_is_printed_with_its_counts() -> None:
    done = CliRunner().invoke(app, ["coverage"])
    assert done.exit_code == 0
    assert "CreateTrainingJob" in done.output
    assert "CreateCompilationJob" not in done.output
    assert "CreateCompilationJob" in CliRunner().invoke(app, ["coverage", "--refused"]).output
