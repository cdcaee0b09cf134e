"""Shapley values of any predict function, by sampling permutations.

A row's attribution to a feature is what the score changes by when the feature's value is put in place of a background
row's, averaged over the orders in which features can be put in and over the background. Every background row is used
equally often, and every order together with its reverse, so that a row's attributions sum to its score less the
background's mean score exactly, and a linear function's come out exactly, whatever the number of draws.

What it does not do: it asks the function about rows that mix two real ones, which may not exist in the world (features
are treated as independent); and it never looks inside the function.

References: Štrumbelj and Kononenko, "Explaining prediction models and individual predictions with feature
contributions", Knowledge and Information Systems, 2014. Lundberg and Lee, "A unified approach to interpreting model
predictions", NeurIPS 2017. Mitchell et al., "Sampling permutations for Shapley value estimation", JMLR, 2022 (an order
with its reverse).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from millrace.job_exit import InputError
from millrace.profiling.summary import Floats

Predict = Callable[[Floats], Floats]
"""From rows, shape (n, features), to scores, shape (n,)."""
MAX_BACKGROUND = 50
BATCH_ROWS = 65_536
SEED = 20_140_201


class PredictError(InputError):
    """The predict function cannot be found, or its answer is not one finite score a row."""


def shapley_values(predict: Predict, rows: Floats, background: Floats, *, rounds: int = 1, seed: int = SEED) -> Floats:
    """Attributions of each row and feature, in the score's unit, shape (n, features).

    Args:
        rows: shape (n, features).
        background: what a feature's absence means, shape (b, features); each of its rows is asked about 2 * rounds
            times a row.
        rounds: more of them for less noise where features act on each other.

    Raises:
        PredictError: an answer is not one finite score a row.
    """
    dice = np.random.default_rng(seed)
    found = np.zeros(rows.shape, dtype=np.float64)
    size = rows.shape[1]
    block = max(1, BATCH_ROWS // (size + 1))
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        for other in background:
            for _ in range(rounds):
                order = dice.permuted(np.tile(np.arange(size), (len(part), 1)), axis=1)
                for walk in (order, order[:, ::-1]):
                    found[start : start + block] += _walked(predict, part, other, walk)
    return found / (2 * rounds * len(background))


def load_predict(name: str) -> Predict:
    """The function that `module:function` names.

    Raises:
        PredictError: there is no such module or function.
    """
    module, _, function = name.partition(":")
    if not module or not function:
        raise PredictError(f"{name!r} does not name a function; write module:function")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise PredictError(f"{name!r} cannot be loaded ({error}); is its folder on PYTHONPATH?") from error
    if not callable(found):
        raise PredictError(f"{name!r} is a {type(found).__name__}; name a function of a matrix that returns scores")
    return lambda rows: _scores(found, rows, name)


def _walked(predict: Predict, rows: Floats, other: Floats, walk: npt.NDArray[np.int64]) -> Floats:
    """What each feature adds when it is put in at its place in the walk, shape (n, features)."""
    count, size = rows.shape
    place = np.empty_like(walk)
    np.put_along_axis(place, walk, np.broadcast_to(np.arange(size), walk.shape), axis=1)
    is_in = place[:, np.newaxis, :] < np.arange(size + 1)[np.newaxis, :, np.newaxis]
    mixed = np.where(is_in, rows[:, np.newaxis, :], other)
    scores = np.asarray(predict(mixed.reshape(-1, size)), dtype=np.float64).reshape(count, size + 1)
    added = np.empty((count, size))
    np.put_along_axis(added, walk, np.diff(scores, axis=1), axis=1)
    return added


def _scores(predict: Callable[[Floats], object], rows: Floats, name: str) -> Floats:
    scores = np.asarray(predict(rows))
    if scores.shape != (len(rows),) or scores.dtype.kind not in "fiub":
        raise PredictError(f"{name!r} returned {scores.dtype} of shape {scores.shape}; it must return one score a row")
    if not np.isfinite(scores).all():
        raise PredictError(f"{name!r} returned {scores[~np.isfinite(scores)][0]}; a score must be a finite number")
    return scores.astype(np.float64)
