"""Evaluate a model archive on the held-back test table, with the very handlers that will serve it.

Writes metrics.json (accuracy and macro scores), confusion_matrix.png and verdict.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from millrace.verdict import Verdict
from pipelines.digits.jobs.data import BadData, read_folder
from pipelines.digits.settings import LABEL, PIXELS


def handlers(model_dir: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("inference", model_dir / "code/inference.py")
    if spec is None or spec.loader is None or not (model_dir / "code/inference.py").exists():
        raise BadData("the model archive has no code/inference.py; it cannot be served")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scores(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    precision, recall, f1, _ = precision_recall_fscore_support(truth, predicted, average="macro", zero_division=0)
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "precision_macro": float(precision),
        "recall_macro": float(recall),
        "f1_macro": float(f1),
        "rows": float(len(truth)),
    }


def plot_confusion(truth: np.ndarray, predicted: np.ndarray, path: Path) -> None:
    counts = confusion_matrix(truth, predicted, labels=list(range(10)))
    figure, axes = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
    image = axes.imshow(counts, cmap="Blues")
    for row, column in np.ndindex(counts.shape):
        if counts[row, column]:
            colour = "white" if counts[row, column] > counts.max() / 2 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
    axes.set(
        xticks=range(10), yticks=range(10), xlabel="predicted", ylabel="true",
        title=f"Confusion matrix, {len(truth)} held-back digits",
    )  # fmt: skip
    figure.colorbar(image, label="images")
    figure.savefig(path, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("input/model"))
    parser.add_argument("--data", type=Path, default=Path("input/test"))
    parser.add_argument("--output", type=Path, default=Path("output/evaluation"))
    options = parser.parse_args()
    unpacked = Path("model")
    try:
        archives = sorted(options.model.rglob("*.tar.gz"))
        if len(archives) != 1:
            raise BadData(f"there must be one model archive, and there are {len(archives)}")
        with tarfile.open(archives[0]) as archive:
            archive.extractall(unpacked, filter="data")
        module = handlers(unpacked)
        frame = read_folder(options.data, labelled=True)
    except (BadData, tarfile.TarError) as error:
        print(f"ClientError: {error}", file=sys.stderr)
        Path("../output/message").write_text(str(error))
        return 1
    pixels = torch.tensor(frame[list(PIXELS)].to_numpy(dtype="float32"))
    predicted = module.predict_fn(pixels, module.model_fn(str(unpacked)))[:, 0].numpy().astype(int)
    truth = frame[LABEL].to_numpy(dtype=int)
    metrics = scores(truth, predicted)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "metrics.json").write_text(json.dumps(metrics, indent=2))
    plot_confusion(truth, predicted, options.output / "confusion_matrix.png")
    summary = f"accuracy {metrics['accuracy']:.4f} on {len(frame)} held-back digits"
    Verdict(
        gate="evaluation", passed=True, summary=summary, metrics=metrics,
        artifacts={"confusion_matrix": "confusion_matrix.png", "metrics": "metrics.json"},
    ).write(options.output)  # fmt: skip
    print(summary, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
