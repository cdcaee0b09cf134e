"""A measured figure: samples taken in one run, shown as their median and spread, compared as ratios of medians.

A single timing says more about the machine than about the code; a ratio carries over. What it does not do: it takes no
measurements.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """Samples of one quantity.

    Raises:
        ValueError: there is no sample.
    """

    samples: tuple[float, ...]
    unit: str

    def __post_init__(self) -> None:
        if not self.samples:
            raise ValueError(f"a figure in {self.unit} has no sample: whatever should have taken it did not run")

    @classmethod
    def of(cls, samples: Sequence[float], unit: str) -> Figure:
        return cls(tuple(float(sample) for sample in samples), unit)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def spread(self) -> tuple[float, float]:
        return min(self.samples), max(self.samples)

    def __str__(self) -> str:
        low, high = self.spread
        if len(self.samples) == 1:
            return f"{rounded(self.median)} {self.unit}"
        return f"{rounded(self.median)} {self.unit} [{rounded(low)} .. {rounded(high)}], n={len(self.samples)}"

    def to_json(self) -> dict[str, Any]:
        low, high = self.spread
        return {"median": self.median, "min": low, "max": high, "n": len(self.samples), "unit": self.unit}


def ratio(of: Figure, to: Figure) -> str:
    """How the medians compare; a denominator of nothing has no ratio."""
    if to.median <= 0:
        return "no ratio (nothing to compare with)"
    return f"{rounded(of.median / to.median)}x"


def verdict(value: float, limit: float) -> str:
    """A target held or missed."""
    return f"target {rounded(limit)}: {'held' if value <= limit else 'MISSED'}"


def rounded(value: float) -> str:
    """Three significant digits, without an exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 or value == 0 else f"{value:.6f}"


def emit(benchmark: str, results: Mapping[str, Any]) -> None:
    """The JSON line for machines, last on standard output."""
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}
    shown = {name: value.to_json() if isinstance(value, Figure) else value for name, value in results.items()}
    print(json.dumps({"benchmark": benchmark, "machine": machine, "results": shown}))
