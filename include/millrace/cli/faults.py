"""`millrace faults show | add | set | clear`: the fault plan of the local stack's runtime, from the command line.

The runtime heeds the plan from the next call on; it need not be restarted, nor be up.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from millrace.runtime import fault_plan
from millrace.runtime.fault_plan import Rule
from millrace.runtime.faults import FAULTS, FaultPlanError

from .layout import Layout

app = typer.Typer(no_args_is_help=True, help="Rehearse bad days: the faults that the local runtime deals.")
RULE_MEMBERS = frozenset(member.name for member in fields(Rule))
NAMES = "a glob over the job's, endpoint's or model's name in the request; for S3 over BUCKET/KEY"
EVERY_FAULT = "\n\n".join(
    " ".join([word, *(f"{parameter.name}=…" for parameter in fields(fault))]) + f": {(fault.__doc__ or '').strip()}"
    for word, fault in FAULTS.items()
)
console = Console(soft_wrap=not sys.stdout.isatty())


@app.command()
def show() -> None:
    """Show the rules in force, and what is left of each."""
    data_dir = _data_dir()
    try:
        rules = fault_plan.read(data_dir)
    except (FaultPlanError, OSError) as error:
        _refuse(f"{error}. The runtime goes on with its last good plan; `millrace faults clear` takes this one away")
    used = Counter(line.rule for line in fault_plan.dealt(data_dir))
    if not rules:
        console.print("no fault is planned", highlight=False)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("fault", "operation", "name", "dealt", "left"):
        table.add_column(column)
    for rule in rules:
        left = rule.left(used[rule.id])
        shown = "used up" if not left else f"{left:.0f} s" if rule.times is None else f"{left:.0f} of {rule.times}"
        table.add_row(escape(_words(rule)), escape(rule.operation), escape(rule.name), str(used[rule.id]), shown)
    console.print(table, highlight=False)


@app.command(epilog=EVERY_FAULT)
def add(
    fault: Annotated[str, typer.Argument(help=f"one of {', '.join(FAULTS)}")],
    parameters: Annotated[list[str] | None, typer.Argument(help="of the fault, such as hold_seconds=30")] = None,
    operation: Annotated[
        str, typer.Option(help="a glob over operations, such as PutObject, 'Describe*' or 's3:*'")
    ] = "*",
    name: Annotated[str, typer.Option(help=NAMES)] = "*",
    times: Annotated[int | None, typer.Option(help="deal it so many times")] = None,
    seconds: Annotated[float | None, typer.Option(help="deal it for so long, from now")] = None,
) -> None:
    """Add a rule at the end of the plan."""
    row = {"fault": fault, "operation": operation, "name": name, "times": times, "seconds": seconds}
    data_dir = _data_dir()
    try:
        added = fault_plan.rule_of({**row, **dict(map(_parameter, parameters or ()))})
        fault_plan.write(data_dir, [*fault_plan.read(data_dir), added])
    except FaultPlanError as error:
        _refuse(str(error))
    show()


@app.command("set")
def set_plan(
    file: Annotated[Path, typer.Argument(help="a JSON list of rules", exists=True, dir_okay=False)],
) -> None:
    """Put a file's rules in the place of the plan, counted afresh."""
    try:
        fault_plan.write(_data_dir(), _afresh(fault_plan.parse(file.read_text(errors="replace"), time.time())))
    except FaultPlanError as error:
        _refuse(str(error))
    show()


@app.command()
def clear() -> None:
    """End every fault; what was settled for a job that exists stays settled."""
    fault_plan.clear(_data_dir())
    show()


def _data_dir() -> Path:
    return Layout.from_environment().state / "runtime"


def _afresh(rules: Sequence[Rule]) -> list[Rule]:
    """The same rules as new ones: their times and uses count from now."""
    return [replace(rule, id=uuid.uuid4().hex[:12], since=time.time()) for rule in rules]


def _parameter(text: str) -> tuple[str, str | float | int]:
    name, sign, value = text.partition("=")
    if not sign:
        raise FaultPlanError(f"{text!r} is no parameter; write NAME=VALUE, such as hold_seconds=30")
    if name in RULE_MEMBERS:
        raise FaultPlanError(f"{name} is a member of every rule, not a parameter; write --{name} {value}")
    try:
        return name, int(value) if value.isdigit() else float(value)
    except ValueError:
        return name, value


def _words(rule: Rule) -> str:
    parameters = (f"{key}={value}" for key, value in rule.row().items() if value and key not in RULE_MEMBERS)
    return " ".join([rule.fault.word, *parameters])


def _refuse(message: str) -> NoReturn:
    console.print(f"[bold red]millrace faults:[/] {escape(message)}", highlight=False)
    raise typer.Exit(2)
