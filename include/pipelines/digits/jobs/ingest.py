"""Ingest: the labelled digits, or the user's own source, as raw, train and test tables."""

from __future__ import annotations

import sys
from pathlib import Path

from millrace.job_exit import exit_status
from millrace.profiling.table import read_table
from pipelines.digits.jobs.data import shipped, split, write
from pipelines.digits.settings import LABEL, PIXELS


def ingest() -> None:
    source = Path("input/source")
    if source.is_dir():
        raw = read_table(source, (*PIXELS, LABEL))
        train, test = split(raw, 0.75, 0.25)
    else:
        raw = shipped()
        # A fifth of the shipped images is held back as what will arrive later: see batch.py.
        train, test, _ = split(raw, 0.6, 0.2, 0.2)
    for name, frame in (("raw", raw), ("train", train), ("test", test)):
        write(frame, Path("output", name), name)


if __name__ == "__main__":
    sys.exit(exit_status(ingest))
