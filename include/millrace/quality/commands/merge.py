"""Merge the parts that the instances of a gate have written with `check --partial` into one verdict."""

from __future__ import annotations

import argparse
from pathlib import Path

from millrace.quality import shards
from millrace.quality.commands.outputs import add_gate_arguments, add_suite_arguments, write
from millrace.quality.gate import Judged
from millrace.quality.results import Evaluated
from millrace.quality.suites import load_suite


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_suite_arguments(parser)
    add_gate_arguments(parser)
    parser.add_argument(
        "--parts", type=Path, default=Path("input/parts"), help="folder of the instances' .part.json files"
    )


def run(options: argparse.Namespace) -> None:
    suite = load_suite(options.suite, options.set)
    whole = shards.merge_parts(options.parts, suite)
    print(f"merged {whole.parts} parts: {whole.found.rows} rows", flush=True)
    results = [
        Evaluated(expectation=expectation, answer=answer)
        for expectation, answer in zip(suite.expectations, shards.answers(whole.found), strict=True)
    ]
    write(options, suite, Judged(whole.found.rows, len(whole.found.names), results), whole.quarantine)
