"""The command line of a monitoring job: `python -m millrace.monitoring COMMAND`, one command a module of `commands`.

Paths are relative to the job's working directory, /opt/ml/processing. How it ends: `millrace.job_exit`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterable

from millrace.job_exit import exit_status, leave
from millrace.monitoring.commands import NAMES
from millrace.profiling.lean_start import lean_start


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # Only the command that is called is imported: together they take seconds.
    called = [name for name in NAMES if name in arguments[:1]] or NAMES
    options = _parser(called).parse_args(arguments)
    return exit_status(lambda: options.run(options))


def _parser(names: Iterable[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m millrace.monitoring", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name in names:
        command = importlib.import_module(f"millrace.monitoring.commands.{name.replace('-', '_')}")
        words = (command.__doc__ or "").splitlines()[0]
        one = commands.add_parser(name, help=words, description=command.__doc__)
        command.add_arguments(one)
        one.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    lean_start()
    leave(main())
