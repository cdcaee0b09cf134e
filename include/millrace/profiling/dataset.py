"""Read a folder of CSV, Parquet or JSON Lines files as a stream of bounded record batches.

Memory stays bounded by one block of text (32 MiB) or one Parquet batch (64 Ki rows), whatever the folder's size. The folders
of a partitioned prefix (`day=2026-11-21/`) are walked; their names do not become columns.

What it does not do: it does not follow links out of the folder, decompress archives, or repair a file. A CSV column's type
is what the first block of the first file shows. Where a later value contradicts it, `read_into` reads everything again with
the narrowest type that holds all values (whole number, number, text); `read_batches` alone raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from millrace.profiling.errors import DatasetError

BLOCK_BYTES = 32 * 1024 * 1024
PARQUET_BATCH_ROWS = 64 * 1024
MAX_DICTIONARY_BYTES = 64 * 1024
"""Of a column's dictionary in a row group, as it lies in the file (compressed)."""
MISSING_WORDS = ["", "NaN", "nan", "null"]
"""CSV cells that mean a missing value; `NA` is not among them, because it is also a country."""
TRANSFORMED = ".out"
"""Batch transform names its outputs `<input>.out`."""
NARROWEST_FIRST = (pa.null(), pa.int64(), pa.float64())
"""What a CSV column may still be when a value contradicts its type: what comes after it here, then text."""

InvalidRow = Callable[[Path, str], None]
"""Told the file and the text of a CSV line that has too many or too few cells."""


class Consumer(Protocol):
    """What takes batches."""

    def add(self, batch: pa.RecordBatch) -> None: ...


C = TypeVar("C", bound=Consumer)
T = TypeVar("T")


class ColumnChangesType(DatasetError):
    """A CSV file holds a value that contradicts the type of its column's first values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a folder is read."""

    exclude: Collection[str] = ()
    """Columns left out."""
    as_text: Collection[str] = ()
    """Columns read as text even where they look like numbers (codes such as `0042`)."""
    columns: Sequence[str] | None = None
    """Names for the columns of CSV files without a header line."""
    on_invalid_row: InvalidRow | None = None
    """Takes lines with too many or too few cells, which are then passed over; without it they are an error."""
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    """Types of CSV columns; the others are inferred."""
    dictionaries: bool = False
    """Text of few categories stays the dictionary and the indices that a Parquet file has for it, which is several times
    faster than text, for who does not mind the type."""


AS_IT_IS = Reading()
"""All columns, their types inferred."""


def read_into(begin: Callable[[], C], folder: Path, reading: Reading = AS_IT_IS) -> C:
    """Feed everything under `folder` to a consumer and return it.

    Where a CSV column changes its type, the folder is read again with wider types, and with a new consumer of `begin`.

    Raises:
        DatasetError: as `read_batches`.
    """
    return settled(lambda settled_reading: _fed(begin(), folder, settled_reading), folder, reading)


def settled(work: Callable[[Reading], T], folder: Path, reading: Reading = AS_IT_IS) -> T:
    """Do work that reads a folder; where a CSV column changes its type, do it once more with types that hold all values."""
    try:
        return work(reading)
    except ColumnChangesType:
        return work(replace(reading, types=column_types(folder, reading)))


def read_batches(folder: Path, reading: Reading = AS_IT_IS) -> Iterator[pa.RecordBatch]:
    """As `read_files`, without the files."""
    return (batch for _, batch in read_files(folder, reading))


