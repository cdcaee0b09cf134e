"""What a night brings: the day's applications as they are delivered, and the labels that have become known.

Writes `applications/` (CSV with a header line, broken on the day of the broken delivery) and `labels/` (Parquet, of loans
of the day before).
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

from pipelines.lending.jobs import world


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--day", type=date.fromisoformat, required=True)
    parser.add_argument("--output", type=Path, default=Path("output"))
    options = parser.parse_args()
    applications, labels = options.output / "applications", options.output / "labels"
    for folder in (applications, labels):
        folder.mkdir(parents=True, exist_ok=True)
    text = world.delivery(options.day)
    (applications / f"{options.day}.csv").write_text(text, encoding="utf-8")
    yesterday = options.day - world.LABEL_DELAY
    known = world.labels(yesterday, yesterday, options.day)
    known.to_parquet(labels / f"{yesterday}.parquet", index=False)
    print(f"delivered {len(text.splitlines()) - 1} applications of {options.day} and {len(known)} labels", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
