"""Hold the rows of a dataset against a suite and write verdict, validation.json, Data Docs, and the quarantine."""

from __future__ import annotations

import argparse
import functools
from dataclasses import replace
from pathlib import Path

from millrace.profiling.dataset import Reading, settled
from millrace.quality import shards
from millrace.quality.commands.outputs import add_data_arguments, add_gate_arguments, add_suite_arguments, write
from millrace.quality.expectation import Suite
from millrace.quality.gate import Read, judge, stream
from millrace.quality.quarantine import Quarantine
from millrace.quality.reading import read_source
from millrace.quality.streaming.suite_pass import SuitePass
from millrace.quality.suites import load_suite


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_suite_arguments(parser)
    add_gate_arguments(parser)
    add_data_arguments(parser)
    parser.add_argument("--quarantine", action="store_true", help="put rows that break a critical expectation aside")
    parser.add_argument("--accepted", type=Path, default=Path("output/accepted"), help="where accepted rows go")
    parser.add_argument("--quarantined", type=Path, default=Path("output/quarantine"), help="where the others go")
    parser.add_argument(
        "--partial",
        action="store_true",
        help="write what this instance has seen of its shard, for `merge`, and no verdict",
    )


def run(options: argparse.Namespace) -> None:
    suite = load_suite(options.suite, options.set)
    reading = Reading(columns=options.columns)
    found, quarantine, read = settled(functools.partial(_passed, options, suite), options.data, reading)
    print(f"read {options.data}: {found.rows} rows, {len(found.names)} columns", flush=True)
    if options.partial:
        print(f"wrote {shards.write_part(options.output, suite, found, quarantine)}: the part of this instance")
        return
    again = read if quarantine is None else functools.partial(read_source, options.accepted)
    write(options, suite, judge(suite, found, again), quarantine)


def _passed(options: argparse.Namespace, suite: Suite, reading: Reading) -> tuple[SuitePass, Quarantine | None, Read]:
    """One pass over the rows, which puts bad ones aside where that is asked for; and how they were read."""
    # An instance of several may have got no file of the dataset; whether there is any row is seen when parts are merged.
    read = functools.partial(read_source, options.data, reading, may_be_empty=options.partial)
    if not options.quarantine:
        return stream(suite, read), None, read
    instance = shards.instance()
    for folder in (options.accepted, options.quarantined):
        for left in folder.glob(f"{instance}-*"):  # of a pass that was begun anew with other types
            left.unlink()
    quarantine = Quarantine(options.data, options.accepted, options.quarantined, suite.expectations, instance=instance)
    reading = replace(reading, on_invalid_row=quarantine.on_invalid)
    read = functools.partial(read_source, options.data, reading, may_be_empty=options.partial)
    return stream(suite, read, quarantine), quarantine, read
