"""`millrace clock show | advance`: let time pass for the local runtime, so that hours of waiting are over in a command."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from millrace.runtime import clock

from .layout import Layout

app = typer.Typer(no_args_is_help=True, help="Let time pass for the local runtime.")
console = Console(soft_wrap=not sys.stdout.isatty())
PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@app.command()
def show() -> None:
    """Show how far the runtime's clock is ahead of the machine's."""
    ahead = clock.advanced(_data_dir())
    console.print(f"the runtime's clock is {_words(ahead)} ahead" if ahead else "the runtime's clock is the machine's")


@app.command()
def advance(duration: Annotated[str, typer.Argument(help="such as 90s, 45m, 2h30m or 1d")]) -> None:
    """Let time pass: waits for spot capacity, held jobs and retention are over sooner. It does not go back."""
    parts = PART.findall(duration)
    if not parts or PART.sub("", duration):
        console.print(f"[bold red]millrace clock:[/] {escape(duration)} is no duration; write 90s, 45m, 2h30m or 1d")
        raise typer.Exit(2)
    clock.advance(_data_dir(), sum(float(number) * SECONDS[unit] for number, unit in parts))
    show()


def _data_dir() -> Path:
    return Layout.from_environment().state / "runtime"


def _words(seconds: float) -> str:
    words = []
    for unit in "dhms":
        count, seconds = divmod(seconds, SECONDS[unit])
        if count:
            words.append(f"{count:.0f}{unit}")
    return "".join(words) or "0s"
