"""Write the statistics, the suggested constraints and the profile of a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

from millrace.monitoring.commands.data import add_data_arguments, add_profiles_argument, stored_profile
from millrace.profiling import constraints_file, profile_file, statistics_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    add_profiles_argument(parser)
    parser.add_argument("--output", type=Path, default=Path("output/baseline"))


def run(options: argparse.Namespace) -> None:
    stored = stored_profile(options)
    dataset = stored.profile.summary()
    options.output.mkdir(parents=True, exist_ok=True)
    statistics_file.write_statistics(options.output, dataset)
    profile_file.write_profile(options.output, stored)
    path = constraints_file.write_constraints(options.output, constraints_file.suggest(dataset))
    print(f"wrote {statistics_file.FILE_NAME}, {path.name} and {profile_file.FILE_NAME} to {options.output}")
