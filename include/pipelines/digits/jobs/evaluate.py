"""Evaluate a model archive on the held-back test table, with the very server's handlers that will answer for it.

Writes metrics.json (each metric with its confidence interval), confusion_matrix.png and verdict.json.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from millrace.job_exit import InputError, exit_status
from millrace.monitoring.interval import CONFIDENCE
from millrace.monitoring.model_quality import Classified, Codes, classification
from millrace.monitoring.model_quality_file import described
from millrace.profiling.table import read_table
from millrace.serving.server import ModelHandler
from millrace.verdict import Verdict
from pipelines.digits.settings import LABEL, PIXELS

DIGITS = tuple(map(str, range(10)))
CSV = "text/csv"


def model(folder: Path) -> ModelHandler:
    """The model of the one archive under a folder.

    Raises:
        InputError: there is not one archive, or what it holds cannot be served.
    """
    archives = sorted(folder.rglob("*.tar.gz"))
    if len(archives) != 1:
        raise InputError(f"{folder} holds {len(archives)} model archives; it must be one")
    try:
        with tarfile.open(archives[0]) as archive:
            archive.extractall("model", filter="data")
        return ModelHandler(Path("model"), "inference.py")
    except Exception as error:  # the archive's code is somebody's, and whatever it raises at its start is its answer
        raise InputError(f"{archives[0].name} cannot be served: {error}") from error


def predicted(model: ModelHandler, images: pd.DataFrame) -> Codes:
    """The digit that the model sees in each image, shape (n,)."""
    answer, _ = model(images.to_csv(index=False, header=False).encode(), CSV, CSV)
    found: Codes = pd.read_csv(io.BytesIO(answer), header=None)[0].to_numpy(dtype=np.int64)
    return found


def plot_confusion(counts: np.ndarray, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
    image = axes.imshow(counts, cmap="Blues")
    for row, column in np.ndindex(counts.shape):
        if counts[row, column]:
            colour = "white" if counts[row, column] > counts.max() / 2 else "black"
            axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=colour)
    axes.set(
        xticks=range(10), yticks=range(10), xlabel="predicted", ylabel="true",
        title=f"Confusion matrix, {counts.sum():.0f} held-back digits",
    )  # fmt: skip
    figure.colorbar(image, label="images")
    figure.savefig(path, dpi=110)


def labels(frame: pd.DataFrame) -> Codes:
    """The digit that each image really is, shape (n,).

    Raises:
        InputError: a label is missing, or is no digit.
    """
    strange = frame[LABEL][~frame[LABEL].isin(range(10))]
    if len(strange):
        raise InputError(f"{len(strange)} labels are no digits, for example {strange.iloc[0]}; they must be 0 to 9")
    found: Codes = frame[LABEL].to_numpy(dtype=np.int64)
    return found


def evaluate() -> None:
    frame = read_table(Path("input/test"), (*PIXELS, LABEL))
    rows = Classified(
        classes=DIGITS,
        predicted=predicted(model(Path("input/model")), frame[list(PIXELS)]),
        probabilities=None,
        has_label=np.ones(len(frame), dtype=np.bool_),
        actual=labels(frame),
    )
    measures = classification(rows, binary=False)
    output = Path("output/evaluation")
    output.mkdir(parents=True, exist_ok=True)
    metrics = {name: described(found) for name, found in measures.items()}
    (output / "metrics.json").write_text(json.dumps(metrics, indent=2))
    plot_confusion(rows.confusion, output / "confusion_matrix.png")
    found = measures["accuracy"]
    interval = f"{CONFIDENCE:.0%}: {found.lower:.4f} to {found.upper:.4f}"
    summary = f"accuracy {found.value:.4f} ({interval}) on {len(frame)} held-back digits"
    Verdict(
        gate="evaluation", passed=True, summary=summary,
        metrics={name: found.value for name, found in measures.items()} | {"rows": len(frame)},
        artifacts={"confusion_matrix": "confusion_matrix.png", "metrics": "metrics.json"},
    ).write(output)  # fmt: skip
    print(summary, flush=True)


if __name__ == "__main__":
    sys.exit(exit_status(evaluate))
