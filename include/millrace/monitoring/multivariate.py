"""Drift of several columns together, such as a correlation that vanishes while each column keeps its own distribution.

Two detectors, each of which needs rows of the baseline while it is fitted (`sample`), never all of them:

- A domain classifier learns to tell the window's rows from the baseline's. If it can (area under the ROC curve above 0.5
  on rows it did not learn from), the two differ, and the columns it needs say where. It needs the baseline's sample at
  every check.
- Reconstruction error: a principal component analysis of the baseline keeps 65 % of its variance; a window whose rows
  it puts together worse, or better, has another inner structure. It needs its fit alone (`reconstruction.json`).

Embeddings, images and texts are looked at through their features: one column a dimension.

What is not here: drift of one column (`drift`), labels, and any decision about the whole dataset.

References: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017; Rabanser, Günnemann and Lipton,
"Failing loudly", NeurIPS 2019. Mann and Whitney, "On a test of whether one of two random variables is stochastically
larger than the other", Annals of Mathematical Statistics, 1947. Vovk and Wang, "Combining p-values via averaging",
Biometrika, 2020. NannyML, "Data reconstruction with PCA",
https://nannyml.readthedocs.io/en/stable/how_it_works/multivariate_drift.html#data-reconstruction-with-pca.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.monitoring.feature_matrix import ColumnEncoding, Encoding, encoding_of
from millrace.monitoring.sample import MAX_ROWS
from millrace.profiling.errors import DatasetError, FormatError
from millrace.profiling.summary import Floats
from millrace.profiling.untrusted_json import Field, read_document

FILE_NAME = "reconstruction.json"
ALPHA = 0.01
LEAST_AUC = 0.55
"""A classifier that tells the domains apart less well has found a difference too small to matter (a mean that moves by
a fifth of a deviation in a single column gives about as much)."""
LEAST_SHIFT = 0.1
"""Of the mean reconstruction error, in deviations of a row's error, from which on it matters."""
LEAST_ROWS = 50
FOLDS = 2
SHUFFLES = 3
VARIANCE = 0.65
"""Kept by the principal components, as in NannyML."""
SEED = 20_170_424


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """How well a classifier tells a window from its baseline."""

    auc: float
    """Area under the ROC curve on rows it did not learn from: 0.5 is a coin, 1 is certainty."""
    p_value: float
    """The chance of such an area, or a larger one, if nothing has changed; errs on the side of silence."""
    features: list[tuple[str, float]]
    """What the area loses when a column's values are shuffled, the largest loss first: where the two differ. Of columns
    that changed together each has its share."""
    rows: int
    baseline_rows: int

    def drifted(self, *, alpha: float = ALPHA, least_auc: float = LEAST_AUC) -> bool:
        """Whether the difference is both large enough to matter and larger than chance explains."""
        return self.p_value < alpha and self.auc >= least_auc


