"""What a quality gate costs: seconds and peak memory of 20 checks on 12 columns, beside Great Expectations and others.

Each way is a fresh process, start-up and import included, in turn: the bare Parquet read (floor), DuckDB in one query (the
checks' floor), pandera on Polars, Great Expectations on pandas, and Millrace's gate as a job runs it, with its page. One
check of each kind fails, so that all have something to say. Great Expectations' verdicts are compared with ours,
expectation by expectation.

    python -m benchmarks.gate_cost [--rows 1000000] [--samples 3]
    python -m benchmarks.gate_cost --no-peers    # beside the read alone, 10 s
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.figures import Figure, emit, ratio, verdict
from benchmarks.peer import HERE, interpreter
from benchmarks.processes import Taken, measured

GX_TARGET, MEMORY_TARGET, READ_TARGET = 0.1, 0.5, 4.0
WORDS = ("red", "green", "blue")
GREAT_EXPECTATIONS = "Great Expectations"


def suite() -> dict[str, Any]:
    """Twenty checks; those of the columns named `bad` fail."""

    def expect(what: str, **kwargs: Any) -> dict[str, Any]:
        return {"type": f"expect_{what}", "kwargs": kwargs, "meta": {}, "severity": "critical"}

    return {
        "name": "benchmark",
        "expectations": [
            expect("table_row_count_to_be_between", min_value=1000),
            *(expect("column_values_to_not_be_null", column=f"number_{n}") for n in range(5)),
            expect("column_values_to_not_be_null", column="bad_number"),
            *(expect("column_values_to_be_between", column=f"number_{n}", min_value=-9, max_value=9) for n in range(5)),
            expect("column_values_to_be_between", column="bad_number", min_value=-1, max_value=1),
            *(expect("column_values_to_be_in_set", column=f"word_{n}", value_set=list(WORDS)) for n in range(2)),
            expect("column_values_to_be_in_set", column="bad_word", value_set=list(WORDS[:2])),
            expect("column_values_to_match_regex", column="word_0", regex="^[a-z]+$"),
            expect("column_values_to_match_regex", column="bad_word", regex="^[a-d]+"),
            expect("column_mean_to_be_between", column="number_0", min_value=-1, max_value=1),
            expect("column_mean_to_be_between", column="number_1", min_value=5, max_value=6),
        ],
    }


def write_rows(path: Path, rows: int) -> None:
    dice = np.random.default_rng(1)
    words = np.array(WORDS)
    columns: dict[str, Any] = {f"number_{n}": dice.normal(size=rows) for n in range(8)}
    columns |= {"bad_number": pa.array(dice.normal(size=rows), mask=dice.random(rows) < 0.01)}
    columns |= {name: words[dice.integers(0, 3, rows)] for name in ("word_0", "word_1", "bad_word")}
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table(columns), path)


def ways_of(folder: Path, data: Path, peers: bool) -> dict[str, Sequence[str | Path]]:
    """The command of every way, by its name."""
    script, suite_file = HERE / "peers/gates.py", folder / "gates_benchmark/suite.json"
    gate = ["-m", "millrace.quality", "--suite", "gates_benchmark/suite.json", "--gate", "it"]
    ways: dict[str, Sequence[str | Path]] = {
        "Parquet read": [sys.executable, script, "read", data, suite_file],
        "Millrace": [sys.executable, *gate],
    }
    if peers:
        theirs = interpreter("gates")
        ways |= {
            "DuckDB": [theirs, script, "duckdb", data, suite_file],
            "pandera on Polars": [theirs, script, "pandera", data, suite_file],
            GREAT_EXPECTATIONS: [sys.executable, script, "great_expectations", data, suite_file],
        }
    return ways


def failed_by_us(folder: Path) -> list[str]:
    document = json.loads((folder / "output/quality/validation.json").read_text())
    return sorted(one["expectation_config"]["type"] for one in document["results"] if not one["success"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--no-peers", action="store_true", help="leaves out all but the read")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-gate-") as name:
        folder = Path(name)
        data = folder / "input/data/rows.parquet"
        write_rows(data, options.rows)
        written = folder / "gates_benchmark"
        written.mkdir()
        (written / "__init__.py").touch()
        (written / "suite.json").write_text(json.dumps(suite()))
        # Where else Millrace is imported from stays on the path: the code that is measured is the caller's.
        path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        ways = ways_of(folder, data, peers=not options.no_peers)
        taken: dict[str, list[Taken]] = {}
        for _ in range(options.samples):
            for way, command in ways.items():
                taken.setdefault(way, []).append(measured(command, folder, {"PYTHONPATH": path}))
        agree = None
        if GREAT_EXPECTATIONS in taken:
            agree = sorted(json.loads(taken[GREAT_EXPECTATIONS][-1].said.splitlines()[-1])) == failed_by_us(folder)
    show(options.rows, taken, agree)


def show(rows: int, taken: Mapping[str, Sequence[Taken]], agree: bool | None) -> None:
    figures = {
        way: {
            "wall": Figure.of([one.wall for one in found], "s"),
            "cpu": Figure.of([one.cpu for one in found], "s"),
            "memory": Figure.of([one.memory for one in found], "MiB"),
        }
        for way, found in taken.items()
    }
    print(f"20 checks of {rows:,} rows x 12 columns, start-up included: wall and CPU seconds, peak MiB")
    for way, found in figures.items():
        print(f"  {way:20} {found['wall']}   {found['cpu']}   {found['memory']}")
    ours = figures["Millrace"]
    for way, figure, target in (
        (GREAT_EXPECTATIONS, "wall", GX_TARGET), (GREAT_EXPECTATIONS, "memory", MEMORY_TARGET),
        ("Parquet read", "wall", READ_TARGET),
    ):  # fmt: skip
        if way not in figures:
            continue
        theirs = figures[way][figure]
        value = ours[figure].median / theirs.median
        print(f"  {figure} over {way}'s: {ratio(ours[figure], theirs)}; {verdict(value, target)}")
    if agree is not None:
        print(f"  the same expectations fail in Great Expectations: {'yes' if agree else 'NO'}")
    emit("gate_cost", {"rows": rows, "agree": agree} | {
        way: {name: figure.median for name, figure in found.items()} for way, found in figures.items()
    })  # fmt: skip


if __name__ == "__main__":
    main()
