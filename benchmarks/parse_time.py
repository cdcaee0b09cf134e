"""How long a DAG file takes to parse, over a bare `import airflow.sdk`.

Every sample is a fresh interpreter, as Airflow's dag-processor forks one for every file: it imports `airflow.sdk`, then
runs the file, and the time of the second part is the figure. Files take turns, so that a busy moment of the machine meets
all of them; CPU time, printed beside it, hardly feels one. The floor is the least DAG there is; the peer is a pipeline of
the same shape with the amazon provider's operators.

    python -m benchmarks.parse_time [--samples 15] [--profile dags/digits_training.py]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.figures import Figure, emit, ratio, verdict

PROJECT = Path(__file__).parents[1]
FLOOR = PROJECT / "benchmarks/peers/dags/empty.py"
PEER = PROJECT / "benchmarks/peers/dags/provider_training.py"
TARGET_MS = 50.0
PARSE = """
import runpy, sys, time
import airflow.sdk
wall, cpu = time.perf_counter(), time.process_time()
runpy.run_path(sys.argv[1], run_name="parsed")
print((time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000)
"""
PROFILE = """
import cProfile, pstats, runpy, sys
import airflow.sdk
profile = cProfile.Profile()
profile.runcall(runpy.run_path, sys.argv[1], run_name="parsed")
pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
"""


def interpreter(code: str, path: Path, home: Path) -> str:
    """What a fresh interpreter prints; Airflow's own settings of this shell do not reach it."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "AIRFLOW_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, env=environment, cwd=PROJECT
    )
    if done.returncode != 0:
        raise SystemExit(f"{path} does not parse:\n{done.stderr}")
    return done.stdout


def measure(files: list[Path], samples: int, home: Path) -> dict[Path, tuple[Figure, Figure]]:
    """Wall and CPU time of each file."""
    for path in files:  # bytecode, and Airflow's configuration file
        interpreter(PARSE, path, home)
    taken: dict[Path, list[list[float]]] = {path: [] for path in files}
    for _ in range(samples):
        for path in files:
            printed = interpreter(PARSE, path, home).splitlines()[-1]
            taken[path].append([float(number) for number in printed.split()])
    return {
        path: (Figure.of([wall for wall, _ in rows], "ms"), Figure.of([cpu for _, cpu in rows], "ms"))
        for path, rows in taken.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=15)
    parser.add_argument("--profile", type=Path, help="show where one file's time goes, instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        if options.profile:
            print(interpreter(PROFILE, options.profile.resolve(), Path(home)))
            return
        dags = sorted((PROJECT / "dags").glob("*.py"))
        figures = measure([FLOOR, *dags, PEER], options.samples, Path(home))
    print(f"extra over `import airflow.sdk`; target for Millrace's files: at most {TARGET_MS:.0f} ms")
    for path, (wall, cpu) in figures.items():
        role = {FLOOR: "floor: ", PEER: "peer: "}.get(path, "")
        held = f"; {verdict(wall.median, TARGET_MS)}" if path in dags else ""
        print(f"  {role + path.stem:28} {wall}; CPU {cpu}{held}")
    for path in dags:
        wall = figures[path][0]
        print(f"  {path.stem} / peer: {ratio(wall, figures[PEER][0])}; / floor: {ratio(wall, figures[FLOOR][0])}")
    emit("parse_time", {path.stem: {"wall": w.to_json(), "cpu": c.to_json()} for path, (w, c) in figures.items()})


if __name__ == "__main__":
    main()
