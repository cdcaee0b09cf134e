"""What Model Monitor's container can be told to do: one analysis a module, with `run(contract)`.

An analysis reads what its contract names, writes Model Monitor's files and the metrics for CloudWatch, and ends with its
ExitMessage. Only the one that is asked for is imported: together they take seconds. How things are measured and judged is
not here: each analysis shares that with the command of its name.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Protocol, cast

from millrace.monitoring.container_contract import Contract

MODULES: Mapping[str, str] = {
    "DATA_QUALITY": "data_quality",
    "MODEL_QUALITY": "model_quality",
    "MODEL_BIAS": "bias",
    "MODEL_EXPLAINABILITY": "explainability",
}
"""By `analysis_type`. The keys are `container_contract.ANALYSES`."""


class Analysis(Protocol):
    """A module of this package."""

    def run(self, contract: Contract) -> None: ...


def load(analysis: str) -> Analysis:
    """The analysis of a contract."""
    return cast(Analysis, importlib.import_module(f"{__name__}.{MODULES[analysis]}"))
