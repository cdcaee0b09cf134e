"""`millrace cost`: a run's account as a table, from a real S3; what is not known is said, and what is not there too."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from millrace.cli.cost import cost
from millrace.cli.environment import DEPLOYMENT
from millrace.cli.layout import BUCKET
from millrace.sagemaker.cost import Estimate, priced
from millrace.sagemaker.kinds import PROCESSING, TRAINING, JobKind
from millrace.sagemaker.ledger import EntryKey, reserve, run_folder, settle
from millrace.sagemaker.names import TaskIdentity
from millrace.sagemaker.prices import shipped
from tests.runtime.process import RuntimeProcess, free_port

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(cost)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Any:
    process = RuntimeProcess(tmp_path_factory.mktemp("cost"))
    process.start()
    yield process
    process.end_everything()


@pytest.fixture
def s3(runtime: RuntimeProcess) -> Any:
    s3 = runtime.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    return s3


def shown(tmp_path: Path, port: int, *arguments: str) -> Result:
    (tmp_path / "dags").mkdir(exist_ok=True)
    environment = {"MILLRACE_PROJECT": str(tmp_path), "MILLRACE_PORT": str(port), "COLUMNS": "160"}
    return CliRunner(env=environment).invoke(app, list(arguments))


def whose(dag_id: str, run_id: str, task_id: str, kind: JobKind = TRAINING, map_index: int = -1) -> EntryKey:
    identity = TaskIdentity(deployment=DEPLOYMENT, dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)
    return EntryKey(identity=identity, generation=0, kind=kind)


def of(kind: str, instance_type: str, count: int, seconds: int) -> Estimate:
    return priced(kind, instance_type, count, seconds, shipped())


def test_a_run_is_shown_step_by_step_with_its_total_and_the_date_of_the_prices(
    runtime: RuntimeProcess, s3: Any, tmp_path: Path
) -> None:
    prepare = whose("digits", "manual__1", "prepare", PROCESSING)
    settle(s3, BUCKET, prepare, of("processing", "ml.m5.large", 1, 120))
    settle(s3, BUCKET, whose("digits", "manual__1", "train", map_index=3), of("training", "ml.c5.xlarge", 2, 1800))
    found = shown(tmp_path, runtime.port, "digits", "--run", "manual__1")
    assert found.exit_code == 0, found.output
    heading, columns, first, second, total, prices, caution = found.output.splitlines()
    assert heading == "digits manual__1"
    assert columns.split() == [
        "task", "map", "generation", "job", "instances", "billable", "seconds", "estimated", "USD",
    ]  # fmt: skip
    assert first.split() == ["prepare", "0", prepare.job_name, "ml.m5.large", "x", "1", "120", "0.003834"]
    assert second.split()[:3] + second.split()[4:] == ["train", "3", "0", "ml.c5.xlarge", "x", "2", "1800", "0.204"]
    assert total == "estimated total of the run: $0.207834"
    assert prices == "prices of 2026-09 us-east-1"
    assert caution.startswith("estimated from on-demand prices")
    assert shown(tmp_path, runtime.port, "digits").output == found.output  # the latest run is the default


def test_what_is_reserved_and_what_is_not_known_is_said(runtime: RuntimeProcess, s3: Any, tmp_path: Path) -> None:
    settle(s3, BUCKET, whose("other", "r", "a"), of("training", "ml.m4.xlarge", 1, 60))
    reserve(s3, BUCKET, whose("other", "r", "b"), of("training", "ml.m5.large", 1, 3600), None)
    s3.put_object(Bucket=BUCKET, Key=run_folder(DEPLOYMENT, "other", "r") + "x\x1b[31m.json", Body=b"[red]")
    found = shown(tmp_path, runtime.port, "other", "--run", "r")
    assert found.exit_code == 0, found.output
    rows = {line.split()[0]: line for line in found.output.splitlines()}
    assert rows["a"].split()[-2:] == ["60", "unknown"]
    assert rows["b"].split()[-6:] == ["up", "to", "3600", "up", "to", "0.115"]
    assert (
        "estimated total of the run: at least $0.00, and up to $0.115 for jobs that have not been seen to"
        in found.output
    )
    assert "unknown: the price of ml.m4.xlarge for training is not known" in found.output
    assert rf"unreadable: s3://{BUCKET}/" in found.output
    assert "\x1b" not in found.output


@pytest.mark.parametrize("arguments", [["nobody"], ["nobody", "--run", "r"]])
def test_a_run_that_has_no_account_says_so(
    runtime: RuntimeProcess, s3: Any, tmp_path: Path, arguments: list[str]
) -> None:
    found = shown(tmp_path, runtime.port, *arguments)
    assert found.exit_code == 1
    of_run = "the run r of " if len(arguments) > 1 else ""
    assert found.output == f"millrace: no costs are known of {of_run}nobody: none of its jobs has been submitted\n"


def test_without_a_bucket_there_are_no_costs(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    process = RuntimeProcess(tmp_path_factory.mktemp("bare"))
    process.start()
    try:
        found = shown(tmp_path, process.port, "digits")
    finally:
        process.stop()
    assert found.exit_code == 1
    assert found.output.startswith("millrace: no costs are known of digits"), found.output


def test_a_runtime_that_is_down_is_named_with_what_to_do(tmp_path: Path) -> None:
    port = free_port()
    found = shown(tmp_path, port, "digits")
    assert found.exit_code == 1
    assert found.output == f"millrace: the runtime does not answer at http://127.0.0.1:{port}: `make up` starts it\n"


def test_amounts_are_decimals_from_end_to_end(runtime: RuntimeProcess, s3: Any, tmp_path: Path) -> None:
    for index in range(10):
        cents = Estimate(seconds=1, instances=1, instance_type="ml.m5.large", usd=Decimal("0.1"), price_table="t")
        settle(s3, BUCKET, whose("sums", "r", "a", map_index=index), cents)
    assert "estimated total of the run: $1.00\n" in shown(tmp_path, runtime.port, "sums").output
