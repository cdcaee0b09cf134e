"""What lies at an S3 URI, as content: relative keys with ETags and sizes, in memory that does not grow with their number.

Two places with equal content have equal contents here: bucket and prefix are left out. ETags are taken, not version ids: a
listing brings a thousand of them a call whether or not the bucket is versioned, where versions would mean reading every
old one too, and writing the same bytes again makes a new version. An ETag changes with the bytes; that it may also change
without them (another part size, KMS) costs a run and never gives a wrong result.

What it does not do: it reads no object but a manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

HELD_BYTES = 128 * 1024
"""Of names and values, for each input; more is one digest. With some 20 inputs a record stays far below its limit."""
HELD_NAME = 1_024
"""Characters: S3's longest key. A longer name comes from elsewhere, and is no name for a person to read."""
MANIFEST_BYTES = 4 * 1024 * 1024
MANIFEST_ENTRIES = 1_000
"""Each is a request of its own, where a prefix has a thousand objects a request."""


class ListingError(ValueError):
    """A place's content cannot be told; the message says why."""


class TooMany(ListingError):
    """More objects lie there than were asked about."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The named parts of one place: a digest over all, and each of them as long as they are few."""

    count: int
    digest: str
    parts: Mapping[str, str] | None
    """Name to ETag and size, or whatever else tells one content from another; None when there are too many to hold."""

    def components(self, place: str) -> dict[str, str]:
        if self.parts is None:
            return {place: f"{self.count} objects, sha256 {self.digest}"}
        return {f"{place}: {name}": value for name, value in self.parts.items()}


def collect(parts: Iterable[tuple[str, str]], at_most: int | None = None) -> Contents:
    """Contents of parts that come one by one.

    Raises:
        TooMany: there are more than `at_most`.
        ListingError: two of those held have one name.
    """
    held: dict[str, str] | None = {}
    running, count, size = hashlib.sha256(), 0, 0
    for name, value in parts:
        count += 1
        if at_most is not None and count > at_most:
            raise TooMany(f"there are more than {at_most} objects")
        line = json.dumps([name, value]).encode()
        running.update(line + b"\n")
        if held is None:
            continue
        if name in held:
            raise ListingError(f"two objects would both be {name!r} in the job; end the S3 URI with a slash")
        held[name] = value
        size += len(line)
        if size > HELD_BYTES or len(name) > HELD_NAME:
            held = None
    return Contents(count, running.hexdigest(), held)


def parse_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an S3 URI.

    Raises:
        ListingError: it is not one.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise ListingError(f"{uri!r} is not an S3 URI; it must look like s3://bucket/key")
    return bucket, key


def list_prefix(s3: Any, uri: str) -> Contents:
    """What SageMaker reads with `S3Prefix`: every key that begins with the URI's, also the object of that very key.

    Raises:
        ListingError: it is not an S3 URI, or two objects have one name.
        botocore.exceptions.ClientError: S3 refused the listing.
    """
    bucket, prefix = parse_uri(uri)
    return collect((_relative(prefix, item["Key"]), _content(item)) for item in _objects(s3, bucket, prefix))


def list_folder(s3: Any, uri: str, at_most: int) -> Contents:
    """What lies below a URI that is meant as a folder, where a job has written.

    Raises:
        TooMany: more than `at_most` objects.
        ListingError: it is not an S3 URI.
        botocore.exceptions.ClientError: S3 refused the listing.
    """
    bucket, key = parse_uri(uri)
    folder = f"{key.rstrip('/')}/" if key.rstrip("/") else ""
    found = _objects(s3, bucket, folder)
    return collect(((item["Key"][len(folder) :], _content(item)) for item in found), at_most)


def list_manifest(s3: Any, uri: str) -> Contents:
    """The objects that a manifest names: `[{"prefix": "s3://bucket/folder/"}, "key", ...]`.

    Raises:
        ListingError: it is no such manifest, names too many objects, or one is not there.
        botocore.exceptions.ClientError: S3 refused to give it out.
    """
    bucket, key = parse_uri(uri)
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read(MANIFEST_BYTES + 1)
    try:
        manifest: Any = json.loads(body) if len(body) <= MANIFEST_BYTES else None
        prefix, names = manifest[0]["prefix"], manifest[1:]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ListingError(
            f'the manifest {uri} is not a list that begins with {{"prefix": "s3://..."}}, of at most '
            f"{MANIFEST_BYTES} bytes"
        ) from error
    if not isinstance(prefix, str) or not all(isinstance(name, str) for name in names):
        raise ListingError(f"the manifest {uri} must hold a prefix and keys, all of them strings")
    if len(names) > MANIFEST_ENTRIES:
        raise ListingError(f"the manifest {uri} names {len(names)} objects; at most {MANIFEST_ENTRIES} are looked at")
    order = hashlib.sha256(json.dumps(names).encode()).hexdigest()
    return collect([("the manifest's order", order), *((name, object_content(s3, prefix + name)) for name in names)])


def object_content(s3: Any, uri: str) -> str:
    """ETag and size of one object. It is listed, not read: the right to list is enough.

    Raises:
        ListingError: it is not there.
        botocore.exceptions.ClientError: S3 refused the listing.
    """
    bucket, key = parse_uri(uri)
    page = s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)  # the key itself sorts first below itself
    for item in page.get("Contents", ()):
        if item["Key"] == key:
            return _content(item)
    raise ListingError(f"there is no object {uri}")


def list_object(s3: Any, uri: str) -> Contents:
    """One object, by its exact URI.

    Raises:
        ListingError: it is not there.
        botocore.exceptions.ClientError: S3 refused the listing.
    """
    return collect([(uri.rpartition("/")[2], object_content(s3, uri))])


LISTERS: Mapping[str, Callable[[Any, str], Contents]] = {
    "S3Prefix": list_prefix,
    "ManifestFile": list_manifest,
    "S3Object": list_object,
}
"""By SageMaker's S3DataType."""


def _objects(s3: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", ()):
            if not item["Key"].endswith("/"):  # a folder marker holds nothing
                yield item


def _content(item: Mapping[str, Any]) -> str:
    return f"{item['ETag'].strip(chr(34))} {item['Size']}"


def _relative(prefix: str, key: str) -> str:
    """The key as the job sees it. Prefixes are plain strings: `data/tr` also finds `data/train/x`, which is `train/x`."""
    if key == prefix:
        return key.rpartition("/")[2]
    if not prefix or prefix.endswith("/"):
        return key[len(prefix) :]
    if key.startswith(f"{prefix}/"):
        return key[len(prefix) + 1 :]
    return key[prefix.rfind("/") + 1 :]
