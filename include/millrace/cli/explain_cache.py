"""`millrace explain-cache DAG TASK`: why a step was, or was not, taken from the step cache.

It reads the looks that tasks with `cache=True` leave in S3: the local stack's, or an AWS account's through a profile. It
changes nothing. Keys in the environment are not used, as by no command of this CLI: AWS is reached by a profile only.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from .airflow_api import NotReached
from .environment import client
from .layout import Layout

if TYPE_CHECKING:
    from millrace.sagemaker.cache_looks import Look

SHOWN_LINES, SHOWN_CHARACTERS = 40, 200


def explain_cache(
    dag_id: Annotated[str, typer.Argument(metavar="DAG")],
    task_id: Annotated[str, typer.Argument(metavar="TASK")],
    run: Annotated[str, typer.Option(help="a run's id; the latest look when left out")] = "",
    map_index: Annotated[int, typer.Option(help="of a mapped task")] = -1,
    profile: Annotated[str, typer.Option(help="look in AWS, by this profile; in the local stack when left out")] = "",
    bucket: Annotated[
        str, typer.Option(envvar="MILLRACE_BUCKET", help="the deployment's bucket, when a profile is given")
    ] = "",
) -> None:
    """Say what differs between a step and the nearest one before it."""
    from botocore.exceptions import BotoCoreError, ClientError

    if profile and not bucket:
        raise typer.BadParameter("--profile needs the deployment's bucket: give --bucket, or set MILLRACE_BUCKET")
    console = Console(soft_wrap=True, highlight=False)
    try:
        s3, where = (_s3_of(profile), bucket) if profile else _local()
        look, earlier = _chosen(s3, where, dag_id, task_id, run, map_index)
    except (ClientError, BotoCoreError) as error:
        remedy = (
            "Look at --profile and --bucket" if profile else "Run `make up`; set MILLRACE_PORT as for `up`, if you did"
        )
        raise NotReached(f"the looks cannot be read from S3 ({error}). {remedy}") from error
    if look is None:
        of_run = f" in the run {run}" if run else ""
        _print(
            console, f"no look of {dag_id}.{task_id}{of_run} is recorded: set cache=True on the task and run it", "red"
        )
        raise typer.Exit(1)
    _show(console, look, earlier)


def _chosen(
    s3: Any, bucket: str, dag_id: str, task_id: str, run: str, map_index: int
) -> tuple[Look | None, list[Look]]:
    """The look that was asked for, and those before it, the latest first."""
    from millrace.sagemaker.cache_looks import COMPARED, looks

    found = looks(s3, bucket, dag_id, task_id, map_index)
    look = next((look for look in found if not run or look.asked_by.run_id == run), None)
    return look, list(islice(found, COMPARED))


def _show(console: Console, look: Look, earlier: list[Look]) -> None:
    from millrace.sagemaker.cache_looks import explain, nearest

    by = look.asked_by
    verdict, style = {"hit": ("a hit", "green"), "miss": ("a miss", "yellow")}.get(look.answer, ("not cached", "red"))
    _print(
        console, f"{by.dag_id}.{by.task_id}, {by.run_id}: {verdict}, looked for at {look.looked_at}", f"bold {style}"
    )
    _print(console, look.reason)
    if not look.key:
        return
    other = nearest(look, earlier)
    if other is None:
        _print(console, "there is no earlier look of this task to compare with", "dim")
        return
    lines = explain(other, look)
    against = f"{other.asked_by.run_id} ({other.answer}, {other.looked_at})"
    _print(
        console, f"{'what differs from' if lines else 'nothing differs from'} {against}{':' if lines else ''}", "bold"
    )
    for line in lines[:SHOWN_LINES]:
        _print(console, f"  {line}")
    if len(lines) > SHOWN_LINES:
        _print(console, f"  and {len(lines) - SHOWN_LINES} more", "dim")


def _print(console: Console, line: str, style: str = "") -> None:
    """A line from outside: no markup of rich's, nothing that a terminal would obey."""
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
    more = "…" if len(shown) > SHOWN_CHARACTERS else ""
    console.print(Text(shown[:SHOWN_CHARACTERS] + more, style=style))


def _local() -> tuple[Any, str]:
    """The local stack's S3, and its bucket."""
    layout = Layout.from_environment()
    return client("s3", layout), layout.bucket


def _s3_of(profile: str) -> Any:
    """S3 of an AWS account. The command has hidden the shell's configuration from boto3; a named profile brings it back."""
    import boto3
    from botocore.session import Session

    session = Session(profile=profile)
    session.set_config_variable("config_file", str(Path("~/.aws/config").expanduser()))
    session.set_config_variable("credentials_file", str(Path("~/.aws/credentials").expanduser()))
    return boto3.Session(botocore_session=session).client("s3")
