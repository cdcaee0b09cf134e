"""Quantiles of a stream of numbers in bounded memory: a KLL sketch, fed with every 16th value of sorted batches.

To sort a batch takes a seventh of the time that a KLL sketch takes to swallow it. So a large batch is sorted, and the value
in the middle of every 16 stands for them in a second sketch: its rank is off by at most 8 in a batch of thousands, which is
little beside the sketch's own error (0.14 % at k=2048 and 99 % confidence).

Reference: Karnin, Lang and Liberty, "Optimal quantile approximation in streams", 2016 (KLL).
"""

from __future__ import annotations

import numpy as np
from datasketches import kll_doubles_sketch

from millrace.profiling.summary import Floats

SKETCH_K = 2048
STRIDE = 16
LEAST_ROWS = 16 * 1024
"""A batch of fewer values goes to the sketch whole: 16 of them would be too much of it."""
MIDDLE = STRIDE // 2


class QuantileSketch:
    """A sketch of single values, and one of values that stand for 16 each."""

    def __init__(self) -> None:
        self._single = kll_doubles_sketch(SKETCH_K)
        self._sixteen = kll_doubles_sketch(SKETCH_K)
        self._upper_middle = False

    def add(self, ordered: Floats) -> None:
        """Add sorted finite values, shape (n,)."""
        if len(ordered) < LEAST_ROWS:
            self._single.update(ordered)
            return
        odd = len(ordered) % STRIDE
        if odd:  # taken from everywhere: the last ones would be the largest
            places = np.linspace(0, len(ordered) - 1, odd + 2).astype(np.intp)[1:-1]
            self._single.update(ordered[places])
            ordered = np.delete(ordered, places)
        # An even number has no middle; the two next to it take turns, so that the error cancels out.
        self._sixteen.update(np.ascontiguousarray(ordered[MIDDLE - 1 + self._upper_middle :: STRIDE]))
        self._upper_middle = not self._upper_middle

    def merge(self, other: QuantileSketch) -> None:
        self._single.merge(other._single)
        self._sixteen.merge(other._sixteen)

    def kept(self) -> tuple[Floats, Floats]:
        """The sorted values that are kept and how many each stands for, shapes (m,); the sum is the number of rows."""
        values, weights = (
            np.concatenate(both)
            for both in zip(_retained(self._single, 1), _retained(self._sixteen, STRIDE), strict=True)
        )
        order = np.argsort(values, kind="stable")
        return values[order], weights[order]

    @property
    def rows(self) -> int:
        """How many values were added."""
        return int(self._single.n + STRIDE * self._sixteen.n)

    def to_bytes(self) -> tuple[bytes, bytes]:
        return self._single.serialize(), self._sixteen.serialize()

    @classmethod
    def from_bytes(cls, single: bytes, sixteen: bytes) -> QuantileSketch:
        sketch = cls()
        sketch._single = kll_doubles_sketch.deserialize(single)
        sketch._sixteen = kll_doubles_sketch.deserialize(sixteen)
        return sketch


def _retained(sketch: kll_doubles_sketch, scale: int) -> tuple[Floats, Floats]:
    """The kept values and their weights, times `scale`.

    datasketches 5.2 reports weight 1 for every value when the lowest level of the sketch is empty, as it often is after
    a merge. One more value puts something there, in a copy, and is taken out of the result again.
    """
    if sketch.is_empty():
        return np.empty(0), np.empty(0)
    copy = kll_doubles_sketch.deserialize(sketch.serialize())
    extra = sketch.get_min_value()
    copy.update(extra)
    kept = list(copy)
    kept.remove((extra, 1))
    pairs = np.array(kept, dtype=np.float64)
    return pairs[:, 0], pairs[:, 1] * scale
