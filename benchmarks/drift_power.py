"""What drift detectors find: how often a planted change is named, and how often one is named where there is none.

Streams with planted changes (`millrace.monitoring.planted`) are judged window by window by Millrace's drift decision and,
in an environment of their own, by Evidently's and NannyML's defaults, on the same rows. *Power* is the share of windows in
which what has changed is named; *false alarms* are the shares of windows and of columns that are named where nothing has
changed. Each answer is for one window alone: nothing waits for a second one (`drift_delay`).

    python -m benchmarks.drift_power [--windows 500,2000,10000] [--repetitions 40]
    python -m benchmarks.drift_power --quick
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.figures import emit
from benchmarks.peer import HERE, interpreter
from benchmarks.planted_windows import PLANTED, TOGETHER, Baseline, command_line, reference
from millrace.monitoring.planted import Change, Stream

DETECTORS = ("millrace", "evidently", "nannyml")


@dataclass(frozen=True, slots=True)
class Cell:
    """One change at one size of the window, and the columns that each detector named, window by window."""

    kind: str
    size: float
    column: str
    rows: int
    named: dict[str, list[list[str]]]
    columns: int

    def power(self, detector: str) -> float:
        """The share of windows in which what had changed was named."""
        return float(np.mean([self.column in names for names in self.named[detector]]))

    def alarms(self, detector: str) -> tuple[float, float]:
        """The shares of windows with any name, and of columns that were named."""
        names = self.named[detector]
        return float(np.mean([bool(n) for n in names])), sum(map(len, names)) / (len(names) * self.columns)


def millrace(reference: pa.Table, windows: Sequence[pa.Table]) -> list[list[str]]:
    """What the drift gate names: columns that drifted or have fewer values than the baseline, and all of them together."""
    baseline = Baseline.of(reference)
    found = []
    for window in windows:
        result = baseline.judge(window)
        names = {violation.feature_name for violation in result.violations}
        apart = result.together is not None and result.together.drifted()
        found.append(sorted(names | ({TOGETHER} if apart else set())))
    return found


def peers(reference: pa.Table, windows: Sequence[pa.Table]) -> dict[str, list[list[str]]]:
    with tempfile.TemporaryDirectory(prefix="millrace-drift-") as name:
        folder = Path(name)
        pq.write_table(reference, folder / "reference.parquet")
        numbered = [w.append_column("window", pa.array([index] * w.num_rows)) for index, w in enumerate(windows)]
        pq.write_table(pa.concat_tables(numbered), folder / "windows.parquet")
        done = subprocess.run(
            [str(interpreter("monitoring")), str(HERE / "peers/drift_detectors.py"), str(folder)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    found: dict[str, list[list[str]]] = json.loads(done.stdout.splitlines()[-1])
    return found


def cells(rows: int, repetitions: int) -> Iterator[Cell]:
    """All changes at one size of the window. The peers start once, since their import takes seconds."""
    known = reference(rows)
    windows = [
        Stream(1 + repetition, Change(kind=kind, size=size)).day(1, rows)
        for kind, size, _ in PLANTED
        for repetition in range(repetitions)
    ]
    named = {"millrace": millrace(known, windows), **peers(known, windows)}
    for index, (kind, size, column) in enumerate(PLANTED):
        mine = slice(index * repetitions, (index + 1) * repetitions)
        yield Cell(kind, size, column, rows, {name: named[name][mine] for name in DETECTORS}, known.num_columns)


def show(cell: Cell) -> None:
    if cell.column:
        shares = " | ".join(f"{cell.power(name):.0%}" for name in DETECTORS)
        print(f"| {cell.kind} {cell.size:g} | {cell.column} | {cell.rows:,} | {shares} |", flush=True)
        return
    shares = " | ".join("{:.0%} of windows, {:.1%} of columns".format(*cell.alarms(name)) for name in DETECTORS)
    print(f"| {cell.kind} {cell.size:g} | any | {cell.rows:,} | {shares} |", flush=True)


def main() -> None:
    sizes, repetitions = command_line(__doc__, windows="500,2000,10000", repetitions=40)
    print("| planted | to be named | rows | " + " | ".join(DETECTORS) + " |")
    print("|---" * (3 + len(DETECTORS)) + "|")
    results: dict[str, Any] = {}
    for rows in sizes:
        for cell in cells(rows, repetitions):
            show(cell)
            for name in DETECTORS:
                value = cell.power(name) if cell.column else cell.alarms(name)
                results[f"{cell.kind} {cell.size:g}, {rows} rows, {name}"] = value
    emit("drift_power", results)


if __name__ == "__main__":
    main()
