"""Count a dataset's rows by facet, label, prediction and subgroup in one pass; what `bias` measures.

Memory is bounded by the number of different combinations, and by a sample of rows for the flip test. Rows without a
facet, a label, a prediction or a subgroup are left out and counted. What it does not do: it chooses no facet, and it
measures nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from millrace.monitoring.bias import Counts
from millrace.monitoring.interval import Flags
from millrace.monitoring.model_quality import class_names
from millrace.monitoring.sample import Reservoir
from millrace.profiling.errors import DatasetError
from millrace.profiling.summary import Floats

MAX_CELLS = 8000
GROUP, D, LABEL, ACCEPTED = "_group", "_disfavoured", "_label", "_accepted"
"""Names that no feature of the flip test is likely to have."""


class EmptyFacetError(DatasetError):
    """Every row is of one facet, and nothing can be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Some values of a column, or all numbers above a threshold."""

    column: str
    values: tuple[str, ...] = ()
    threshold: float | None = None

    @property
    def words(self) -> str:
        """As Clarify's value_or_threshold: `a,b`, or `(40.0, +inf)`."""
        return ",".join(self.values) if self.threshold is None else f"({self.threshold}, +inf)"

    def flags(self, column: pa.Array) -> pa.Array:
        """Which rows are chosen; null where the value is missing.

        Raises:
            DatasetError: there is a threshold and the column holds no numbers.
        """
        if self.threshold is None:
            names = class_names(pa.chunked_array([column])).combine_chunks()
            chosen = pc.is_in(names, pa.array(self.values, pa.string()))
            return pc.if_else(pc.is_valid(names), chosen, None)
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            raise DatasetError(
                f"column {self.column!r} holds {column.type}; a threshold needs numbers, text needs values"
            )
        return pc.greater(column, self.threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whose outcomes are compared."""

    facet: Choice
    """The disfavoured rows."""
    label: Choice
    """The favourable labels."""
    prediction: str | None = None
    group: str | None = None
    features: tuple[str, ...] = ()
    """Numbers by which the flip test finds neighbours."""

    @property
    def columns(self) -> list[str]:
        named = [self.facet.column, self.label.column, self.prediction, self.group, *self.features]
        return list(dict.fromkeys(name for name in named if name))

    @property
    def as_text(self) -> set[str]:
        """The columns whose values are names, even where they look like numbers."""
        named = {choice.column for choice in (self.facet, self.label) if choice.threshold is None}
        if self.prediction and self.label.threshold is None:
            named.add(self.prediction)
        return named | ({self.group} if self.group else set())


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What one pass has counted."""

    counts: Counts
    rows: int
    left_out: int
    features: Floats
    """Of a sample of rows, shape (m, features)."""
    disfavoured: Flags
    accepted: Flags


def tally(batches: Iterable[pa.RecordBatch], question: Question) -> Tally:
    """Count the rows.

    Raises:
        EmptyFacetError: one of the facets has no rows.
        DatasetError: a column is missing, a threshold is asked of text, or there are over 8,000 combinations of subgroup
            and label.
    """
    cells: Counter[tuple[str, bool, str, bool]] = Counter()
    nearest = Reservoir()
    rows = left_out = 0
    for batch in batches:
        flat = _flat(batch, question)
        usable = flat.drop_null()
        rows += flat.num_rows
        left_out += flat.num_rows - usable.num_rows
        counted = usable.select([GROUP, D, LABEL, ACCEPTED]).to_pandas()
        sizes = counted.groupby([GROUP, D, LABEL, ACCEPTED], sort=False).size()
        cells.update({(str(g), bool(d), str(y), bool(p)): int(n) for (g, d, y, p), n in sizes.items()})
        for part in usable.select([D, ACCEPTED, *question.features]).to_batches() if question.features else []:
            nearest.add(part)
    sample = nearest.rows().to_pandas() if nearest.rows_seen else pd.DataFrame({D: [], ACCEPTED: []})
    return Tally(
        counts=_counts(cells, question),
        rows=rows,
        left_out=left_out,
        features=sample[list(question.features)].to_numpy(np.float64),
        disfavoured=sample[D].to_numpy(np.bool_),
        accepted=sample[ACCEPTED].to_numpy(np.bool_),
    )


def _flat(batch: pa.RecordBatch, question: Question) -> pa.Table:
    for name in question.columns:
        if name not in batch.schema.names:
            raise DatasetError(f"the data have no column {name!r} (they have {', '.join(batch.schema.names[:8])})")
    label = batch[question.label.column]
    favourable = question.label.flags(label)
    accepted = pa.array(np.zeros(len(batch), dtype=np.bool_))
    if question.prediction:
        same = Choice(column=question.prediction, values=question.label.values, threshold=question.label.threshold)
        accepted = same.flags(batch[question.prediction])
    whole = pa.array(["all"] * len(batch)) if question.group is None else batch[question.group].cast(pa.string())
    # Beyond a threshold labels are two: favourable or not.
    names = class_names(pa.chunked_array([favourable if question.label.threshold is not None else label]))
    columns = {
        GROUP: whole,
        D: question.facet.flags(batch[question.facet.column]),
        LABEL: names,
        ACCEPTED: accepted,
    }
    for name in question.features:
        values = batch[name]
        if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
            raise DatasetError(f"column {name!r} holds {values.type}; the flip test finds neighbours by numbers only")
        values = values.cast(pa.float64())
        columns[name] = pc.if_else(pc.is_finite(values), values, None)
    return pa.table(columns)


def _counts(cells: Counter[tuple[str, bool, str, bool]], question: Question) -> Counts:
    facets = {disfavoured for _, disfavoured, _, _ in cells}
    if len(facets) < 2:
        which = "every" if facets == {True} else "no"
        raise EmptyFacetError(
            f"{which} row's {question.facet.column!r} is among {question.facet.words}; both facets must have rows"
        )
    groups = sorted({group for group, _, _, _ in cells})
    labels = sorted({label for _, _, label, _ in cells})
    if len(groups) * len(labels) * 4 > MAX_CELLS:
        raise DatasetError(
            f"there are {len(groups)} subgroups and {len(labels)} labels, over {MAX_CELLS} cells; choose columns with fewer "
            "values, or a threshold"
        )
    table = np.zeros((len(groups), 2, len(labels), 2))
    for (group, disfavoured, label, accepted), count in cells.items():
        table[groups.index(group), int(disfavoured), labels.index(label), int(accepted)] += count
    good = ("True",) if question.label.threshold is not None else question.label.values
    return Counts(
        cells=table,
        positive=np.array([label in good for label in labels]),
        predicted=question.prediction is not None,
        grouped=question.group is not None,
    )
