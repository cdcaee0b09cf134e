"""Propose a suite from a baseline's statistics.json and constraints.json, as a JSON file for a person to edit."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from millrace.profiling import constraints_file, statistics_file
from millrace.quality.baseline_suite import proposed
from millrace.quality.commands.outputs import share


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--baseline", type=Path, default=Path("input/baseline"), help="folder of the baseline's files")
    parser.add_argument("--output", type=Path, default=Path("output/suite.json"), help="the file to write")
    parser.add_argument("--name", default="proposed", help="the suite's name")
    parser.add_argument("--tolerance", type=share, default=0.0, help="share of rows that may be unlike the baseline")


def run(options: argparse.Namespace) -> None:
    baseline = statistics_file.read_statistics(options.baseline)
    constraints = constraints_file.read_constraints(options.baseline)
    suite = proposed(baseline, constraints, name=options.name, tolerance=options.tolerance)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(suite.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(
        f"wrote {options.output}: {len(suite.expectations)} expectations on {len(constraints.features)} columns; edit them"
    )
