"""What a data source of a request names: which objects, below which path, in which order, and whose share they are.

S3Prefix, ManifestFile and AugmentedManifestFile, ShuffleConfig's seed and ShardedByS3Key, after the API's pages of
S3DataSource and ShuffleConfig. What it does not do: it moves no bytes (`staging.py`, `pipes.py`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from . import staging
from .errors import JobFailed
from .s3.errors import S3Error
from .storage import Storage, StoredObject

T = TypeVar("T")
Found = list[tuple[StoredObject, str]]
Part = StoredObject | str
MAX_MANIFEST_BYTES = 256 * 1024 * 1024
REFERENCE = "-ref"
"""An attribute of an augmented manifest with this ending holds the URI of an object, not a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A data source as every kind of job has it.

    Args:
        what: how messages call it, for example `channel 'train'`.
        seed: of ShuffleConfig; None leaves S3's order.
        attributes: of an augmented manifest, in the order in which they are streamed.
    """

    what: str
    uri: str
    data_type: str = "S3Prefix"
    distribution: str = "FullyReplicated"
    seed: int | None = None
    attributes: tuple[str, ...] = ()

    def share(self, things: Sequence[T], index: int, count: int) -> list[T]:
        """What instance `index` of `count` gets: all of it, or every n-th when it is sharded."""
        return list(things[index::count] if self.distribution == "ShardedByS3Key" else things)

    def shuffled(self, things: Sequence[T], epoch: int = 0) -> list[T]:
        """In the order of an epoch: every instance computes the same one, so that their shares never overlap."""
        ordered = list(things)
        if self.seed is not None:
            # Reproducible by its seed, which is what it is for.
            random.Random(self.seed + epoch).shuffle(ordered)  # noqa: S311
        return ordered

    def find(self, storage: Storage) -> Found:
        """Its objects, each with its path below the channel's folder.

        Raises:
            JobFailed: nothing is there, or the manifest cannot be used.
        """
        if self.data_type == "ManifestFile":
            return self.shuffled(_in_manifest(storage, self.uri, self.what))
        return self.shuffled(staging.find(storage, self.uri, self.what))

    def records(self, storage: Storage) -> list[list[Part]]:
        """What is streamed, record by record: an object each, or the attributes of an augmented manifest's line.

        Raises:
            JobFailed: nothing is there, or the manifest cannot be used.
        """
        if self.data_type == "AugmentedManifestFile":
            return _in_augmented_manifest(storage, self.uri, self.attributes, self.what)
        found = _in_manifest(storage, self.uri, self.what) if self.data_type == "ManifestFile" else None
        return [[record] for record, _ in found or staging.find(storage, self.uri, self.what)]


def _in_manifest(storage: Storage, uri: str, what: str) -> Found:
    """`[{"prefix": "s3://bucket/folder/"}, "relative/path-1", …]`."""
    try:
        rows = json.loads(_text(storage, uri, what))
    except ValueError as error:
        raise JobFailed(f"ClientError: {what}: the manifest {uri} is not JSON: {error}") from error
    prefix = rows[0].get("prefix") if isinstance(rows, list) and rows and isinstance(rows[0], Mapping) else None
    if not isinstance(prefix, str) or not all(isinstance(row, str) for row in rows[1:]):
        raise JobFailed(
            f'ClientError: {what}: the manifest {uri} must be a list like [{{"prefix": "s3://bucket/folder/"}}, '
            f'"path-1", "path-2"], and it begins with {json.dumps(rows)[:80]}'
        )
    if not rows[1:]:
        raise JobFailed(f"ClientError: {what}: the manifest {uri} names no object behind its prefix")
    return [(_object(storage, prefix + relative, f"{what}: the manifest {uri}"), relative) for relative in rows[1:]]


def _in_augmented_manifest(storage: Storage, uri: str, attributes: Sequence[str], what: str) -> list[list[Part]]:
    """One JSON object a line; of each the named attributes, in their order."""
    records: list[list[Part]] = []
    for number, line in enumerate(_text(storage, uri, what).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{what}: line {number} of the augmented manifest {uri}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise JobFailed(f"ClientError: {where} is not JSON: {error}") from error
        missing = [name for name in attributes if not isinstance(row, dict) or name not in row]
        if missing:
            raise JobFailed(f"ClientError: {where} has no attribute {missing[0]!r}; it holds {line[:80]}")
        records.append([_part(storage, name, row[name], where) for name in attributes])
    if not records:
        raise JobFailed(f"ClientError: {what}: the augmented manifest {uri} is empty")
    return records


def _part(storage: Storage, name: str, value: Any, where: str) -> Part:
    if name.endswith(REFERENCE):
        if not isinstance(value, str):
            raise JobFailed(f"ClientError: {where}: {name!r} must be an S3 URI, and it is {json.dumps(value)[:80]}")
        return _object(storage, value, where)
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _object(storage: Storage, uri: str, where: str) -> StoredObject:
    try:
        return storage.head(*staging.parse_uri(uri))
    except S3Error as error:
        raise JobFailed(f"ClientError: {where} names {uri}, which is not there: {error.message}") from error


def _text(storage: Storage, uri: str, what: str) -> str:
    record = _object(storage, uri, what)
    if record.size > MAX_MANIFEST_BYTES:
        raise JobFailed(
            f"ClientError: {what}: the manifest {uri} has {record.size} bytes; this runtime reads at most "
            f"{MAX_MANIFEST_BYTES}. Split it into several channels"
        )
    try:
        with storage.open(record.bucket, record.key) as stream:
            return stream.read().decode()
    except UnicodeDecodeError as error:
        raise JobFailed(f"ClientError: {what}: the manifest {uri} is not UTF-8: {error}") from error
    except S3Error as error:
        raise JobFailed(f"ClientError: {what}: the manifest {uri} cannot be read: {error.message}") from error
