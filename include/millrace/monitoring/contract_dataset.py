"""The dataset that a contract names, as record batches: files of batch transform or of a user, or captured inferences.

What it does not do: it tells inputs from outputs no more than the files do (`monitored_records` does).
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa

from millrace.monitoring.container_contract import Contract
from millrace.profiling.capture import Capture
from millrace.profiling.dataset import Reading, data_files, read_batches, settled
from millrace.profiling.errors import DatasetError
from millrace.profiling.json_dataset import JsonDataset
from millrace.profiling.typed_rows import typed_batches
from millrace.profiling.unreadable import Unreadable

MAX_FIRST_ROW = 1024 * 1024
"""Characters."""
Readable = tuple[Iterator[pa.RecordBatch], Unreadable]


@contextmanager
def open_batches(
    contract: Contract, names: Sequence[str] = (), as_text: Collection[str] = (), *, dictionaries: bool = False
) -> Iterator[Readable]:
    """The dataset's batches, and what of it could not be read, which is known when the last batch has been.

    Args:
        names: of columns that have none, by position.
        as_text: columns, by name or position, that hold text even where it looks like numbers.
        dictionaries: leave text of few categories as the dictionaries that Parquet files have for it.
    """
    chosen, exclude = contract.format, contract.exclude
    if chosen.kind in ("csv", "parquet"):
        with tempfile.TemporaryDirectory() as scratch:
            folder = _with_suffix(contract.source, f".{chosen.kind}", Path(scratch))
            columns = _columns(folder, contract, names)
            reading = Reading(
                exclude=exclude,
                as_text=_named(as_text, columns),
                columns=columns if chosen.kind == "csv" and not chosen.header else None,
                dictionaries=dictionaries,
            )
            if chosen.kind == "csv":
                reading = settled(partial(_read_through, folder), folder, reading)
            yield read_batches(folder, reading), Unreadable()
        return
    unreadable = Unreadable()
    as_text = {*as_text, *(f"_c{name}" for name in as_text if name.isdecimal())}
    rows = (
        JsonDataset(contract.source, by_line=chosen.by_line)
        if chosen.kind == "json"
        else Capture(contract.source, parts=chosen.parts, names=names, since=contract.since, until=contract.until)
    )

    def batches() -> Iterator[pa.RecordBatch]:
        yield from typed_batches(rows.rows, exclude=exclude, as_text=as_text)
        unreadable.count, unreadable.examples = rows.unreadable.count, rows.unreadable.examples

    yield batches(), unreadable


def _with_suffix(source: Path, suffix: str, scratch: Path) -> Path:
    """The folder of the source, or where its files have other names (batch transform's end in .out) one of links to them."""
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    if not source.is_file() and all(path.suffix == suffix for path in files):
        return source
    for index, path in enumerate(files):
        if not path.name.startswith((".", "_")):
            (scratch / f"{index:06d}{suffix}").symlink_to(path.resolve())
    return scratch


def _read_through(folder: Path, reading: Reading) -> Reading:
    """The reading, if it comes to the end: whoever takes the batches cannot begin again when a column changes its type."""
    for _ in read_batches(folder, reading):
        pass
    return reading


def _columns(folder: Path, contract: Contract, names: Sequence[str]) -> list[str]:
    """The columns of the first file; those without a header line have the given names, then `_c0`, `_c1` by position."""
    if contract.format.kind == "parquet":
        batch = next(read_batches(folder), None)
        return [] if batch is None else list(batch.schema.names)
    first = next((path for path in data_files(folder) if path.stat().st_size), None)
    if first is None:
        return list(names)
    cells = _first_row(first)
    if contract.format.header:
        return cells
    return [names[index] if index < len(names) else f"_c{index}" for index in range(len(cells))]


def _first_row(path: Path) -> list[str]:
    with path.open("r", encoding="utf-8-sig", errors="replace", newline="") as stream:
        beginning = io.StringIO(stream.read(MAX_FIRST_ROW), newline="")
    try:
        return next((cells for cells in csv.reader(beginning) if cells), [])
    except csv.Error as error:
        raise DatasetError(f"the first row of {path.name} is not CSV: {error}") from error


def _named(attributes: Collection[str], columns: Sequence[str]) -> set[str]:
    """Columns by their names; a name comes before a position.

    >>> sorted(_named(["1", "id"], ["id", "sex"]))
    ['id', 'sex']
    """
    by_position = {str(index): name for index, name in enumerate(columns)}
    return {one if one in columns else by_position.get(one, one) for one in attributes}
