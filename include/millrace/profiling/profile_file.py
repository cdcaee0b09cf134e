"""`profile.json`: a profile as it is, so that profiles of shards, hosts and days can be merged later without the rows.

With it stands what it is a profile of: every file's name, size and SHA-256, so that the same rows are not counted twice.
What it does not do: it is no Model Monitor file; `statistics_file` writes what others read, which cannot be merged.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasketches import frequent_strings_sketch, hll_sketch

from millrace.profiling.dataset import data_files
from millrace.profiling.distinct import DistinctNumbers, K
from millrace.profiling.errors import DatasetError, FormatError
from millrace.profiling.moments import Moments
from millrace.profiling.profile import ColumnProfile, DatasetProfile, NumericProfile, TextProfile, UnknownProfile
from millrace.profiling.quantiles import QuantileSketch
from millrace.profiling.untrusted_json import Field, read_document

FILE_NAME = "profile.json"
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file whose rows are in a profile."""

    name: str
    """Below the data folder."""
    size: int
    """In bytes."""
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredProfile:
    """A profile and what it is of."""

    files: tuple[SourceFile, ...]
    profile: DatasetProfile

    def merged(self, other: StoredProfile) -> StoredProfile:
        """Both in one; this one's profile takes the other's in.

        Raises:
            DatasetError: they have a file in common, or differ in columns or types.
        """
        known = {file.sha256: file.name for file in self.files}
        twice = next((file for file in other.files if file.sha256 in known), None)
        if twice:
            raise DatasetError(
                f"{twice.name} and {known[twice.sha256]} hold the same bytes; merge profiles of different rows only"
            )
        self.profile.merge(other.profile)
        return StoredProfile(files=(*self.files, *other.files), profile=self.profile)


def identity(folder: Path) -> tuple[SourceFile, ...]:
    """The data files under `folder`."""
    found = []
    for path in data_files(folder):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found.append(SourceFile(name=path.relative_to(folder).as_posix(), size=path.stat().st_size, sha256=digest))
    return tuple(found)


def write_profile(folder: Path, stored: StoredProfile) -> Path:
    """Write `profile.json` into `folder` and return its path."""
    document = {
        "version": VERSION,
        "files": [asdict(file) for file in stored.files],
        "rows": stored.profile.rows,
        "columns": [{"name": name, **_written(column)} for name, column in stored.profile.columns.items()],
    }
    path = folder / FILE_NAME
    path.write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
    return path


def read_profile(path: Path) -> StoredProfile:
    """The profile in a file.

    Raises:
        FormatError: the file is missing, not of this form, or its sketches do not fit its counts.
    """
    document = read_document(path)
    version = document["version"].count()
    if version != VERSION:
        raise FormatError(
            f"{path} is of version {version}; this Millrace reads version {VERSION}: profile the data again"
        )
    profile = DatasetProfile()
    profile.rows = document["rows"].count()
    for field in document["columns"].items():
        name = field["name"].text()
        profile.columns[name] = _READERS[field["kind"].text(one_of=tuple(_READERS))](name, field)
    files = tuple(
        SourceFile(name=file["name"].text(), size=file["size"].count(), sha256=file["sha256"].text())
        for file in document["files"].items()
    )
    return StoredProfile(files=files, profile=profile)


def _written(column: ColumnProfile) -> dict[str, Any]:
    if isinstance(column, UnknownProfile):
        return {"kind": "unknown", "present": column.present, "missing": column.missing}
    if isinstance(column, TextProfile):
        frequent = None if column.frequent is None else _text(column.frequent.serialize())
        return {
            "kind": "text", "present": column.present, "missing": column.missing, "categories": dict(column.categories),
            "frequent": frequent, "distinct": _text(column.distinct.serialize_compact()),
            "lengths": _moments(column.lengths),
        }  # fmt: skip
    single, sixteen = column.quantiles.to_bytes()
    return {
        "kind": "numbers", "missing": column.missing, "integral": column.integral,
        "declared_integral": column.declared_integral, "moments": _moments(column.moments),
        "single": _text(single), "sixteen": _text(sixteen), "distinct": _text(column.distinct.smallest.tobytes()),
    }  # fmt: skip


def _moments(moments: Moments) -> dict[str, float] | None:
    return asdict(moments) if moments.count else None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _read_unknown(name: str, field: Field) -> UnknownProfile:
    column = UnknownProfile(name)
    column.present, column.missing = field["present"].count(), field["missing"].count()
    return column


def _read_text(name: str, field: Field) -> TextProfile:
    column = TextProfile(name)
    column.present, column.missing = field["present"].count(), field["missing"].count()
    column.categories = Counter(field["categories"].counts())
    column.distinct = _sketch(field["distinct"], hll_sketch.deserialize)
    column.lengths = _read_moments(field, "lengths")
    if field.has("frequent"):
        column.frequent = _sketch(field["frequent"], frequent_strings_sketch.deserialize)
    return column


def _read_numbers(name: str, field: Field) -> NumericProfile:
    column = NumericProfile(name)
    column.missing, column.integral = field["missing"].count(), field["integral"].count()
    column.declared_integral = field["declared_integral"].boolean()
    column.moments = _read_moments(field, "moments")
    sixteen = _bytes(field["sixteen"])
    column.quantiles = _sketch(field["single"], lambda single: QuantileSketch.from_bytes(single, sixteen))
    column.distinct = DistinctNumbers(_sketch(field["distinct"], lambda data: np.frombuffer(data, dtype=np.uint64))[:K])
    if column.quantiles.rows != column.moments.count:
        raise FormatError(
            f"{field.where} sketches {column.quantiles.rows} rows and counts {column.moments.count}; profile the data again"
        )
    return column


_READERS: Mapping[str, Callable[[str, Field], ColumnProfile]] = {
    "numbers": _read_numbers,
    "text": _read_text,
    "unknown": _read_unknown,
}


def _read_moments(field: Field, key: str) -> Moments:
    if not field.has(key):
        return Moments()
    found = field[key]
    return Moments(
        count=found["count"].count(),
        mean=found["mean"].number(),
        squares=found["squares"].number(low=0),
        minimum=found["minimum"].number(),
        maximum=found["maximum"].number(),
    )


def _bytes(field: Field) -> bytes:
    try:
        return binascii.a2b_base64(field.text(), strict_mode=True)
    except ValueError as error:
        raise FormatError(f"{field.where} is not base64: {error}") from error


def _sketch(field: Field, deserialize: Any) -> Any:
    """What the library makes of the bytes; it checks them, and says so in exceptions of several kinds."""
    data = _bytes(field)
    try:
        return deserialize(data)
    except (RuntimeError, ValueError, IndexError) as error:
        raise FormatError(f"{field.where} is not a sketch: {error}; profile the data again") from error