def domain_classifier(baseline: pa.Table, window: pa.Table, *, seed: int = SEED) -> Separation:
    """Learn to tell the window's rows from the baseline's, half against half both ways.

    Each half is judged by a classifier that never saw it, so its Mann-Whitney test is exact; the two tests are not
    independent, and twice the mean of p-values is a p-value whatever their dependence (Vovk and Wang).

    Args:
        baseline, window: rows with the same columns; of each at most 10,000 are looked at, drawn by the seed.

    Raises:
        DatasetError: either side has fewer than 50 rows, or lacks a column of the other's.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier  # here, because it takes seconds to import
    from sklearn.model_selection import StratifiedKFold
    from threadpoolctl import threadpool_limits

    encoding = encoding_of(baseline)
    sides = [encoding.matrix(_at_most(table, seed)) for table in (baseline, window)]
    _check_rows(sides, ("baseline", "window"))
    rows = np.concatenate(sides)
    of_window = np.repeat([False, True], [len(side) for side in sides])
    areas, p_values = [], []
    losses = np.zeros(rows.shape[1])
    dice = np.random.default_rng(seed)
    # On so few rows a second thread gains nothing, and on a busy machine threads that wait for each other cost tenfold.
    with threadpool_limits(1):
        for learn, hold in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(rows, of_window):
            model = HistGradientBoostingClassifier(
                max_iter=60, max_leaf_nodes=8, early_stopping=False, random_state=seed
            )
            model.fit(rows[learn], of_window[learn])
            area, p_value = _mann_whitney(model.decision_function(rows[hold]), of_window[hold])
            areas.append(area)
            p_values.append(p_value)
            losses += (area - _shuffled_areas(model, rows[hold], of_window[hold], dice)) / FOLDS
    order = np.argsort(-losses, kind="stable")
    names = list(encoding.columns)
    return Separation(
        auc=float(np.mean(areas)),
        p_value=min(1.0, 2 * float(np.mean(p_values))),
        features=[(names[i], float(losses[i])) for i in order],
        rows=len(sides[1]),
        baseline_rows=len(sides[0]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """A baseline's principal components, and how well they put rows together that they were not fitted on."""

    encoding: Encoding
    components: Floats
    """Shape (components, columns), of standardised columns."""
    centre: Floats
    """Shape (columns,)."""
    error: float
    """Mean Euclidean distance of a row from what the components make of it, in deviations."""
    error_deviation: float
    rows: int
    """Rows behind the two."""

    def errors(self, table: pa.Table) -> Floats:
        """Each row's error, shape (rows,); a missing value counts as the baseline's mean.

        Raises:
            DatasetError: a column of the baseline is missing, or changed its type.
        """
        found = np.nan_to_num(self.encoding.matrix(table), nan=0.0) - self.centre
        return np.asarray(np.linalg.norm(found - found @ self.components.T @ self.components, axis=1), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconstructionShift:
    """A window's mean reconstruction error against the baseline's."""

    error: float
    baseline_error: float
    shift: float
    """Their difference in deviations of a row's error in the baseline; below zero where rows have become simpler."""
    p_value: float
    """Two-sided, by the normal approximation of both means."""
    chunks: list[float]
    """Mean error of each tenth of the window in the order of its rows: since when."""

    @property
    def words(self) -> str:
        return (
            f"Rows stand {self.error:.3f} from what the baseline's principal components make of them, "
            f"{self.baseline_error:.3f} in the baseline: a shift of {self.shift:+.2f} deviations (p-value "
            f"{self.p_value:.2g})."
        )

    def drifted(self, *, alpha: float = ALPHA, least_shift: float = LEAST_SHIFT) -> bool:
        """Whether the shift is both large enough to matter and larger than chance explains."""
        return self.p_value < alpha and abs(self.shift) >= least_shift


def fit_reconstruction(baseline: pa.Table, *, seed: int = SEED) -> Reconstruction:
    """Principal components of one half of the baseline's rows, and their errors on the other half.

    Raises:
        DatasetError: there are fewer than 100 rows, or no column can be used.
    """
    table = _at_most(baseline, seed)
    encoding = encoding_of(table)
    rows = np.nan_to_num(encoding.matrix(table), nan=0.0)
    _check_rows([rows[::2], rows[1::2]], ("half of the baseline", "half of the baseline"))
    dealt = np.random.default_rng(seed).permutation(len(rows))
    fit, held = dealt[::2], dealt[1::2]
    centre, components = principal_components(rows[fit])
    found = Reconstruction(
        encoding=encoding,
        components=components,
        centre=centre,
        error=0.0,
        error_deviation=0.0,
        rows=len(held),
    )
    errors = found.errors(table.take(pa.array(held)))
    return Reconstruction(
        encoding=encoding,
        components=found.components,
        centre=found.centre,
        error=float(errors.mean()),
        error_deviation=float(errors.std(ddof=1)),
        rows=len(held),
    )


def principal_components(rows: Floats, variance: float = VARIANCE) -> tuple[Floats, Floats]:
    """The centre of rows, shape (columns,), and the first directions that keep this share of their variance, one a line.

    As scikit-learn's PCA(n_components=variance), up to a direction's sign; that takes seconds to import.
    """
    centre = rows.mean(axis=0)
    _, singular, directions = np.linalg.svd(rows - centre, full_matrices=False)
    kept = np.cumsum(singular**2) / np.sum(singular**2)
    return centre, directions[: int(np.searchsorted(kept, variance, side="right")) + 1]


def reconstruction_shift(baseline: Reconstruction, window: pa.Table) -> ReconstructionShift:
    """How much worse, or better, the baseline's components put the window's rows together.

    Raises:
        DatasetError: the window has fewer than 50 rows, or lacks a column.
    """
    errors = baseline.errors(window)
    _check_rows([errors], ("window",))
    difference = float(errors.mean()) - baseline.error
    noise = math.sqrt(float(errors.var(ddof=1)) / len(errors) + baseline.error_deviation**2 / baseline.rows)
    edges = np.linspace(0, len(errors), 11).astype(int)
    return ReconstructionShift(
        error=float(errors.mean()),
        baseline_error=baseline.error,
        shift=difference / baseline.error_deviation if baseline.error_deviation else math.copysign(1e9, difference),
        p_value=math.erfc(abs(difference) / noise / math.sqrt(2)) if noise else float(difference == 0),
        chunks=[float(errors[start:end].mean()) for start, end in pairwise(edges)],
    )


def write_reconstruction(folder: Path, fit: Reconstruction) -> Path:
    """Write `reconstruction.json` into `folder` and return its path."""
    document = {
        "columns": [{"name": name, **asdict(how)} for name, how in fit.encoding.columns.items()],
        "components": fit.components.tolist(),
        "centre": fit.centre.tolist(),
        "error": fit.error,
        "error_deviation": fit.error_deviation,
        "rows": fit.rows,
    }
    path = folder / FILE_NAME
    path.write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
    return path


def read_reconstruction(folder: Path) -> Reconstruction:
    """The fit in `folder/reconstruction.json`.

    Raises:
        FormatError: the file is missing, not of the form that `write_reconstruction` writes, or its sizes do not agree.
    """
    document = read_document(folder / FILE_NAME)
    columns = {item["name"].text(): _column_encoding(item) for item in document["columns"].items()}
    components = [line.numbers() for line in document["components"].items()]
    centre = document["centre"].numbers()
    if not components or any(len(line) != len(columns) for line in [*components, centre]):
        raise FormatError(f"{document.where} has components or a centre that do not fit its {len(columns)} columns")
    return Reconstruction(
        encoding=Encoding(columns=columns),
        components=np.array(components, dtype=np.float64),
        centre=np.array(centre, dtype=np.float64),
        error=document["error"].number(low=0),
        error_deviation=document["error_deviation"].number(low=0),
        rows=max(document["rows"].count(), 1),
    )


def _column_encoding(item: Field) -> ColumnEncoding:
    categories = tuple(v.text() for v in item["categories"].items()) if item.has("categories") else None
    return ColumnEncoding(mean=item["mean"].number(), std_dev=item["std_dev"].number(low=1e-300), categories=categories)


def _mann_whitney(scores: Floats, positive: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The area under the curve, and the chance of a larger one by the normal approximation with ties."""
    from scipy.special import ndtr  # both here, because they take longer to import than a baseline to start
    from scipy.stats import rankdata

    high, low, total = int(positive.sum()), int((~positive).sum()), len(scores)
    ranks = rankdata(scores)
    _, ties = np.unique(scores, return_counts=True)
    wins = float(ranks[positive].sum()) - high * (high + 1) / 2
    variance = high * low / 12 * (total + 1 - float((ties**3 - ties).sum()) / (total * (total - 1)))
    if variance <= 0:
        return 0.5, 1.0
    return wins / (high * low), float(ndtr((high * low / 2 - wins) / math.sqrt(variance)))


def _shuffled_areas(model: Any, rows: Floats, positive: npt.NDArray[np.bool_], dice: np.random.Generator) -> Floats:
    """The area that is left when one column after the other is shuffled, shape (columns,)."""
    left = np.zeros(rows.shape[1])
    for column in range(rows.shape[1]):
        changed = rows.copy()
        for _ in range(SHUFFLES):
            changed[:, column] = dice.permutation(rows[:, column])
            left[column] += _mann_whitney(model.decision_function(changed), positive)[0] / SHUFFLES
    return left


def _at_most(table: pa.Table, seed: int) -> pa.Table:
    if table.num_rows <= MAX_ROWS:
        return table
    chosen = np.random.default_rng(seed).choice(table.num_rows, MAX_ROWS, replace=False)
    return table.take(pa.array(np.sort(chosen)))


def _check_rows(sides: Sequence[Floats], names: Sequence[str]) -> None:
    for side, name in zip(sides, names, strict=True):
        if len(side) < LEAST_ROWS:
            raise DatasetError(f"the {name} has {len(side)} rows; a test of columns together needs {LEAST_ROWS}")
