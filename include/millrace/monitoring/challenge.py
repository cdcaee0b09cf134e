"""Whether a challenger ranks the same rows better than the champion, by the area under the ROC curve and its uncertainty.

Both have scored the same rows, so their errors go together, and the difference is known better than either. What it does not
do: it scores nothing, and it knows two classes only.

Reference: DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
characteristic curves", Biometrics, 1988.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from millrace.job_exit import InputError
from millrace.monitoring.interval import placements
from millrace.profiling.summary import Floats

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two areas under the curve, and their difference with its confidence interval."""

    rows: int
    positives: int
    champion: float
    challenger: float
    low: float
    """Of the difference, challenger minus champion."""
    high: float

    @property
    def difference(self) -> float:
        return self.challenger - self.champion


def compare(
    labels: npt.NDArray[np.bool_], champion: Floats, challenger: Floats, *, confidence: float = CONFIDENCE
) -> Comparison:
    """Compare two models' scores of the same rows.

    Args:
        labels: the truth, shape (n,).
        champion, challenger: scores that are larger for rows that are more likely true, shapes (n,).
        confidence: of the interval, between 0 and 1.

    Raises:
        InputError: the shapes differ, a score is not finite, or a class has fewer than two rows.
    """
    if not labels.shape == champion.shape == challenger.shape:
        raise InputError(f"there are {len(labels)} labels, and {len(champion)} and {len(challenger)} scores of them")
    if not (np.isfinite(champion).all() and np.isfinite(challenger).all()):
        raise InputError("a score is not a finite number; look at the model's predictions")
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if min(positives, negatives) < 2:
        raise InputError(
            f"{positives} of {len(labels)} rows are positive; two of each class are needed to compare models"
        )
    both = [placements(scores, labels) for scores in (champion, challenger)]
    areas = [float(of_positives.mean()) for of_positives, _ in both]
    spread = np.cov([of_positives for of_positives, _ in both]) / positives
    spread += np.cov([of_negatives for _, of_negatives in both]) / negatives
    error = math.sqrt(max(0.0, float(spread[0, 0] + spread[1, 1] - 2 * spread[0, 1])))
    reach = float(ndtri((1 + confidence) / 2)) * error
    difference = areas[1] - areas[0]
    return Comparison(
        rows=len(labels),
        positives=positives,
        champion=areas[0],
        challenger=areas[1],
        low=difference - reach,
        high=difference + reach,
    )
