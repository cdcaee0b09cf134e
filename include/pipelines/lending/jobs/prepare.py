"""The labelled rows of a training: those of the windows that have drifted, or, without windows, the bank's past.

Of a window's applications those are taken whose labels are known by then. Writes `train/` (70 %) and `test/` (30 %), split
by a hash of the id, so that a row falls into the same part in every training.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from datetime import date, timedelta
from pathlib import Path

import pandas as pd

from millrace.job_exit import InputError, exit_status
from millrace.profiling.table import read_table
from pipelines.lending.jobs import world
from pipelines.lending.settings import FEATURES, FIRST_DAY, ID, LABEL

TESTED = 0.3


def labelled(windows: list[Path], known_on: date) -> pd.DataFrame:
    """
    Raises:
        InputError: no row of the windows has a label yet.
    """
    if not windows:
        past = [FIRST_DAY - timedelta(days=number) for number in range(world.PAST_DAYS, 0, -1)]
        return pd.concat([world.day(when) for when in past], ignore_index=True)
    applications = pd.concat([read_table(window, (ID, *FEATURES)) for window in windows], ignore_index=True)
    days = applications[ID].map(world.applied_on)
    frame = applications.merge(world.labels(days.min(), days.max(), known_on), on=ID)
    if frame.empty:
        raise InputError(f"of {len(applications)} applications none has a label on {known_on}; wait for the next night")
    return frame


def is_tested(application: str) -> bool:
    return int.from_bytes(hashlib.sha256(application.encode()).digest()[:4], "big") < TESTED * 2**32


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--day", type=date.fromisoformat, required=True, help="when the labels have to be known")
    options = parser.parse_args()

    def prepare() -> None:
        windows = sorted(path for path in Path("input").glob("window_*") if path.is_dir())
        frame = labelled(windows, options.day)[[ID, *FEATURES, LABEL]]
        tested = frame[ID].map(is_tested)
        for name, part in (("train", frame[~tested]), ("test", frame[tested])):
            folder = Path("output", name)
            folder.mkdir(parents=True, exist_ok=True)
            part.to_parquet(folder / "loans.parquet", index=False)
            print(f"{name}: {len(part)} loans, {part[LABEL].mean():.1%} defaulted", flush=True)

    return exit_status(prepare)


if __name__ == "__main__":
    sys.exit(main())
