"""Applications as batch transform takes them: CSV without a header line, the id first, then the features in their order."""

from __future__ import annotations

import sys
from pathlib import Path

from millrace.job_exit import exit_status
from millrace.profiling.table import read_table
from pipelines.lending.settings import FEATURES, ID


def features() -> None:
    frame = read_table(Path("input/applications"), (ID, *FEATURES))
    folder = Path("output/features")
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "applications.csv", index=False, header=False)
    print(f"wrote {len(frame)} rows", flush=True)


if __name__ == "__main__":
    sys.exit(exit_status(features))
