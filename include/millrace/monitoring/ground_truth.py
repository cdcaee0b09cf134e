"""Join predictions with ground truth that arrives later, by inference id, and say how much of it has arrived.

Labels are held in memory; predictions stream past them in batches, and of each only what metrics need is kept: the
prediction, its probabilities, and where its label is (8 bytes each).

Policy, so that nothing is silently lost: the last label of an id wins (by its time if there is one, else by the order
of files and rows); the first prediction of a labelled id wins; rows without an id, a prediction or an asked-for
probability are left out; every one of these is counted in `Coverage`. Predictions that are repeated before their label
has come are not noticed.

What it does not do: it computes no metric, and it cannot know whether the labels that have come are a fair draw from
all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from millrace.profiling.errors import DatasetError
from millrace.profiling.summary import Floats

Positions = npt.NDArray[np.int64]
DELAY_QUANTILES = (0.5, 0.9, 0.99, 1.0)
NO_LABEL = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which column is what, on both sides."""

    inference_id: str = "inference_id"
    prediction: str | None = "prediction"
    """None where the prediction is made from the probability."""
    probabilities: tuple[str, ...] = ()
    predicted_at: str | None = None
    label: str = "label"
    labelled_at: str | None = None

    @property
    def text(self) -> set[str]:
        """The columns whose values are names, even where they look like numbers."""
        return {self.inference_id, self.label} | ({self.prediction} if self.prediction else set())


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """One label an id, the last that came."""

    ids: pd.Index
    values: pa.ChunkedArray
    times: Floats | None
    """Seconds since 1970; None if the ground truth has no times."""
    rows: int
    without_id: int
    missing: int
    """Rows with an id and no label."""
    repeated: int
    """Rows that a later one of the same id replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much ground truth has arrived, and what was left out."""

    predictions: int
    """Usable ones."""
    labelled: int
    unusable: int
    """Rows of predictions without an id, a prediction or an asked-for probability."""
    repeated_predictions: int
    labels: int
    """Ids with a label."""
    unusable_labels: int
    repeated_labels: int
    unknown_labels: int
    """Ids with a label that no prediction has."""
    delay_seconds: dict[str, float] | None
    """Quantiles of the time from a prediction to its label; None without both times."""

    @property
    def share(self) -> float:
        """The share of predictions that have a label, from 0 to 1."""
        return self.labelled / self.predictions if self.predictions else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """All usable predictions, n of them, and the labels of those that have one."""

    predictions: pa.ChunkedArray | None
    """None where there is no column of predictions."""
    probabilities: Floats
    """Shape (n, columns)."""
    has_label: npt.NDArray[np.bool_]
    """Shape (n,)."""
    labels: pa.ChunkedArray
    """Of the labelled predictions, in their order, shape (has_label.sum(),)."""
    coverage: Coverage


def read_labels(batches: Iterable[pa.RecordBatch], columns: Columns) -> Labels:
    """The ground truth, one label an id.

    Raises:
        DatasetError: a column is missing, or a time cannot be read.
    """
    kept: list[pa.RecordBatch] = []
    rows = without_id = missing = 0
    names = [columns.inference_id, columns.label, *([columns.labelled_at] if columns.labelled_at else [])]
    for batch in batches:
        chosen = _choose(batch, names, "the ground truth")
        rows += len(chosen)
        has_id = pc.is_valid(chosen[columns.inference_id])
        has_label = pc.is_valid(chosen[columns.label])
        without_id += len(chosen) - pc.sum(has_id, min_count=0).as_py()
        missing += pc.sum(pc.and_(has_id, pc.invert(has_label)), min_count=0).as_py()
        kept.append(chosen.filter(pc.and_(has_id, has_label)))
    if not kept:
        return Labels(
            ids=pd.Index([], dtype=object), values=pa.chunked_array([[]], pa.string()), times=None, rows=0,
            without_id=0, missing=0, repeated=0,
        )  # fmt: skip
    table = pa.concat_tables([pa.table(b) for b in kept], promote_options="permissive")
    ids = pd.Index(_texts(table[columns.inference_id]).to_pylist(), dtype=object)
    times = _seconds(table[columns.labelled_at], columns.labelled_at) if columns.labelled_at else None
    # A label without a time gives way to one that has a time.
    order = np.arange(len(ids)) if times is None else np.argsort(np.nan_to_num(times, nan=-np.inf), kind="stable")
    last = np.sort(order[~ids[order].duplicated(keep="last")])
    return Labels(
        ids=ids[last],
        values=table[columns.label].take(pa.array(last)),
        times=None if times is None else times[last],
        rows=rows,
        without_id=without_id,
        missing=missing,
        repeated=len(ids) - len(last),
    )


