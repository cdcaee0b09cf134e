"""The latest batch: images that no training has seen, clean or really drifted, or the user's own.

Writes `batch/` (named columns, for gates and monitoring) and `features/` (CSV without a header, for batch transform).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from millrace.job_exit import exit_status
from millrace.profiling.table import read_table
from millrace.verdict import Verdict
from pipelines.digits.jobs.data import shipped, split, write
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


def batch(kind: str) -> None:
    source = Path("input/source")
    frame = read_table(source, PIXELS) if source.is_dir() else split(shipped(), 0.6, 0.2, 0.2)[2][list(PIXELS)]
    if kind == "drifted":
        frame = drifted(frame)
    write(frame, Path("output/batch"), "batch")
    features = Path("output/features")
    features.mkdir(parents=True, exist_ok=True)
    frame.to_csv(features / "batch.csv", index=False, header=False)
    summary = f"{len(frame)} {kind} images"
    Verdict(gate="batch", passed=True, summary=summary, metrics={"rows": len(frame)}).write(Path("output/verdict"))
    print(summary, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("clean", "drifted"), default="clean")
    options = parser.parse_args()
    return exit_status(lambda: batch(options.kind))


if __name__ == "__main__":
    sys.exit(main())
