"""What the lending DAGs are told: sizes, thresholds and the code that travels. No secrets, no addresses, no imports."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

FIRST_DAY = date(2026, 1, 1)
"""The first night of the generated world; the days before it are the bank's past."""
ID, LABEL = "application", "defaulted"
NUMBERS = ("income", "amount", "debt_ratio", "history_months")
CATEGORIES = ("employment", "region")
FEATURES = (*NUMBERS, *CATEGORIES)
EMPLOYMENTS = ("employed", "self-employed", "retired", "student")
REGIONS = ("north", "south", "east", "west")
SCORED = (ID, *FEATURES, "default_probability")
"""The columns of what batch transform leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LendingSettings:
    """The choices that a reader may want to change, in one place."""

    model: str = "lending"
    packages: tuple[str, ...] = ("pipelines.lending",)
    """The packages of job code that travel with every job, beside the parts of millrace that they use."""
    processing_instance: str = "ml.m5.large"
    training_instance: str = "ml.m5.large"
    transform_instance: str = "ml.m5.large"
    drifted_windows: int = 2
    judged_windows: int = 3
    """Drift in 2 of the last 3 nights asks for a retraining: the stated delay is the second night after a change."""
    cool_down_days: int = 7
    most_quarantined: float = 0.5
    """The share of a delivery that may be put aside; with more the night stops."""
    margin: float = 0.0
    """By how much area under the ROC curve a challenger may be worse than the champion; 0: it has to be better."""


settings = LendingSettings()
