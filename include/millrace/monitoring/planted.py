"""Streams of rows whose truth is known: a world that stays as it is, or changes in one way and by a stated size.

A day of a stream depends on its seed and its number alone, so any day can be made again, in any order. It serves tests, the
table of what a detector finds (docs/drift-detection.md), and pipelines that need data whose world changes. What it does
not do: it draws no data about anybody; the columns only look like an application for a loan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from millrace.job_exit import InputError
from millrace.profiling.summary import Floats

NO_CHANGE = "none"
REGIONS: Mapping[str, float] = {"north": 0.4, "south": 0.25, "east": 0.15, "west": 0.1, "centre": 0.07, "islands": 0.03}
"""Shares of the rows."""
CORRELATION = 0.6
"""Of score and income before any change."""
MISSING = 0.02
"""The share of rows without an income before any change."""


class UnknownChange(InputError):
    """A change that cannot be planted as it was asked for; the message says what can."""


@dataclass(slots=True)
class World:
    """What the rows of one day are drawn from. A change alters one of these, and nothing else."""

    score_mean: float = 0.0
    score_spread: float = 1.0
    score_modes: float = 0.0
    """How far two modes of the score stand from its mean, in standard deviations; mean and spread stay."""
    missing: float = MISSING
    regions: dict[str, float] = field(default_factory=lambda: dict(REGIONS))
    correlation: float = CORRELATION
    flipped: float = 0.0
    """The share of labels that are the opposite of what the features say."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way in which a world may change."""

    unit: str
    low: float
    high: float
    plant: Callable[[World, float], None]


def _mean(world: World, size: float) -> None:
    world.score_mean = size


def _variance(world: World, size: float) -> None:
    world.score_spread = size


def _shape(world: World, size: float) -> None:
    world.score_modes = size


def _missing(world: World, size: float) -> None:
    world.missing += size


def _category(world: World, size: float) -> None:
    world.regions["north"] -= size
    world.regions["islands"] += size


def _correlation(world: World, size: float) -> None:
    world.correlation -= size


def _label(world: World, size: float) -> None:
    world.flipped = size


KINDS: Mapping[str, Kind] = {
    NO_CHANGE: Kind("nothing", 0, 0, lambda _world, _size: None),
    "mean": Kind("standard deviations by which the score's mean moves", -10, 10, _mean),
    "variance": Kind("the score's new standard deviation, in old ones", 0, 10, _variance),
    "shape": Kind(
        "distance of two modes from the score's mean, in standard deviations; mean and variance stay", 0, 1, _shape
    ),
    "missing": Kind("share of rows that lose their income", 0, 1 - MISSING, _missing),
    "category": Kind(
        "share of rows that move from north to islands: the L-infinity distance", 0, REGIONS["north"], _category
    ),
    "correlation": Kind("what the correlation of score and income falls by", 0, CORRELATION + 1, _correlation),
    "label": Kind("share of labels that become the opposite", 0, 1, _label),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of the world on one day.

    Args:
        kind: a key of KINDS.
        size: in the kind's own unit.
        day: the first changed day, from 0.

    Raises:
        UnknownChange: there is no such kind, or the size is outside of its range.
    """

    kind: str = NO_CHANGE
    size: float = 0.0
    day: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownChange(f"the kind of change is {self.kind!r}; it must be one of {', '.join(KINDS)}")
        kind = KINDS[self.kind]
        if not kind.low <= self.size <= kind.high:
            raise UnknownChange(
                f"a change of kind {self.kind!r} has size {self.size} ({kind.unit}); it must lie between {kind.low} and "
                f"{kind.high}"
            )


@dataclass(frozen=True, slots=True)
class Stream:
    """Days of rows; from the change's day on they are drawn from another world.

    Args:
        seed: two streams of one seed have the same rows until the first of them changes.
    """

    seed: int
    change: Change = Change()

    def day(self, number: int, rows: int) -> pa.Table:
        """The rows of a day: score, income, age, visits, region, returning and the label `repaid`."""
        world = World()
        if number >= self.change.day:
            KINDS[self.change.kind].plant(world, self.change.size)
        return rows_of(world, rows, np.random.default_rng([self.seed, number]))


def rows_of(world: World, rows: int, dice: np.random.Generator) -> pa.Table:
    """Rows that are drawn from a world. Every column has its own draws, so that a change of one leaves the others alone."""
    inner, noise, side, age, visits, region, returning, missing, fate, flip = dice.spawn(10)
    modes = world.score_modes
    # Two modes at a distance and a narrower spread have mean 0 and variance 1 together.
    common: Floats = inner.normal(size=rows) * np.sqrt(1 - modes**2) + modes * side.choice([-1.0, 1.0], size=rows)
    score = world.score_mean + world.score_spread * common
    latent = world.correlation * common + np.sqrt(1 - world.correlation**2) * noise.normal(size=rows)
    income = np.round(30_000 * np.exp(0.5 * latent), 2)
    repaid = fate.random(rows) < 1 / (1 + np.exp(-(1 + score + 0.5 * latent)))
    flipped = flip.random(rows) < world.flipped
    names = list(world.regions)
    return pa.table(
        {
            "score": score,
            "income": pa.array(income, mask=missing.random(rows) < world.missing),
            "age": age.integers(18, 90, size=rows),
            "visits": visits.poisson(3, size=rows),
            "region": pa.array(names).take(
                pa.array(region.choice(len(names), size=rows, p=list(world.regions.values())))
            ),
            "returning": returning.random(rows) < 0.3,
            "repaid": repaid ^ flipped,
        }
    )
