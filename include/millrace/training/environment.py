"""A training job's environment, as a training script sees it: channels, hosts, hyperparameters, output folders.

Reads the files under /opt/ml that SageMaker writes (contract: "How Amazon SageMaker provides training information") and
the SM_* variables of script mode. What it does not do: it starts no process group and touches no data.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path


def base_dir() -> Path:
    """/opt/ml, or the tree of a job that runs without a sandbox."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEnvironment:
    """Where a training job finds and leaves its files."""

    base: Path
    hosts: tuple[str, ...]
    current_host: str

    @classmethod
    def load(cls) -> TrainingEnvironment:
        """The environment of the job this process runs in.

        Raises:
            FileNotFoundError: there is no resourceconfig.json: this is not a training job.
        """
        base = base_dir()
        config = json.loads((base / "input/config/resourceconfig.json").read_text())
        return cls(base=base, hosts=tuple(config["hosts"]), current_host=config["current_host"])

    def channel(self, name: str) -> Path:
        """The folder of an input channel.

        Raises:
            FileNotFoundError: the job has no such channel; the message names those it has.
        """
        folder = self.base / "input/data" / name
        if not folder.is_dir():
            there = sorted(path.name for path in (self.base / "input/data").glob("*"))
            raise FileNotFoundError(f"the job has no channel {name!r}; it has {there}")
        return folder

    @property
    def model_dir(self) -> Path:
        return self.base / "model"

    @property
    def output_dir(self) -> Path:
        return self.base / "output/data"
