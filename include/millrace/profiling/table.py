"""The columns that a job needs of the files it was given, as one table in memory.

For jobs whose data fit; whatever only looks at rows once takes `dataset.read_batches` and bounded memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from millrace.profiling.dataset import Reading, read_batches, settled
from millrace.profiling.errors import DatasetError

SHOWN = 5


def read_table(folder: Path, columns: Sequence[str]) -> pd.DataFrame:
    """These columns, in this order, of the CSV, Parquet and JSON Lines files below a folder.

    Raises:
        DatasetError: as `read_batches`; or a column is missing or of types that do not go together, or there is no row.
    """
    table = settled(lambda reading: _selected(folder, columns, reading), folder)
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _selected(folder: Path, columns: Sequence[str], reading: Reading) -> pa.Table:
    batches = []
    for batch in read_batches(folder, reading):
        _check(folder, columns, batch.schema.names)
        batches.append(batch.select(list(columns)))
    if not sum(map(len, batches)):
        raise DatasetError(f"{folder} holds no row; give it files with data")
    try:
        return pa.concat_tables(map(_as_table, batches), promote_options="permissive")
    except pa.ArrowException as error:
        raise DatasetError(f"the files of {folder} differ in the types of their columns: {error}") from error


def _as_table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])


def _check(folder: Path, columns: Sequence[str], there: Sequence[str]) -> None:
    missing = [name for name in columns if name not in there]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise DatasetError(
            f"{folder} lacks the columns {', '.join(missing[:SHOWN])}{more}; its files have "
            f"{', '.join(there[:SHOWN])}{', …' if len(there) > SHOWN else ''}"
        )
