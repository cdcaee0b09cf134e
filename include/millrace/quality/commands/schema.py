"""Hold the columns of a dataset against a baseline's: which are new, which are missing, which have another type."""

from __future__ import annotations

import argparse
from pathlib import Path

from millrace.profiling import constraints_file
from millrace.profiling.dataset import Reading, settled
from millrace.quality.commands.outputs import add_data_arguments
from millrace.quality.reading import read_source
from millrace.quality.schema_drift import compare, types_of
from millrace.verdict import FILE_NAME as VERDICT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    parser.add_argument("--gate", default="schema drift", help="the gate's name")
    parser.add_argument("--output", type=Path, default=Path("output/quality"))
    parser.add_argument("--baseline", type=Path, default=Path("input/baseline"), help="folder of the baseline's files")


def run(options: argparse.Namespace) -> None:
    constraints = constraints_file.read_constraints(options.baseline)
    rows, types = settled(
        lambda reading: types_of(source.rows for source in read_source(options.data, reading)),
        options.data,
        Reading(columns=options.columns),
    )
    verdict = compare(constraints, types, rows=rows, gate=options.gate)
    verdict.write(options.output)
    print(f"wrote {VERDICT} to {options.output}: {verdict.summary}")
