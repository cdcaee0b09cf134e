"""The handlers that serve the network, in an endpoint and in batch transform alike.

Takes text/csv (64 pixels a line) or application/json ({"instances": [[...64...], ...]}); answers in the same kind:
`label,confidence` a line, or {"predictions": [{"label": ..., "confidence": ...}]}.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from pipelines.digits.jobs.network import DigitsNet

CSV, JSON = "text/csv", "application/json"


class UnsupportedContentType(ValueError):
    """Neither CSV nor JSON."""


def model_fn(model_dir: str) -> DigitsNet:
    torch.set_num_threads(1)
    model = DigitsNet()
    model.load_state_dict(torch.load(Path(model_dir) / "model.pt", weights_only=True))
    return model.eval()


def input_fn(body: bytes, content_type: str) -> torch.Tensor:
    """Pixels of shape (n, 64).

    Raises:
        UnsupportedContentType: neither CSV nor JSON.
        ValueError: a row has not 64 numbers.
    """
    kind = content_type.partition(";")[0].strip()
    if kind == CSV:
        rows = [[float(value) for value in line.split(",")] for line in body.decode().splitlines() if line.strip()]
    elif kind == JSON:
        rows = json.loads(body)["instances"]
    else:
        raise UnsupportedContentType(f"Content-Type {content_type!r} is not served; send {CSV} or {JSON}")
    for number, row in enumerate(rows, start=1):
        if len(row) != 64:
            raise ValueError(f"row {number} has {len(row)} values; an image has 64")
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 64)


def predict_fn(pixels: torch.Tensor, model: DigitsNet) -> torch.Tensor:
    """Label and confidence, shape (n, 2)."""
    with torch.inference_mode():
        probabilities = torch.softmax(model(pixels), dim=1)
    confidence, label = probabilities.max(dim=1)
    return torch.stack([label.float(), confidence], dim=1)


def output_fn(predictions: torch.Tensor, accept: str) -> str:
    rows = [(int(label), round(confidence, 6)) for label, confidence in predictions.tolist()]
    if accept.partition(";")[0].strip() == CSV:
        return "".join(f"{label},{confidence}\n" for label, confidence in rows)
    return json.dumps({"predictions": [{"label": label, "confidence": confidence} for label, confidence in rows]})
