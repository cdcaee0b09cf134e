"""What the digits DAGs are told: sizes, thresholds and the code that travels. No secrets, no addresses, no imports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

PIXELS = tuple(f"pixel_{index}" for index in range(64))
LABEL = "label"
PREDICTION_COLUMNS = (*PIXELS, "prediction", "confidence")


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsSettings:
    """The choices that a reader may want to change, in one place."""

    model: str = "digits"
    """The registered model's and the endpoint's name."""
    packages: tuple[str, ...] = ("pipelines.digits",)
    """The packages of job code that travel with every job, beside the parts of millrace that they use."""
    processing_instance: str = "ml.m5.large"
    training_instance: str = "ml.c5.xlarge"
    serving_instance: str = "ml.c5.large"
    transform_instance: str = "ml.m5.large"
    training_instances: int = 2
    hyperparameters: Mapping[str, int | float] = field(
        default_factory=lambda: MappingProxyType({"epochs": 14, "batch-size": 64, "learning-rate": 0.003, "seed": 7})
    )
    least_accuracy: float = 0.95
    champion_tolerance: float = 0.02
    """A candidate may be worse than the champion by at most this much."""
    smoke_body: str = (
        "0,0,5,13,9,1,0,0,0,0,13,15,10,15,5,0,0,3,15,2,0,11,8,0,0,4,12,0,0,8,8,0,"
        "0,5,8,0,0,9,8,0,0,4,11,0,1,12,7,0,0,2,14,5,10,12,0,0,0,0,6,13,10,0,0,0\n"
    )
    """The first image of the data, a zero: what a new endpoint must answer before it counts as deployed."""


settings = DigitsSettings()
