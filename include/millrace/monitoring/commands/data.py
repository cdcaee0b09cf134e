"""Arguments that say which rows a command looks at, and their profile."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path

from millrace.profiling.dataset import Reading, read_into
from millrace.profiling.profile import DatasetProfile
from millrace.profiling.summary import DatasetSummary


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, default=Path("input/data"), help="folder of .csv, .parquet or .jsonl files"
    )
    parser.add_argument("--exclude", action="append", default=[], help="a column to leave out; repeatable")
    parser.add_argument("--columns", type=lambda t: t.split(","), help="names for CSV files without a header line")


def profile(options: argparse.Namespace, as_text: Collection[str] = ()) -> DatasetSummary:
    """Profile what the data arguments name."""
    reading = Reading(exclude=options.exclude, as_text=as_text, columns=options.columns)
    found = read_into(DatasetProfile, options.data, reading)
    print(f"profiled {options.data}: {found.rows} rows, {len(found.columns)} columns")
    return found.summary()


def share(text: str) -> float:
    """An argument above 0 and up to 1."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share; give a number above 0 and up to 1")
    return value