def join(batches: Iterable[pa.RecordBatch], labels: Labels, columns: Columns) -> Joined:
    """Predictions with their labels.

    Raises:
        DatasetError: a column is missing, a probability is not a number from 0 to 1, a time cannot be read, or there
            is no row.
    """
    taken = np.zeros(len(labels.ids), dtype=np.bool_)
    predictions: list[pa.Array] = []
    probabilities: list[Floats] = [np.zeros((0, len(columns.probabilities)))]
    where: list[Positions] = []
    delays: list[Floats] = []
    rows = unusable = repeated = 0
    names = [columns.inference_id, columns.prediction, *columns.probabilities, columns.predicted_at]
    for batch in batches:
        chosen = _choose(batch, [name for name in names if name], "the predictions")
        rows += len(chosen)
        needed = [columns.inference_id, *([columns.prediction] if columns.prediction else []), *columns.probabilities]
        usable = chosen.filter(_all_valid(chosen, needed))
        unusable += len(chosen) - len(usable)
        position = labels.ids.get_indexer(pd.Index(_texts(usable[columns.inference_id]).to_pylist(), dtype=object))
        first = _first_of_each(position, taken)
        repeated += len(first) - int(first.sum())
        usable, position = usable.filter(pa.array(first)), position[first]
        taken[position[position != NO_LABEL]] = True
        where.append(position)
        if columns.prediction:
            predictions.append(usable[columns.prediction])
        probabilities.append(_probabilities(usable, columns.probabilities))
        if columns.predicted_at and labels.times is not None:
            sent = _seconds(usable[columns.predicted_at], columns.predicted_at)
            labelled = position != NO_LABEL
            delays.append(labels.times[position[labelled]] - sent[labelled])
    if not rows:
        raise DatasetError("there are no predictions; nothing can be said about their quality")
    position = np.concatenate(where)
    found = position != NO_LABEL
    return Joined(
        predictions=_column(predictions) if columns.prediction else None,
        probabilities=np.concatenate(probabilities),
        has_label=found,
        labels=labels.values.take(pa.array(position[found])),
        coverage=Coverage(
            predictions=len(position),
            labelled=int(found.sum()),
            unusable=unusable,
            repeated_predictions=repeated,
            labels=len(labels.ids),
            unusable_labels=labels.without_id + labels.missing,
            repeated_labels=labels.repeated,
            unknown_labels=len(taken) - int(taken.sum()),
            delay_seconds=_quantiles(np.concatenate(delays)) if delays else None,
        ),
    )


def _first_of_each(position: Positions, taken: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which rows are to be kept: every row without a label, and the first row of each label that is not taken yet."""
    keep: npt.NDArray[np.bool_] = position == NO_LABEL
    values, first = np.unique(position, return_index=True)
    fresh = first[values != NO_LABEL]
    keep[fresh[~taken[position[fresh]]]] = True
    return keep


def _choose(batch: pa.RecordBatch, names: list[str], where: str) -> pa.RecordBatch:
    for name in names:
        if name not in batch.schema.names:
            seen = ", ".join(batch.schema.names[:8])
            raise DatasetError(f"{where} have no column {name!r} (they have {seen}); name the column with its argument")
    return batch.select(list(dict.fromkeys(names)))


def _all_valid(batch: pa.RecordBatch, names: list[str]) -> pa.Array:
    valid = pa.array(np.ones(len(batch), dtype=np.bool_))
    for name in names:
        column = batch[name]
        floating = pa.types.is_floating(column.type)
        valid = pc.and_(valid, pc.invert(pc.is_null(column, nan_is_null=True)) if floating else pc.is_valid(column))
    return valid


def _probabilities(batch: pa.RecordBatch, names: tuple[str, ...]) -> Floats:
    found = np.zeros((len(batch), len(names)))
    for index, name in enumerate(names):
        column = batch[name]
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            raise DatasetError(f"the probabilities in {name!r} are {column.type}; they must be numbers from 0 to 1")
        found[:, index] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        odd = found[(found[:, index] < 0) | (found[:, index] > 1), index]
        if len(odd):
            raise DatasetError(f"column {name!r} holds {odd[0]}; a probability is a number from 0 to 1")
    return found


def _texts(column: pa.Array) -> pa.Array:
    plain = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return plain.cast(pa.string())


def _column(parts: list[pa.Array]) -> pa.ChunkedArray:
    return pa.concat_tables([pa.table({"": part}) for part in parts], promote_options="permissive")[""]


def _seconds(column: pa.Array | pa.ChunkedArray, name: str) -> Floats:
    """Times as seconds since 1970: timestamps, ISO 8601 texts (UTC where they name no zone), or such seconds."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(column.cast(pa.float64()), dtype=np.float64)
    try:
        texts = column if pa.types.is_timestamp(kind) else column.cast(pa.string())
        parsed = pd.to_datetime(pd.Series(texts.to_pylist(), dtype=object), utc=True, format="ISO8601")
    except (ValueError, pa.ArrowException) as error:
        raise DatasetError(
            f"column {name!r} holds a time that cannot be read ({error}); write ISO 8601 or seconds since 1970"
        ) from error
    return np.asarray((parsed - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1), dtype=np.float64)


def _quantiles(delays: Floats) -> dict[str, float] | None:
    known = delays[np.isfinite(delays)]
    if not len(known):
        return None
    return {f"p{share * 100:g}": float(np.quantile(known, share)) for share in DELAY_QUANTILES}


def described(coverage: Coverage) -> dict[str, object]:
    """Coverage as JSON."""
    return {**asdict(coverage), "label_coverage": coverage.share}
