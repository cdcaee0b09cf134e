"""Profile a dataset, or one host's shard of it, for a later `baseline` or `drift` with `--profiles`.

Each host of a job writes below its own name, so that the shards of a job lie side by side in S3.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from millrace.monitoring.commands.data import add_capture_argument, add_data_arguments, profile_rows
from millrace.profiling.profile_file import write_profile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    add_capture_argument(parser)
    parser.add_argument(
        "--as-text", action="append", default=[], help="a column of codes that look like numbers; repeatable"
    )
    parser.add_argument("--output", type=Path, default=Path("output/profiles"))


def run(options: argparse.Namespace) -> None:
    folder = options.output / _host()
    folder.mkdir(parents=True, exist_ok=True)
    stored, _ = profile_rows(options, as_text=options.as_text)
    print(f"wrote {write_profile(folder, stored)}")


def _host() -> str:
    """This instance's name in the job, as SageMaker gives it; `algo-1` outside of a job."""
    path = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "config" / "resourceconfig.json"
    return str(json.loads(path.read_bytes())["current_host"]) if path.is_file() else "algo-1"
