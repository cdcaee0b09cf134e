"""A job's tree for the analyzer, outside of a sandbox: its files, its program, and what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from millrace.monitoring import analyzer

SOURCE, OUTPUT, TRUTH = "processing/input/data", "processing/output", "processing/groundtruth"
CSV = json.dumps({"csv": {"header": True, "output_columns_position": "START"}})
CAPTURED = json.dumps({"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}})


def analyze(ml: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the image's program on a job's tree."""
    (ml / "output").mkdir(parents=True, exist_ok=True)
    settings = {"dataset_format": CSV, "dataset_source": f"/opt/ml/{SOURCE}", "output_path": f"/opt/ml/{OUTPUT}"}
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(ml), **settings, **variables}
    program = [sys.executable, "-P", str(analyzer.__file__)]
    return subprocess.run(program, cwd=ml, env=environment, capture_output=True, text=True, check=False)


def message(ml: Path) -> str:
    return (ml / "output/message").read_text()


def written(ml: Path, name: str) -> Any:
    """A file of the job's output; NaN is no JSON."""
    return json.loads((ml / OUTPUT / name).read_text(), parse_constant=_no_constant)


def violated(ml: Path) -> list[str]:
    """The metrics that a job's violations name."""
    return [violation["metric_name"] for violation in written(ml, "constraint_violations.json")["violations"]]


def metrics(ml: Path) -> list[dict[str, Any]]:
    """What a job has left for CloudWatch."""
    lines = (ml / "output/metrics/cloudwatch/cloudwatch_metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def put(ml: Path, path: str, lines: Iterable[str]) -> None:
    """Write a file of lines into the tree."""
    file = ml / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(line if line.endswith("\n") else f"{line}\n" for line in lines))


def truth(event_id: str, data: str, encoding: str = "CSV") -> str:
    """A line of ground truth."""
    return json.dumps(
        {
            "groundTruthData": {"data": data, "encoding": encoding},
            "eventMetadata": {"eventId": event_id},
            "eventVersion": "0",
        }
    )


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
