"""Between S3 and a job's folders: inputs in, outputs out.

Inputs are linked only where the job cannot write through the link (a read-only bind under bubblewrap without
capabilities); everywhere else they are copied. Outputs are read after every process of the job is dead, and nothing
that a job could plant there is followed: no symbolic link, no device, no FIFO.

What it does not do: it neither splits nor parses data, and it does not know which S3 holds it (`storage.py`).
"""

from __future__ import annotations

import gzip
import mimetypes
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from .errors import JobFailed
from .s3.errors import S3Error
from .storage import Storage, StoredObject

MAX_UNPACKED_BYTES = 50 * 1024**3
MAX_UNPACKED_MEMBERS = 500_000


def parse_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` URI.

    Raises:
        JobFailed: it is not one.
    """
    try:
        parts = urlsplit(uri)
        uri.encode()
    except ValueError as error:
        raise JobFailed(f"ClientError: {uri!r} is not an S3 URI: {error}") from error
    if parts.scheme != "s3" or not parts.netloc:
        raise JobFailed(f"ClientError: {uri!r} is not an S3 URI; it must look like s3://bucket/key")
    return parts.netloc, uri[len("s3://") + len(parts.netloc) + 1 :]


def find(storage: Storage, uri: str, what: str, *, may_be_empty: bool = False) -> list[tuple[StoredObject, str]]:
    """The objects under an S3 prefix, each with its path below it. A prefix that names one object finds that one.

    Raises:
        JobFailed: the bucket is not there, or nothing lies under the prefix.
    """
    bucket, prefix = parse_uri(uri)
    try:
        records = list(storage.list_keys(bucket, prefix))
    except S3Error as error:
        raise JobFailed(f"ClientError: {what}: {error.message} (bucket {bucket!r} of {uri})") from error
    found = []
    for record in records:
        if record.key.endswith("/"):
            continue  # a folder marker
        if record.key == prefix:
            relative = record.key.rpartition("/")[2]
        else:
            # S3 prefixes are plain strings: `data/tr` also finds `data/train/x`. SageMaker keeps what follows the
            # last slash of the prefix.
            folder = prefix if prefix.endswith("/") or not prefix else prefix.rpartition("/")[0] + "/"
            if record.key.startswith(prefix + "/"):
                folder = prefix + "/"
            relative = record.key[len(folder) :] if folder != "/" else record.key
        found.append((record, relative))
    if not found and not may_be_empty:
        raise JobFailed(
            f"ClientError: {what}: no S3 object found at {uri}. Check the URI, and that the step before wrote its output"
        )
    return found


def materialise(storage: Storage, found: Sequence[tuple[StoredObject, str]], folder: Path, *, link: bool) -> None:
    """Put objects below `folder`, by hard link when `link` and the storage can, else by copy.

    Raises:
        JobFailed: a key would leave the folder, or one key is a folder of another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    targets = _targets(found, folder)
    if storage.places_at_once == 1:
        for record, target in targets:
            place(record, target, link=link)
        return
    with ThreadPoolExecutor(storage.places_at_once) as threads:
        try:
            for placed in [threads.submit(place, record, target, link=link) for record, target in targets]:
                placed.result()
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _targets(found: Sequence[tuple[StoredObject, str]], folder: Path) -> Iterator[tuple[StoredObject, Path]]:
    """Where each object goes; the folders on the way there are made."""
    taken: set[Path] = set()
    for record, relative in found:
        parts = Path(relative).parts
        if Path(relative).is_absolute() or ".." in parts or "\0" in relative:
            raise JobFailed(f"ClientError: the key {record.key!r} would leave the input folder; rename the object")
        target = folder / relative
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target in taken or target.exists():
                raise JobFailed(
                    f"ClientError: {record.key!r} and another key below the same prefix are both {relative!r}; end the "
                    "S3 URI with a slash, or rename one"
                )
        except OSError as error:
            raise JobFailed(f"ClientError: {record.key!r} cannot be put at {relative!r}: {error.strerror}") from error
        taken.add(target)
        yield record, target


def place(record: StoredObject, target: Path, *, link: bool) -> None:
    """Put one object's bytes at a path, by hard link when `link` and the storage can, else by copy.

    Raises:
        JobFailed: the object is gone, or the path cannot be written.
    """
    try:
        record.place(target, link=link)
    except S3Error as error:
        raise JobFailed(f"ClientError: {record.key!r} cannot be read: {error.message}") from error
    except FileNotFoundError as error:
        raise JobFailed(f"ClientError: {record.key!r} was deleted while the job was starting") from error
    except OSError as error:
        raise JobFailed(f"ClientError: {record.key!r} cannot be put at {target.name!r}: {error.strerror}") from error


def unpack_archive(stream: BinaryIO, folder: Path, what: str) -> None:
    """Unpack a tar.gz from outside, refusing what would leave the folder or fill the disk.

    Raises:
        JobFailed: it is no tar.gz, a member is unsafe, or it is larger than 50 GiB unpacked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    total = 0
    try:
        with tarfile.open(fileobj=stream, mode="r:gz") as archive:
            for count, member in enumerate(archive, start=1):
                total += member.size
                if total > MAX_UNPACKED_BYTES or count > MAX_UNPACKED_MEMBERS:
                    raise JobFailed(
                        f"ClientError: {what} unpacks to more than {MAX_UNPACKED_BYTES >> 30} GiB or "
                        f"{MAX_UNPACKED_MEMBERS} files; it is refused"
                    )
                archive.extract(member, folder, filter="data")
            # tarfile stops at its end mark; what follows holds the checksum of all that was read.
            while archive.fileobj is not None and archive.fileobj.read(1024 * 1024):
                pass
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, OSError) as error:
        raise JobFailed(f"ClientError: {what} cannot be unpacked as tar.gz: {error}") from error


def regular_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Regular files below a job's folder with their relative paths, sorted; links and devices are left out."""
    for root, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        for name in sorted(names):
            path = Path(root) / name
            if stat.S_ISREG(path.lstat().st_mode):
                yield path, path.relative_to(folder).as_posix()


def upload_folder(storage: Storage, folder: Path, uri: str) -> int:
    """Upload the regular files below a folder to a prefix and return how many there were.

    Raises:
        JobFailed: the bucket is not there or a key is too long.
    """
    bucket, prefix = parse_uri(uri)
    count = 0
    for path, relative in regular_files(folder):
        key = f"{prefix.rstrip('/')}/{relative}" if prefix.rstrip("/") else relative
        upload_file(storage, path, f"s3://{bucket}/{key}")
        count += 1
    return count


def upload_file(storage: Storage, path: Path, uri: str) -> None:
    """Upload one file, with a content type by its name.

    Raises:
        JobFailed: the bucket is not there or the key is too long.
    """
    bucket, key = parse_uri(uri)
    content_type = mimetypes.guess_type(path.name)[0] or "binary/octet-stream"
    try:
        storage.put_file(bucket, key, path, content_type=content_type)
    except S3Error as error:
        raise JobFailed(f"ClientError: the output {uri} cannot be written: {error.message}") from error


def upload_archive(storage: Storage, folders: list[Path], uri: str, scratch: Path) -> bool:
    """Merge folders into one tar.gz and upload it; False when they hold no file.

    Raises:
        JobFailed: the bucket is not there or the key is too long.
    """
    seen: set[str] = set()
    with scratch.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for folder in folders:
                for path, relative in regular_files(folder):
                    if relative not in seen:
                        seen.add(relative)
                        _add(archive, path, relative)
    try:
        if seen:
            upload_file(storage, scratch, uri)
    finally:
        scratch.unlink()
    return bool(seen)


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    member = tarfile.TarInfo(name)
    with path.open("rb") as stream:
        status = os.fstat(stream.fileno())
        member.size, member.mtime, member.mode = status.st_size, int(status.st_mtime), status.st_mode & 0o755
        archive.addfile(member, stream)
