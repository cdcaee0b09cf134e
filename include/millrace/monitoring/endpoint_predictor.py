"""A predict function for `shapley` that asks a model: rows of values of any kind as a matrix, and answers as scores.

The rows of a matrix are codes: the numbers of a column's distinct values. So values of any kind, text among them, reach the
model exactly as they were captured, and rows that mix those of two others need no arithmetic.

What it does not do: it takes one score a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from millrace.monitoring.model_answers import ModelAnswers
from millrace.monitoring.record_cells import find
from millrace.monitoring.shapley import PredictError
from millrace.profiling.payload import Cell
from millrace.profiling.summary import Floats

Row = Mapping[str, Cell]
FIRST = "0"


class Codes:
    """Rows as a matrix of the numbers of their values, and back."""

    def __init__(self, features: Sequence[str]) -> None:
        self.features = tuple(features)
        self._values: list[list[Cell]] = [[] for _ in features]
        self._numbers: list[dict[tuple[type, Cell], int]] = [{} for _ in features]

    def encode(self, rows: Sequence[Row]) -> Floats:
        """Shape (n, features); a value that a row lacks is a missing one."""
        found = np.zeros((len(rows), len(self.features)))
        for index, row in enumerate(rows):
            found[index] = [self._number(column, row.get(name)) for column, name in enumerate(self.features)]
        return found

    def decode(self, matrix: Floats) -> Iterator[list[Cell]]:
        for row in matrix:
            yield [self._values[column][int(code)] for column, code in enumerate(row)]

    def _number(self, column: int, value: Cell) -> int:
        # By type too: 1 and 1.0 are equal and not written alike.
        key, values = (type(value), value), self._values[column]
        if key not in self._numbers[column]:
            self._numbers[column][key] = len(values)
            values.append(value)
        return self._numbers[column][key]


class EndpointPredictor:
    """A predict function: from codes, shape (n, features), to scores, shape (n,).

    Args:
        score: which cell of an answer is the score.

    Raises (when it is called):
        PredictError: an answer is not one finite score a row.
    """

    def __init__(self, answers: ModelAnswers, codes: Codes, *, score: str | None, logit: bool) -> None:
        self._answers = answers
        self._codes = codes
        self._score = score or FIRST
        self._logit = logit

    def __call__(self, matrix: Floats) -> Floats:
        answers = self._answers.of(self._codes.decode(matrix))
        found = np.fromiter((self._number(find(cells, self._score)) for cells in answers), dtype=np.float64)
        return _log_odds(found) if self._logit else found

    def _number(self, cell: Cell) -> float:
        try:
            number = math.nan if cell is None else float(cell)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise PredictError(
                f"the model answered {cell!r} where its score should be; say where it is with ProbabilityAttribute"
            )
        return number


def _log_odds(shares: Floats) -> Floats:
    """Of probabilities; one of 0 or 1 counts as the nearest that a double tells from it."""
    if ((shares < 0) | (shares > 1)).any():
        odd = shares[(shares < 0) | (shares > 1)][0]
        raise PredictError(f"the model answered {odd}; use_logit takes probabilities, from 0 to 1")
    tiny = np.finfo(np.float64).eps
    inside = np.clip(shares, tiny, 1 - tiny)
    found: Floats = np.log(inside / (1 - inside))
    return found
