"""What the digits DAGs are told: sizes, thresholds and the code that travels. No secrets, no addresses, no imports."""

from __future__ import annotations

from dataclasses import dataclass
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
    training_instances: int = 2
    hyperparameters: MappingProxyType[str, int | float] = MappingProxyType(
        {"epochs": 14, "batch-size": 64, "learning-rate": 0.003, "seed": 7}
    )
    least_accuracy: float = 0.95
    champion_tolerance: float = 0.01
    """A candidate may be worse than the champion by at most this much."""


settings = DigitsSettings()
