"""The latest batch: images that no training has seen, clean or really drifted, or the user's own.

Writes `batch/` (named columns, for gates and monitoring) and `features/` (CSV without a header, for batch transform).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from millrace.verdict import Verdict
from pipelines.digits.jobs.data import BadData, read_folder, shipped, split, write
from pipelines.digits.settings import PIXELS

DRIFT_SEED = 11


def drifted(frame: pd.DataFrame) -> pd.DataFrame:
    """The same images as a broken scanner would deliver them: blurred, rotated and inverted, a third each."""
    images = frame[list(PIXELS)].to_numpy(dtype=np.float64).reshape(-1, 8, 8)
    kind = np.random.default_rng(DRIFT_SEED).integers(0, 3, size=len(images))
    changed = np.stack([_damage(image, which) for image, which in zip(images, kind, strict=True)])
    return pd.DataFrame(changed.reshape(-1, 64).astype(np.float32), columns=list(PIXELS))


def _damage(image: Any, which: int) -> Any:
    if which == 0:
        return np.clip(ndimage.gaussian_filter(image, 1.2), 0, 16).round()
    if which == 1:
        return np.clip(ndimage.rotate(image, 90, reshape=False, order=1), 0, 16).round()
    return 16.0 - image


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("clean", "drifted"), default="clean")
    parser.add_argument("--source", type=Path, default=Path("input/source"))
    parser.add_argument("--output", type=Path, default=Path("output"))
    options = parser.parse_args()
    try:
        if options.source.is_dir():
            frame = read_folder(options.source, labelled=False)
        else:
            frame = split(shipped(), 0.6, 0.2, 0.2)[2][list(PIXELS)]
    except BadData as error:
        print(f"ClientError: {error}", file=sys.stderr)
        Path("../output/message").write_text(str(error))
        return 1
    if options.kind == "drifted":
        frame = drifted(frame)
    write(frame, options.output / "batch", "batch")
    (options.output / "features").mkdir(parents=True, exist_ok=True)
    frame.to_csv(options.output / "features" / "batch.csv", index=False, header=False)
    summary = f"{len(frame)} {options.kind} images"
    Verdict(gate="batch", passed=True, summary=summary, metrics={"rows": float(len(frame))}).write(
        options.output / "verdict"
    )
    print(json.dumps({"rows": len(frame), "kind": options.kind}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
