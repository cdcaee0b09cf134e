"""What a drift check costs: CPU seconds and peak memory, beside the bare Parquet read, Evidently and NannyML.

Twenty columns (12 of normal numbers, 4 of whole numbers, 4 of 50 categories), a reference and a current table of as many
rows. Each way is a fresh process, started anew for each sample, in turn, start-up included (`processes`). Millrace is two
processes, `baseline` and `drift`, which a user runs as two jobs: their CPU time is added up, of their memory the larger
counts. The peers run with their defaults, in an environment of their own.

Then, without peers: Millrace's memory at 1 and 10 million rows (`--flat 1,10,100` if there is room and time), and the time
to merge 1,000 stored profiles of 2,000 rows.

    python -m benchmarks.drift_cost [--rows 1000000] [--samples 3] [--flat 1,10]
    python -m benchmarks.drift_cost --rows 200000 --samples 1 --flat "" --profiles 100     # a smoke run
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.figures import Figure, emit, ratio, verdict
from benchmarks.peer import HERE, interpreter
from benchmarks.processes import Taken, measured
from millrace.profiling.dataset import PARQUET_BATCH_ROWS, read_into
from millrace.profiling.profile import DatasetProfile
from millrace.profiling.profile_file import StoredProfile, identity, read_profile, write_profile

GROUP_ROWS = 500_000
READ = (
    "import sys, pyarrow.parquet as pq\n"
    "for side in ('reference', 'current'):\n"
    f"    with pq.ParquetFile(f'{{sys.argv[1]}}/{{side}}/rows.parquet', pre_buffer=False) as file:\n"
    f"        for batch in file.iter_batches({PARQUET_BATCH_ROWS}): pass\n"
)
READ_TARGET, EVIDENTLY_TARGET, NANNYML_TARGET = 3.5, 20, 5
MEMORY_TARGET, FLAT_TARGET, MERGE_TARGET_SECONDS = 0.2, 1.2, 1.0


def write_table(path: Path, rows: int, seed: int) -> None:
    """A table of the stated columns, a row group at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    words = np.array([f"category {number}" for number in range(50)])
    dice = np.random.default_rng(seed)
    writer = None
    for start in range(0, rows, GROUP_ROWS):
        count = min(GROUP_ROWS, rows - start)
        columns: dict[str, Any] = {f"number_{n}": dice.normal(size=count) for n in range(12)}
        columns |= {f"whole_{n}": dice.integers(0, 1000 * (n + 1), count) for n in range(4)}
        columns |= {f"word_{n}": words[dice.integers(0, 50, count)] for n in range(4)}
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def millrace(folder: Path) -> Taken:
    """Both jobs: times added up, the larger memory."""
    monitoring = (sys.executable, "-m", "millrace.monitoring")
    shutil.rmtree(folder / "baseline", ignore_errors=True)
    made = measured([*monitoring, "baseline", "--data", "reference", "--output", "baseline"], folder)
    held = measured([*monitoring, "drift", "--data", "current", "--baseline", "baseline", "--output", "report"], folder)
    return Taken(made.wall + held.wall, made.cpu + held.cpu, max(made.memory, held.memory), held.said)


def compare(folder: Path, rows: int, samples: int, peers: bool) -> dict[str, dict[str, Figure]]:
    """CPU and memory of every way, in turn."""
    for seed, side in enumerate(("reference", "current")):
        write_table(folder / side / "rows.parquet", rows, seed)
    taken: dict[str, list[Taken]] = {}
    for _ in range(samples):
        taken.setdefault("Parquet read", []).append(measured([sys.executable, "-c", READ, folder], folder))
        taken.setdefault("Millrace", []).append(millrace(folder))
        for peer in ("nannyml", "evidently") if peers else ():
            script = HERE / "peers/drift_cost.py"
            taken.setdefault(peer, []).append(measured([interpreter("monitoring"), script, peer, folder], folder))
    return {
        way: {
            "cpu": Figure.of([one.cpu for one in found], "s"),
            "memory": Figure.of([one.memory for one in found], "MiB"),
        }
        for way, found in taken.items()
    }


