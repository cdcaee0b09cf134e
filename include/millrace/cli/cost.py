"""`millrace cost DAG`: what a run's jobs have cost by the price table, step by step, and together.

It reads the account that the operators keep in S3 and nothing else: no job, no Airflow. Of jobs that ran on this machine
it says what they would have cost on AWS.
"""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from millrace.sagemaker import ledger
from millrace.sagemaker.cost import shown
from millrace.sagemaker.ledger import Entry, LedgerError, RunCost

from .environment import DEPLOYMENT, client
from .layout import Layout

COLUMNS = {
    "task": "left", "map": "right", "generation": "right", "job": "left", "instances": "left",
    "billable seconds": "right", "estimated USD": "right",
}  # fmt: skip


def cost(
    dag_id: Annotated[str, typer.Argument(metavar="DAG")],
    run: Annotated[str, typer.Option(help="the run's id; the one that was last worked on when left out")] = "",
) -> None:
    """Show the billable seconds and the estimated price of a run, step by step."""
    from botocore.exceptions import EndpointConnectionError

    layout = Layout.from_environment()
    try:
        found = _account(client("s3", layout), layout.bucket, dag_id, run)
    except EndpointConnectionError:
        _fail(f"the runtime does not answer at {layout.runtime_url}: `make up` starts it")
    except LedgerError as error:
        _fail(str(error))
    if found is None:
        _fail(
            f"no costs are known of {f'the run {run} of ' if run else ''}{dag_id}: none of its jobs has been submitted"
        )
    show(dag_id, *found, Console())


def _account(s3: Any, bucket: str, dag_id: str, run: str) -> tuple[str, RunCost] | None:
    """The id and the account of a run, or of the latest; None when nothing was entered."""
    from botocore.exceptions import ClientError

    try:
        run_id = run or ledger.latest_run(s3, bucket, DEPLOYMENT, dag_id)
        if run_id is None:
            return None
        found = ledger.read_run(s3, bucket, DEPLOYMENT, dag_id, run_id)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
        return None
    return (run_id, found) if found.entries or found.unreadable else None


def show(dag_id: str, run_id: str, found: RunCost, console: Console) -> None:
    """Print a run's account. What it holds is shown as it stands: nothing in it is taken for markup."""
    table = Table(box=None, pad_edge=False)
    for name, justify in COLUMNS.items():
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for entry in found.entries:
        table.add_row(*map(Text, _row(entry)))
    console.print(Text(f"{dag_id} {run_id}"))
    console.print(table)
    for line in _notes(found):
        console.print(Text(line))


def _row(entry: Entry) -> tuple[str, ...]:
    who, estimate = entry.whose.identity, entry.estimate
    most = "up to " if entry.state == "reserved" else ""
    return (
        who.task_id,
        str(who.map_index) if who.map_index >= 0 else "",
        str(entry.whose.generation),
        entry.whose.job_name,
        f"{estimate.instance_type} x {estimate.instances}" if estimate.instance_type else "",
        f"{most}{estimate.seconds}",
        "unknown" if estimate.usd is None else f"{most}{shown(estimate.usd).removeprefix('$')}",
    )


def _notes(found: RunCost) -> list[str]:
    spent, reserved = found.sum_of("final"), found.sum_of("reserved")
    partly = "at least " if found.unknown or found.unreadable else ""
    total = f"estimated total of the run: {partly}{shown(spent)}"
    if any(entry.state == "reserved" for entry in found.entries):
        total += f", and up to {shown(reserved)} for jobs that have not been seen to end"
    tables = sorted({entry.estimate.price_table for entry in found.entries if entry.estimate.price_table})
    return [
        total,
        *(f"prices of {table}" for table in tables),
        "estimated from on-demand prices of instances on AWS; storage, transfer and taxes are not counted",
        *sorted({f"unknown: {entry.estimate.why_unknown}" for entry in found.unknown}),
        *(f"unreadable: {what}" for what in found.unreadable),
    ]


def _fail(sentence: str) -> NoReturn:
    Console().print(Text(f"millrace: {sentence}"), style="red")
    raise typer.Exit(1)
