"""The local stack from a shell: up, run, demo, status, logs, env, cost, explain-cache, faults, clock, coverage, down."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from .clock import app as clock_app
from .cost import cost as cost_command
from .coverage import coverage as coverage_command
from .explain_cache import explain_cache
from .faults import app as faults_app
from .layout import Layout, LayoutError
from .stack import Stack, StackError

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
app.add_typer(faults_app, name="faults")
app.add_typer(clock_app, name="clock")
app.command("cost")(cost_command)
app.command("coverage")(coverage_command)
app.command("explain-cache")(explain_cache)
console = Console(soft_wrap=not sys.stdout.isatty())


class Demonstration(StrEnum):
    """What `millrace demo` plays."""

    DIGITS = "digits"
    LENDING = "lending"


def _say(line: str) -> None:
    console.print(line, highlight=False, style="dim")


def _stack() -> Stack:
    return Stack(Layout.from_environment(), _say)


@app.command()
def up() -> None:
    """Start the runtime, MLflow and Airflow, all on loopback."""
    stack = _stack()
    stack.up()
    _show(stack)


@app.command()
def down() -> None:
    """Stop everything; what it knows stays in .millrace/."""
    _stack().down()
    _say("everything is down; .millrace/ keeps its state")


@app.command()
def status() -> None:
    """Show every service, how it is and where it is found."""
    stack = _stack()
    _show(stack)
    raise typer.Exit(0 if stack.is_up() else 1)


@app.command()
def logs(
    service: Annotated[str, typer.Argument(help="runtime, mlflow, api-server, scheduler, ...; all when left out")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on as they grow")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="how many of each log's last lines")] = 30,
) -> None:
    """Show the services' logs."""
    layout = Layout.from_environment()
    paths = sorted(layout.logs.glob("*.log"))
    chosen: list[Path] = [path for path in paths if not service or path.stem == service]
    if not chosen:
        names = ", ".join(path.stem for path in paths) or "none yet"
        console.print(f"[red]there is no log of {service!r}; there are: {names}")
        raise typer.Exit(2)
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, chosen)]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


@app.command()
def env() -> None:
    """Print what a shell needs to speak to the local stack: `eval "$(millrace env)"`."""
    from .environment import for_user

    variables = for_user(Layout.from_environment())
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    # A shell's own keys would win over a file's.
    foreign = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    print("unset", *(name for name in foreign if name not in variables))


@app.command()
def run(
    dag_id: str,
    conf: Annotated[str, typer.Option(help="the run's parameters, as JSON")] = "{}",
    approve: Annotated[bool, typer.Option(help="answer approvals with Approve")] = False,
) -> None:
    """Trigger a DAG through Airflow's REST API and follow it to its end."""
    import json

    from .airflow_api import AirflowApi
    from .dags import await_dags
    from .follow import Followed, Follower, RunFailed, explain_failure
    from .stage import Stage

    layout = Layout.from_environment()
    api = AirflowApi(layout)

    def waiting(followed: Followed, task_id: str) -> None:
        if approve:
            api.answer(followed.dag_id, followed.run_id, task_id, "Approve")
        else:
            console.print(f"{task_id} waits for a person: answer it at {layout.airflow_url}/required_actions")

    try:
        parameters = json.loads(conf)
    except ValueError as error:
        console.print(f"[red]--conf is not JSON: {error}")
        raise typer.Exit(2) from error
    await_dags(api, layout.dags, [dag_id], say=_say)
    try:
        Follower(api, console, waiting).follow([Followed(dag_id, api.trigger(dag_id, parameters))])
    except RunFailed as failure:
        explain_failure(api, failure, console, Stage(layout, console).job_log)
        raise typer.Exit(1) from failure


@app.command()
def demo(
    pipeline: Annotated[
        Demonstration, typer.Argument(help="digits, or lending: a month of nights whose world changes")
    ] = Demonstration.DIGITS,
    nights: Annotated[int, typer.Option(min=1, max=60, help="of lending")] = 30,
) -> None:
    """Bring everything up, run the pipelines from end to end, and print what came out; leaves it up."""
    from . import digits, lending
    from .stage import Stage

    started = time.monotonic()
    stack = _stack()
    if stack.is_up():
        _say("the stack is up already; using it")
    else:
        stack.up()
    seconds = {"starting": time.monotonic() - started}
    stage = Stage(stack.layout, console)
    if pipeline is Demonstration.LENDING:
        lending.play(stage, nights)
    else:
        digits.play(stage)
    seconds |= stage.seconds
    parts = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    _say(f"took {time.monotonic() - started:.0f} s: {parts}")
    _say("`make down` ends it")


def _show(stack: Stack) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("service", "state", "where"):
        table.add_column(column)
    for name, state, where in stack.status():
        colour = {"well": "green", "down": "dim"}.get(state, "yellow")
        table.add_row(name, f"[{colour}]{state}[/]", where)
    console.print(table)
    if stack.layout.passwords.exists():
        _say(f"Airflow: user admin, password in {stack.layout.passwords}")


def main() -> None:
    """The console script; expected errors end in one message and a status of 1."""
    from .airflow_api import ApiError, NotReached
    from .dags import DagNotFound
    from .environment import scrub
    from .follow import RunFailed
    from .stage import DemoFailed

    scrub(os.environ)
    try:
        app()
    except (StackError, LayoutError, DagNotFound, DemoFailed, RunFailed, ApiError, NotReached) as error:
        console.print(f"[bold red]millrace:[/] {error}", highlight=False)
        sys.exit(1)
