"""Captured inferences for tests, as SageMaker writes them."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any


def part(mode: str, data: str, encoding: str, content_type: str = "text/csv") -> dict[str, Any]:
    written = base64.b64encode(data.encode()).decode() if encoding == "BASE64" else data
    return {"observedContentType": content_type, "mode": mode, "data": written, "encoding": encoding}


def line(
    given: str, answered: str, *, time: str = "2026-01-31T15:20:00Z", encoding: str = "CSV",
    content_type: str = "text/csv", inference_id: str | None = None,
) -> str:  # fmt: skip
    """One line, whose input and output are encoded alike."""
    metadata = {"eventId": str(uuid.uuid4()), "inferenceTime": time}
    if inference_id is not None:
        metadata["inferenceId"] = inference_id
    data = {
        "endpointInput": part("INPUT", given, encoding, content_type),
        "endpointOutput": part("OUTPUT", answered, encoding, content_type),
    }
    return json.dumps({"captureData": data, "eventMetadata": metadata, "eventVersion": "0"}) + "\n"
