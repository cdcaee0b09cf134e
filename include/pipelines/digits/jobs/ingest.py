"""Ingest: the labelled digits, or the user's own source, as raw, train and test tables."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipelines.digits.jobs.data import BadData, read_folder, shipped, split, write


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=Path("input/source"))
    parser.add_argument("--output", type=Path, default=Path("output"))
    options = parser.parse_args()
    try:
        if options.source.is_dir():
            raw = read_folder(options.source, labelled=True)
            train, test = split(raw, 0.75, 0.25)
        else:
            raw = shipped()
            # A fifth of the shipped images is held back as what will arrive later: see batch.py.
            train, test, _ = split(raw, 0.6, 0.2, 0.2)
    except BadData as error:
        print(f"ClientError: {error}", file=sys.stderr)
        Path("../output/message").write_text(str(error))
        return 1
    for name, frame in (("raw", raw), ("train", train), ("test", test)):
        write(frame, options.output / name, name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
