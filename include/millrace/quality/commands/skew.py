"""Hold what a model is asked to score against what it was trained on: unseen categories, ranges, missing values."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

from millrace.profiling import constraints_file, statistics_file
from millrace.profiling.dataset import Reading, settled
from millrace.quality.baseline_suite import proposed
from millrace.quality.commands.outputs import add_data_arguments, add_gate_arguments, share, write
from millrace.quality.gate import Read, judge, stream
from millrace.quality.reading import read_source
from millrace.quality.streaming.suite_pass import SuitePass

GATE = "training-serving skew"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    add_gate_arguments(parser, GATE)
    parser.add_argument("--baseline", type=Path, default=Path("input/baseline"), help="folder of the baseline's files")
    parser.add_argument("--tolerance", type=share, default=0.01, help="share of rows that may be unlike the baseline")


def run(options: argparse.Namespace) -> None:
    baseline = statistics_file.read_statistics(options.baseline)
    constraints = constraints_file.read_constraints(options.baseline)
    suite = proposed(baseline, constraints, name=GATE, tolerance=options.tolerance)

    def passed(reading: Reading) -> tuple[SuitePass, Read]:
        read = functools.partial(read_source, options.data, reading)
        return stream(suite, read), read

    found, read = settled(passed, options.data, Reading(columns=options.columns))
    print(f"read {options.data}: {found.rows} rows, {len(found.names)} columns", flush=True)
    write(options, suite, judge(suite, found, read))
