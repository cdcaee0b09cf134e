"""Applications as batch transform takes them: CSV without a header line, the id first, then the features in their order."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.lending.jobs.tables import read_folder
from pipelines.lending.settings import FEATURES, ID


def main() -> int:
    frame = read_folder(Path("input/applications"), (ID, *FEATURES))
    folder = Path("output/features")
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "applications.csv", index=False, header=False)
    print(f"wrote {len(frame)} rows", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