def show(rows: int, figures: Mapping[str, Mapping[str, Figure]]) -> None:
    print(f"a drift check of {rows:,} rows x 20 columns against as many: CPU seconds and peak MiB, start-up included")
    for way, found in figures.items():
        print(f"  {way:14} {found['cpu']}   {found['memory']}")
    ours, read = figures["Millrace"], figures["Parquet read"]
    over = ours["cpu"].median / read["cpu"].median
    print(f"  CPU over the bare read: {ratio(ours['cpu'], read['cpu'])}; {verdict(over, READ_TARGET)}")
    for peer, target in (("evidently", EVIDENTLY_TARGET), ("nannyml", NANNYML_TARGET)):
        if peer in figures:
            cpu = ours["cpu"].median / figures[peer]["cpu"].median
            memory = ours["memory"].median / figures[peer]["memory"].median
            print(f"  CPU of {peer}'s: {ratio(ours['cpu'], figures[peer]['cpu'])}; {verdict(cpu, 1 / target)}")
            print(
                f"  memory of {peer}'s: {memory:.2f}" + (f"; {verdict(memory, MEMORY_TARGET)}" if target == 20 else "")
            )


def flat(folder: Path, millions: Sequence[int]) -> dict[int, Taken]:
    """CPU and memory of a baseline at several sizes."""
    found = {}
    for size in millions:
        write_table(folder / "flat/rows.parquet", size * 1_000_000, size)
        found[size] = measured(
            [sys.executable, "-m", "millrace.monitoring", "baseline", "--data", "flat", "--output", "flat-baseline"],
            folder,
        )
        print(f"  a profile of {size} million rows: {found[size].cpu:.1f} CPU s, {found[size].memory:.0f} MiB")
    if len(found) > 1:
        first, last = found[min(found)].memory, found[max(found)].memory
        print(f"  memory at {max(found)} million rows over {min(found)} million: {verdict(last / first, FLAT_TARGET)}")
    return found


def merging(folder: Path, count: int) -> tuple[float, float]:
    """Seconds to read and to merge `count` stored profiles."""
    paths = []
    for number in range(count):
        day = folder / "days" / str(number)
        write_table(day / "rows.parquet", 2000, number)
        stored = StoredProfile(files=identity(day), profile=read_into(DatasetProfile, day))
        paths.append(write_profile(day, stored))
    started = time.perf_counter()
    profiles = [read_profile(path) for path in paths]
    read = time.perf_counter() - started
    whole = DatasetProfile()
    started = time.perf_counter()
    for stored in profiles:
        whole.merge(stored.profile)
    merged = time.perf_counter() - started
    assert whole.rows == 2000 * count
    print(f"  {count} profiles of 2,000 rows x 20 columns: read in {read:.2f} s, merged in {merged:.2f} s; "
          f"{verdict(merged, MERGE_TARGET_SECONDS)}")  # fmt: skip
    return read, merged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--no-peers", action="store_true", help="where they would take hours")
    parser.add_argument("--flat", default="1,10", help="million rows, separated by commas")
    parser.add_argument("--profiles", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-drift-") as name:
        folder = Path(name)
        figures = compare(folder, options.rows, options.samples, peers=not options.no_peers)
        show(options.rows, figures)
        sizes = flat(folder, [int(size) for size in options.flat.split(",") if size])
        read, merged = merging(folder, options.profiles)
    results = {way: {name: figure.median for name, figure in found.items()} for way, found in figures.items()}
    emit(
        "drift_cost",
        {
            "rows": options.rows,
            **results,
            "flat": {size: one[:3] for size, one in sizes.items()},
            "read_profiles": read,
            "merge": merged,
        },
    )


if __name__ == "__main__":
    main()
