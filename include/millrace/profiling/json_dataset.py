"""Read a folder of JSON files as rows: one document a line, or one a file.

Files are taken whatever their name ends in, since batch transform names its outputs `<input>.out`. A line that cannot be
read is counted and told, never dropped in silence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from millrace.profiling.errors import DatasetError
from millrace.profiling.payload import Cell, Cells, PayloadError, json_cells, rows_of
from millrace.profiling.unreadable import Unreadable

MAX_DOCUMENT_BYTES = 256 * 1024 * 1024


class JsonDataset:
    """The rows of every file under a folder; each reading counts anew.

    Args:
        folder: searched recursively; hidden files are passed over.
        by_line: every line is a document; otherwise every file is one, of 256 MiB at most.

    Raises:
        DatasetError: the folder holds no file.
    """

    def __init__(self, folder: Path, *, by_line: bool) -> None:
        self._files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith((".", "_")))
        if not self._files:
            raise DatasetError(f"the data folder {folder} holds no file; mount the dataset as a processing input there")
        self._by_line = by_line
        self.unreadable = Unreadable()

    def rows(self) -> Iterator[dict[str, Cell]]:
        self.unreadable = Unreadable()
        for path in self._files:
            for where, cells in self._documents(path):
                if isinstance(cells, PayloadError):
                    self.unreadable.note(f"{where} of {path.name}", str(cells))
                else:
                    yield {name or f"_c{index}": cell for index, (name, cell) in enumerate(cells)}

    def _documents(self, path: Path) -> Iterator[tuple[str, Cells | PayloadError]]:
        if self._by_line:
            with path.open("rb") as stream:
                for number, line in enumerate(stream, 1):
                    if line.strip():
                        yield f"line {number}", _line_cells(line)
            return
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            raise DatasetError(
                f"{path} is {path.stat().st_size} bytes and one JSON document; at most {MAX_DOCUMENT_BYTES} are read: "
                "write one document a line"
            )
        try:
            yield from (("a record", cells) for cells in rows_of(path.read_text(encoding="utf-8"), "json"))
        except (PayloadError, UnicodeDecodeError) as error:
            yield "all", PayloadError(str(error))


def _line_cells(line: bytes) -> Cells | PayloadError:
    try:
        document: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        return PayloadError(f"it is not JSON: {error}")
    return json_cells(document)
