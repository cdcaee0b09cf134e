"""The dataset that a contract names, as record batches: files of batch transform or of a user, or captured inferences.

What it does not do: it tells inputs from outputs no more than the files do (`monitored_records` does).
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from millrace.monitoring.container_contract import Contract
from millrace.profiling.capture import Capture
from millrace.profiling.dataset import Reading, read_batches
from millrace.profiling.json_dataset import JsonDataset
from millrace.profiling.typed_rows import typed_batches
from millrace.profiling.unreadable import Unreadable

Readable = tuple[Iterator[pa.RecordBatch], Unreadable]


@contextmanager
def open_batches(
    contract: Contract, names: Sequence[str] = (), as_text: Collection[str] = (), *, dictionaries: bool = False
) -> Iterator[Readable]:
    """The dataset's batches, and what of it could not be read, which is known when the last batch has been.

    Args:
        names: of columns that have none, by position.
        as_text: columns that hold text even where it looks like numbers.
        dictionaries: leave text of few categories as the dictionaries that Parquet files have for it.
    """
    chosen, exclude = contract.format, contract.exclude
    if chosen.kind in ("csv", "parquet"):
        with tempfile.TemporaryDirectory() as scratch:
            folder = _with_suffix(contract.source, f".{chosen.kind}", Path(scratch))
            columns = None if chosen.kind == "parquet" or chosen.header else _positions(folder, names)
            reading = Reading(exclude=exclude, as_text=as_text, columns=columns, dictionaries=dictionaries)
            yield read_batches(folder, reading), Unreadable()
        return
    unreadable = Unreadable()
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


def _positions(folder: Path, names: Sequence[str]) -> list[str]:
    """Names for the columns of CSV files without a header line: the given ones, then `_c0`, `_c1` by position."""
    first = next(iter(sorted(folder.rglob("*.csv"))), None)
    if first is None:
        return list(names)
    with first.open("r", encoding="utf-8", errors="replace") as stream:
        count = stream.readline(1024 * 1024).count(",") + 1
    return [names[index] if index < len(names) else f"_c{index}" for index in range(count)]