def read_files(folder: Path, reading: Reading = AS_IT_IS) -> Iterator[tuple[Path, pa.RecordBatch]]:
    """The rows of every data file under `folder` with the file they are from, in the order of the file names.

    Raises:
        ColumnChangesType: a CSV column has a value that its type does not hold.
        DatasetError: the folder or its files are missing, a file cannot be read, or two files differ in columns.
    """
    first: tuple[Path, list[str]] | None = None
    for path in data_files(folder):
        for batch in _readable(path, reading):
            if not reading.types and _form(path) == ".csv":  # the other files are held to what the first one shows
                shown = {column.name: column.type for column in batch.schema if not pa.types.is_null(column.type)}
                reading = replace(reading, types=shown)
            names = [name for name in batch.schema.names if name not in reading.exclude]
            if first is None:
                _check_names(path, names)
                first = (path, names)
            if sorted(names) != sorted(first[1]):
                odd = ", ".join(sorted(set(names) ^ set(first[1])))
                raise DatasetError(
                    f"{path} and {first[0]} differ in columns ({odd}); give every file the same columns, or CSV "
                    "files without a header line their names with --columns"
                )
            yield path, batch.select(first[1])


def data_files(folder: Path) -> list[Path]:
    """The data files under `folder`, sorted; DatasetError if there is none."""
    if not folder.is_dir():
        raise DatasetError(f"the data folder {folder} does not exist; mount the dataset as a processing input there")
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith((".", "_")))
    data = [p for p in files if _form(p) in FORMS]
    if not data:
        seen = ", ".join(p.name for p in files[:5]) or "nothing"
        raise DatasetError(f"the data folder {folder} holds no {' or '.join(FORMS)} file (it holds {seen})")
    return data


def _fed(consumer: C, folder: Path, reading: Reading) -> C:
    for batch in read_batches(folder, reading):
        consumer.add(batch)
    return consumer


def _form(path: Path) -> str:
    return Path(path.name.removesuffix(TRANSFORMED)).suffix


def _readable(path: Path, reading: Reading) -> Iterator[pa.RecordBatch]:
    try:
        yield from FORMS[_form(path)](path, reading)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        text = str(error)
        if "CSV conversion error" in text and "invalid UTF8" not in text:
            raise ColumnChangesType(f"{path} cannot be read: {error}") from error
        advice = next(
            (words for sign, words in ADVICE.items() if re.search(sign, text)), "check the step that wrote it"
        )
        raise DatasetError(f"{path} cannot be read: {error}; {advice}") from error


ADVICE = {
    "straddling": f"a line is longer than {BLOCK_BYTES // 2**20} MiB: is a quote left open, or a line break missing?",
    "UTF8|UTF-8|codec": "write it in UTF-8",
    "Expected .* columns": "quote cells that hold a comma, or quarantine such lines",
    "JSON parse error": "write one JSON object a line, each field of one type",
}
"""What helps against an error of pyarrow's, by a word in its message."""


def _parquet(path: Path, reading: Reading) -> Iterator[pa.RecordBatch]:
    coded = _dictionary_columns(path) if reading.dictionaries else None
    # Buffered, its memory would grow with the file's.
    with pq.ParquetFile(path, pre_buffer=False, read_dictionary=coded) as file:
        for batch in file.iter_batches(PARQUET_BATCH_ROWS):
            yield _texts(batch, reading.as_text)


def _dictionary_columns(path: Path) -> list[str]:
    """The text columns of a file with a small dictionary in each row group.

    A writer gives up on a dictionary that grows beyond a megabyte, and goes on with plain text, which the reader would have
    to put into a dictionary again: those columns are not among them.
    """
    found = pq.read_metadata(path)
    groups = [found.row_group(number) for number in range(found.num_row_groups)]
    columns = [found.schema.column(number) for number in range(found.num_columns)]
    return [
        column.name
        for number, column in enumerate(columns)
        if str(column.logical_type) == "String"
        and column.path == column.name  # not inside a list or a struct
        and all(_has_small_dictionary(group.column(number)) for group in groups)
    ]


def _has_small_dictionary(column: pq.ColumnChunkMetaData) -> bool:
    if not column.has_dictionary_page:
        return False
    return bool(column.data_page_offset - column.dictionary_page_offset <= MAX_DICTIONARY_BYTES)


