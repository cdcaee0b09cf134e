"""The drift gate as it comes, held to windows of the streams with planted changes: what the tables of its power share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from millrace.monitoring.drift import DriftResult, decide
from millrace.monitoring.multivariate import Reconstruction, fit_reconstruction, reconstruction_shift
from millrace.monitoring.planted import NO_CHANGE, Stream
from millrace.monitoring.sample import Reservoir
from millrace.profiling.constraints_file import suggest
from millrace.profiling.profile import DatasetProfile
from millrace.profiling.summary import DatasetSummary

REFERENCE_WINDOWS = 10
"""The reference is as long as so many windows, from days on which nothing has changed."""
TOGETHER = "columns together"
PLANTED: Sequence[tuple[str, float, str]] = (
    (NO_CHANGE, 0.0, ""),
    ("mean", 0.1, "score"),
    ("mean", 0.3, "score"),
    ("mean", 0.5, "score"),
    ("variance", 1.25, "score"),
    ("variance", 1.5, "score"),
    ("shape", 0.7, "score"),
    ("shape", 0.9, "score"),
    ("missing", 0.02, "income"),
    ("missing", 0.1, "income"),
    ("category", 0.05, "region"),
    ("category", 0.15, "region"),
    ("correlation", 0.3, TOGETHER),
    ("correlation", 0.6, TOGETHER),
    ("label", 0.1, "repaid"),
    ("label", 0.3, "repaid"),
)
"""Kind, size, and what is to be named: a column, or, where no column's own distribution changes, all of them together."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the `baseline` command keeps of a reference."""

    summary: DatasetSummary
    fit: Reconstruction

    @classmethod
    def of(cls, reference: pa.Table) -> Baseline:
        sample = Reservoir()
        for batch in reference.to_batches():
            sample.add(batch)
        return cls(summary(reference), fit_reconstruction(sample.rows()))

    def judge(self, window: pa.Table) -> DriftResult:
        """What the `drift` command decides."""
        found = decide(self.summary, summary(window), suggest(self.summary))
        return replace(found, together=reconstruction_shift(self.fit, window))


def reference(rows: int) -> pa.Table:
    """The unchanged days of the stream 0 that windows of so many rows are held against."""
    return Stream(0).day(0, REFERENCE_WINDOWS * rows)


def command_line(description: str | None, *, windows: str, repetitions: int) -> tuple[list[int], int]:
    """The rows of each size of window, and how often each change is planted.

    Args:
        windows, repetitions: unless said otherwise.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", default=windows, help="rows of a window, with commas")
    parser.add_argument("--repetitions", type=int, default=repetitions, help="windows or streams for each change")
    parser.add_argument("--quick", action="store_true", help="does it run at all: figures of no worth")
    options = parser.parse_args()
    return ([500], 2) if options.quick else ([int(rows) for rows in options.windows.split(",")], options.repetitions)


def summary(table: pa.Table) -> DatasetSummary:
    profile = DatasetProfile()
    for batch in table.to_batches():
        profile.add(batch)
    return profile.summary()
