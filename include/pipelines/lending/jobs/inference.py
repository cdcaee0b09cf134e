"""The handlers of batch transform: CSV lines of id and features in, one default probability a line out."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.lending.jobs.scorecard import Floats, Scorecard
from pipelines.lending.settings import FEATURES

CSV = "text/csv"


class UnsupportedContentType(ValueError):
    """Not CSV."""


def model_fn(model_dir: str) -> Scorecard:
    return Scorecard.read(Path(model_dir))


def input_fn(body: bytes, content_type: str) -> npt.NDArray[np.object_]:
    """Features, shape (n, features); the id before them is left out.

    Raises:
        UnsupportedContentType: it is not CSV.
        ValueError: a line has another number of cells.
    """
    if content_type.partition(";")[0].strip() != CSV:
        raise UnsupportedContentType(f"Content-Type {content_type!r} is not served; send {CSV}")
    lines = [line for line in csv.reader(io.StringIO(body.decode())) if line]
    for number, line in enumerate(lines, start=1):
        if len(line) != 1 + len(FEATURES):
            raise ValueError(f"line {number} has {len(line)} cells; an application has its id and {len(FEATURES)}")
    return np.array([line[1:] for line in lines], dtype=object).reshape(-1, len(FEATURES))


def predict_fn(rows: npt.NDArray[np.object_], model: Scorecard) -> Floats:
    return model.probabilities(rows)


def output_fn(probabilities: Floats, _accept: str) -> str:
    return "".join(f"{probability:.6f}\n" for probability in probabilities)
