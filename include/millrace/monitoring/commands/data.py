"""Arguments that say which rows a command looks at, and their profile: of files, or merged from profiles made before."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from millrace.monitoring.sample import Reservoir
from millrace.profiling.capture import INPUT, OUTPUT, PARTS, Capture
from millrace.profiling.dataset import Reading, read_into
from millrace.profiling.errors import DatasetError
from millrace.profiling.profile import DatasetProfile
from millrace.profiling.profile_file import FILE_NAME, StoredProfile, identity, read_profile
from millrace.profiling.typed_rows import typed_batches

CAPTURED: Mapping[str, Sequence[str]] = {"input": (INPUT,), "output": (OUTPUT,), "both": PARTS}


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, default=Path("input/data"), help="folder of .csv, .parquet or .jsonl files"
    )
    parser.add_argument("--exclude", action="append", default=[], help="a column to leave out; repeatable")
    parser.add_argument("--columns", type=lambda t: t.split(","), help="names for CSV files without a header line")


def add_capture_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--capture",
        choices=sorted(CAPTURED),
        help="the data are what an endpoint has captured: of each inference, take what it was asked, answered, or both",
    )


def add_profiles_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profiles",
        type=Path,
        help="folder of profile.json files to merge instead: shards of a dataset, days of a window",
    )


def reading(options: argparse.Namespace, as_text: Collection[str] = ()) -> Reading:
    """How the data arguments say that the rows are read."""
    return Reading(exclude=options.exclude, as_text=as_text, columns=options.columns)


def profile_rows(
    options: argparse.Namespace, as_text: Collection[str] = (), names: Sequence[str] = ()
) -> tuple[StoredProfile, Reservoir]:
    """The profile and a sample of the rows that the data arguments name; they may be of none.

    Args:
        as_text: columns that hold text even where it looks like numbers.
        names: of captured cells that have none, by position; `--columns` goes before.
    """
    if options.capture:
        both = _captured(options, as_text, names)
    else:
        both = read_into(_Both, options.data, replace(reading(options, as_text), dictionaries=True))
    print(f"profiled {options.data}: {both.profile.rows} rows, {len(both.profile.columns)} columns")
    return StoredProfile(files=identity(options.data), profile=both.profile), both.sample


def stored_profile(
    options: argparse.Namespace, as_text: Collection[str] = (), names: Sequence[str] = ()
) -> tuple[StoredProfile, Reservoir | None]:
    """As `profile_rows`; or the profile of the profiles that are named instead, merged, which have no rows."""
    if not options.profiles:
        return profile_rows(options, as_text, names)
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


def _captured(options: argparse.Namespace, as_text: Collection[str], names: Sequence[str]) -> _Both:
    capture = Capture(options.data, parts=CAPTURED[options.capture], names=options.columns or names)
    both = _Both()
    for batch in typed_batches(capture.rows, exclude=options.exclude, as_text=as_text):
        both.add(batch)
    if capture.unreadable:
        said = f"{capture.unreadable.count} of {capture.lines} captured lines cannot be read"
        print(f"{said}: {'; '.join(capture.unreadable.examples)}")
        if not both.profile.rows:
            raise DatasetError(f"{said}, and no other is there; {capture.unreadable.examples[0]}")
    return both


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


def row_count(text: str) -> int:
    """An argument of 1 row or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} rows are none; give 1 or more")
    return value


def level(text: str) -> float:
    """An argument between 0 and 1, such as a confidence: never quite certain."""
    value = share(text)
    if value == 1:
        raise argparse.ArgumentTypeError("nothing is known with a confidence of 1; give a number below it")
    return value
