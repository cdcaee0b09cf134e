"""Arguments that say which rows a command looks at, and their profile: of files, or merged from profiles made before."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

from millrace.monitoring.sample import Reservoir
from millrace.profiling.dataset import Reading, read_into
from millrace.profiling.errors import DatasetError
from millrace.profiling.profile import DatasetProfile
from millrace.profiling.profile_file import FILE_NAME, StoredProfile, identity, read_profile


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, default=Path("input/data"), help="folder of .csv, .parquet or .jsonl files"
    )
    parser.add_argument("--exclude", action="append", default=[], help="a column to leave out; repeatable")
    parser.add_argument("--columns", type=lambda t: t.split(","), help="names for CSV files without a header line")


def add_profiles_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profiles",
        type=Path,
        help="folder of profile.json files to merge instead: shards of a dataset, days of a window",
    )


def reading(options: argparse.Namespace, as_text: Collection[str] = ()) -> Reading:
    """How the data arguments say that the rows are read."""
    return Reading(exclude=options.exclude, as_text=as_text, columns=options.columns)


def profile_rows(options: argparse.Namespace, as_text: Collection[str] = ()) -> tuple[StoredProfile, Reservoir]:
    """The profile and a sample of the rows that the data arguments name; they may be of none."""
    both = read_into(_Both, options.data, reading(options, as_text))
    print(f"profiled {options.data}: {both.profile.rows} rows, {len(both.profile.columns)} columns")
    return StoredProfile(files=identity(options.data), profile=both.profile), both.sample


def stored_profile(
    options: argparse.Namespace, as_text: Collection[str] = ()
) -> tuple[StoredProfile, Reservoir | None]:
    """The profile of the rows and a sample; or of the profiles that are named instead, merged, which have no rows."""
    if not options.profiles:
        return profile_rows(options, as_text)
    found = _merged(options.profiles)
    for name in options.exclude:
        found.profile.columns.pop(name, None)
    return found, None


class _Both:
    """Profiles and samples the rows in one pass."""

    def __init__(self) -> None:
        self.profile, self.sample = DatasetProfile(), Reservoir()

    def add(self, batch: pa.RecordBatch) -> None:
        self.profile.add(batch)
        self.sample.add(batch)


def _merged(folder: Path) -> StoredProfile:
    paths = sorted(folder.rglob(FILE_NAME)) if folder.is_dir() else []
    if not paths:
        raise DatasetError(f"there is no {FILE_NAME} under {folder}; mount the profiles as a processing input there")
    found = StoredProfile(files=(), profile=DatasetProfile())
    for path in paths:
        found = found.merged(read_profile(path))
    print(f"merged {len(paths)} profiles under {folder}: {found.profile.rows} rows")
    return found


def share(text: str) -> float:
    """An argument above 0 and up to 1."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share; give a number above 0 and up to 1")
    return value


def level(text: str) -> float:
    """An argument between 0 and 1, such as a confidence: never quite certain."""
    value = share(text)
    if value == 1:
        raise argparse.ArgumentTypeError("nothing is known with a confidence of 1; give a number below it")
    return value
