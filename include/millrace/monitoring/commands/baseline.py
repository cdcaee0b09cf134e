"""Write the statistics, the suggested constraints, the profile and the principal components of a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

from millrace.monitoring.commands.data import (
    add_capture_argument,
    add_data_arguments,
    add_profiles_argument,
    stored_profile,
)
from millrace.monitoring.multivariate import fit_reconstruction, write_reconstruction
from millrace.monitoring.sample import Reservoir
from millrace.profiling import constraints_file, profile_file, statistics_file
from millrace.profiling.errors import DatasetError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    add_capture_argument(parser)
    add_profiles_argument(parser)
    parser.add_argument("--output", type=Path, default=Path("output/baseline"))


def run(options: argparse.Namespace) -> None:
    stored, sample = stored_profile(options)
    dataset = stored.profile.summary()
    options.output.mkdir(parents=True, exist_ok=True)
    statistics_file.write_statistics(options.output, dataset)
    profile_file.write_profile(options.output, stored)
    if sample is not None:
        _fit(options.output, sample)
    path = constraints_file.write_constraints(options.output, constraints_file.suggest(dataset))
    print(f"wrote {statistics_file.FILE_NAME}, {path.name} and {profile_file.FILE_NAME} to {options.output}")


def _fit(folder: Path, sample: Reservoir) -> None:
    """Write how the columns go together, where there are rows and columns enough to say so."""
    try:
        write_reconstruction(folder, fit_reconstruction(sample.rows()))
    except DatasetError as error:
        print(f"how columns go together is not part of this baseline: {error}")
