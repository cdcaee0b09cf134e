"""`millrace coverage`: every operation of SageMaker, and whether the local runtime executes it."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

console = Console(soft_wrap=not sys.stdout.isatty())


def coverage(
    refused: Annotated[bool, typer.Option(help="also list what is refused")] = False,
) -> None:
    """Show which SageMaker operations the local runtime executes, passes on to moto, or refuses by name."""
    from millrace.runtime.coverage import Coverage
    from millrace.runtime.coverage import coverage as of_runtime

    for service, operations in of_runtime().items():
        counts = Counter(operations.values())
        shown = ", ".join(f"{counts[kind]} {kind}" for kind in Coverage)
        console.print(f"[bold]{service}[/]: {len(operations)} operations: {shown}", highlight=False)
        table = Table(box=None, pad_edge=False)
        table.add_column("operation")
        table.add_column("here it is")
        for name, kind in sorted(operations.items(), key=lambda row: (list(Coverage).index(row[1]), row[0])):
            if refused or kind is not Coverage.REFUSED:
                table.add_row(name, kind.value)
        console.print(table, highlight=False)
