"""Quantiles of a stream of numbers in bounded memory: a KLL sketch, fed with every 16th value of sorted batches.

To sort a batch takes a seventh of the time that a KLL sketch takes to swallow it. So a large batch is sorted, and the value
in the middle of every 16 stands for them in a second sketch: its rank is off by at most 8 in a batch of thousands, which is
little beside the sketch's own error (0.14 % at k=2048 and 99 % confidence). Small batches, and small sketches that are
merged, wait until they make a large one together.

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
    """A sketch of single values, one of values that stand for 16 each, and single values that wait to become these."""

    def __init__(self) -> None:
        self._single = kll_doubles_sketch(SKETCH_K)
        self._sixteen = kll_doubles_sketch(SKETCH_K)
        self._upper_middle = False
        self._waiting: list[Floats] = []
        self._waiting_rows = 0

    def add(self, ordered: Floats) -> None:
        """Add sorted finite values, shape (n,)."""
        if len(ordered) < LEAST_ROWS:
            self._wait(ordered)
        else:
            self._take(ordered)

    def merge(self, other: QuantileSketch) -> None:
        """Take over what the other has seen; it stays as it is."""
        for values in other._waiting:
            self._wait(values)
        if other._single.is_estimation_mode():
            self._single.merge(other._single)
        else:
            self._wait(_all_values(other._single))
        self._sixteen.merge(other._sixteen)

    def kept(self) -> tuple[Floats, Floats]:
        """The sorted values that are kept and how many each stands for, shapes (m,); the sum is the number of rows."""
        self._settle()
        values, weights = (
            np.concatenate(both)
            for both in zip(_retained(self._single, 1), _retained(self._sixteen, STRIDE), strict=True)
        )
        order = np.argsort(values, kind="stable")
        return values[order], weights[order]

    @property
    def rows(self) -> int:
        """How many values were added."""
        return int(self._single.n + STRIDE * self._sixteen.n + self._waiting_rows)

    def to_bytes(self) -> tuple[bytes, bytes]:
        self._settle()
        return self._single.serialize(), self._sixteen.serialize()

    @classmethod
    def from_bytes(cls, single: bytes, sixteen: bytes) -> QuantileSketch:
        sketch = cls()
        sketch._single = kll_doubles_sketch.deserialize(single)
        sketch._sixteen = kll_doubles_sketch.deserialize(sixteen)
        return sketch

    def _wait(self, values: Floats) -> None:
        if len(values):
            self._waiting.append(values)
        self._waiting_rows += len(values)
        if self._waiting_rows >= LEAST_ROWS:
            together = np.sort(np.concatenate(self._waiting))
            self._waiting, self._waiting_rows = [], 0
            self._take(together)

    def _settle(self) -> None:
        """Give the values that wait to the sketch of single ones: they were too few to be sampled."""
        if self._waiting:
            self._single.update(np.concatenate(self._waiting))
            self._waiting, self._waiting_rows = [], 0

    def _take(self, ordered: Floats) -> None:
        """Give every 16th value of a large sorted batch to the sketch, and what is left over to the other."""
        odd = len(ordered) % STRIDE
        if odd:  # taken from everywhere: the last ones would be the largest
            places = np.linspace(0, len(ordered) - 1, odd + 2).astype(np.intp)[1:-1]
            self._single.update(ordered[places])
            ordered = np.delete(ordered, places)
        # An even number has no middle; the two next to it take turns, so that the error cancels out.
        self._sixteen.update(np.ascontiguousarray(ordered[MIDDLE - 1 + self._upper_middle :: STRIDE]))
        self._upper_middle = not self._upper_middle


def _all_values(sketch: kll_doubles_sketch) -> Floats:
    """The values of a sketch that has dropped none, shape (n,): they are the end of what it writes.

    Source: https://github.com/apache/datasketches-cpp/blob/master/kll/include/kll_sketch.hpp, "Serialized sketch layout".
    """
    data = sketch.serialize()
    return np.frombuffer(data, dtype=np.float64, offset=len(data) - sketch.n * np.float64().itemsize)


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
