"""The command line of a quality job: `python -m millrace.quality [COMMAND]`, one command a module of `commands`.

Without a command it is `check`: `--suite module:function --gate NAME`. Paths are relative to the job's working directory,
/opt/ml/processing. How it ends: `millrace.job_exit`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterable

from millrace.job_exit import exit_status, leave
from millrace.profiling.lean_start import lean_start
from millrace.quality.commands import DEFAULT, NAMES


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] and given[0].startswith("--") and given[0] != "--help":
        given = [DEFAULT, *given]
    called = [name for name in NAMES if name in given[:1]] or NAMES
    options = _parser(called).parse_args(given)
    return exit_status(lambda: options.run(options))


def _parser(names: Iterable[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m millrace.quality", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name in names:
        command = importlib.import_module(f"millrace.quality.commands.{name}")
        words = (command.__doc__ or "").splitlines()[0]
        one = commands.add_parser(name, help=words, description=command.__doc__)
        command.add_arguments(one)
        one.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    lean_start()
    leave(main())