def _csv(path: Path, reading: Reading) -> Iterator[pa.RecordBatch]:
    if path.stat().st_size == 0:
        raise DatasetError(f"{path} is empty; not even a header line is there")

    def pass_over(row: pc_csv.InvalidRow) -> str:
        if reading.on_invalid_row is None:
            return "error"
        reading.on_invalid_row(path, row.text)
        return "skip"

    try:
        reader = pc_csv.open_csv(
            path,
            read_options=pc_csv.ReadOptions(
                block_size=BLOCK_BYTES, column_names=list(reading.columns) if reading.columns else None
            ),
            parse_options=pc_csv.ParseOptions(invalid_row_handler=pass_over),
            convert_options=pc_csv.ConvertOptions(
                strings_can_be_null=True,
                null_values=MISSING_WORDS,
                true_values=[],  # a column of True and False is text, in CSV as in Parquet
                false_values=[],
                column_types={**reading.types, **dict.fromkeys(reading.as_text, pa.string())},
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV file or block" in str(error):  # a header line without its line break
            return
        raise
    with reader:
        for batch in reader:
            _check_utf_8(path, batch)
            yield batch


def _check_utf_8(path: Path, batch: pa.RecordBatch) -> None:
    for column in batch.schema:
        if pa.types.is_binary(column.type):  # what pyarrow makes of text that is not UTF-8
            raise DatasetError(f"{path} is not in UTF-8 (column {column.name!r}); {ADVICE['UTF8|UTF-8|codec']}")


def _json_lines(path: Path, reading: Reading) -> Iterator[pa.RecordBatch]:
    if path.stat().st_size == 0:
        return  # no row is a whole file here, unlike a CSV file without a header line
    with pa_json.open_json(path, read_options=pa_json.ReadOptions(block_size=BLOCK_BYTES)) as reader:
        for batch in reader:
            yield _texts(batch, reading.as_text)


FORMS: Mapping[str, Callable[[Path, Reading], Iterator[pa.RecordBatch]]] = {
    ".csv": _csv,
    ".parquet": _parquet,
    ".jsonl": _json_lines,
}


def column_types(folder: Path, reading: Reading = AS_IT_IS) -> dict[str, pa.DataType]:
    """The narrowest type of every CSV column that holds all its values: everything is read as text, and cast."""
    paths = [path for path in data_files(folder) if _form(path) == ".csv"]
    untyped = replace(reading, types={}, on_invalid_row=lambda _path, _text: None)
    first = next(batch for path in paths for batch in _readable(path, untyped)).schema
    left = {column.name: _candidates(column.type) for column in first}
    as_text = replace(untyped, types=dict.fromkeys(first.names, pa.string()))
    for path in paths:
        for batch in _readable(path, as_text):
            for name, candidates in left.items():
                while len(candidates) > 1 and not _castable(batch.column(name), candidates[0]):
                    candidates.pop(0)
    return {name: candidates[0] for name, candidates in left.items()}


def _candidates(kind: pa.DataType) -> list[pa.DataType]:
    wider = NARROWEST_FIRST[NARROWEST_FIRST.index(kind) :] if kind in NARROWEST_FIRST else (kind,)
    return [*wider, pa.string()]


def _castable(column: pa.Array, kind: pa.DataType) -> bool:
    if pa.types.is_null(kind):
        return bool(column.null_count == len(column))
    try:
        pc.cast(column, kind)
    except pa.ArrowInvalid:
        return False
    return True


def _texts(batch: pa.RecordBatch, as_text: Collection[str]) -> pa.RecordBatch:
    for index, column in enumerate(batch.schema):
        kind = column.type
        if column.name in as_text and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            batch = batch.set_column(index, column.name, batch.column(index).cast(pa.string()))
    return batch


def _check_names(path: Path, names: list[str]) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled or "" in names:
        what = f"the column name {doubled[0]!r} more than once" if doubled else "a column without a name"
        raise DatasetError(f"{path} has {what}; name every column once, or pass --columns if there is no header line")
