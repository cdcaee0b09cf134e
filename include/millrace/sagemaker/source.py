"""Job code as a byte-reproducible source archive: equal files, equal bytes, equal name.

The archive holds whole packages, found where they are installed and never imported, plus the parts of millrace that
their files import. It is named by its SHA-256 and uploaded once.
"""

from __future__ import annotations

import ast
import functools
import gzip
import hashlib
import importlib.util
import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUFFIXES = frozenset({".py", ".json", ".html", ".txt", ".sh"})
MAX_BYTES = 20 * 1024 * 1024


class SourceError(ValueError):
    """A package cannot be found or is too large to travel."""


@dataclass(frozen=True, slots=True)
class SourceArchive:
    """A tar.gz of job code."""

    data: bytes
    sha256: str

    @property
    def key(self) -> str:
        return f"code/{self.sha256}.tar.gz"

    def upload(self, s3: Any, bucket: str) -> str:
        """Put it where jobs find it, unless it is there, and return its URI."""
        from botocore.exceptions import ClientError

        try:
            s3.head_object(Bucket=bucket, Key=self.key)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchKey", "NotFound"):
                raise
            s3.put_object(Bucket=bucket, Key=self.key, Body=self.data)
        return f"s3://{bucket}/{self.key}"


@functools.lru_cache(maxsize=32)
def archive(packages: tuple[str, ...]) -> SourceArchive:
    """The archive of some packages, given by their dotted names.

    Raises:
        SourceError: a package is not installed, or the files are over 20 MiB.
    """
    files: dict[str, bytes] = {}
    waiting = list(packages)
    seen: set[str] = set()
    while waiting:
        package = waiting.pop()
        if package in seen:
            continue
        seen.add(package)
        for name, data in _files(package):
            files[name] = data
            if name.endswith(".py"):
                waiting += _parts_of_millrace(name, data)
    size = sum(map(len, files.values()))
    if size > MAX_BYTES:
        raise SourceError(f"the packages {', '.join(packages)} hold {size} bytes of source; at most {MAX_BYTES} travel")
    data = _packed(files)
    return SourceArchive(data, hashlib.sha256(data).hexdigest())


def _parts_of_millrace(name: str, data: bytes) -> list[str]:
    """The parts of millrace that a file imports, such as `millrace.verdict`.

    Raises:
        SourceError: the file is not Python.
    """
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError) as error:
        raise SourceError(f"{name} is not valid Python: {error}") from error
    named: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            named += (
                [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "millrace" else [node.module]
            )
    parts = {tuple(module.split(".")[:2]) for module in named if module.split(".")[0] == "millrace"}
    return [".".join(part) for part in sorted(parts)]


def _files(package: str) -> Iterator[tuple[str, bytes]]:
    """A package's files and its parents' __init__, by their path in the archive."""
    parts = package.split(".")
    folder = _folder(parts[0])
    for part in parts[1:]:
        init = folder / "__init__.py"
        if init.exists():
            yield _name(parts, folder, init), init.read_bytes()
        folder = folder / part
    if package == "millrace":  # its parts come one by one, as they are imported
        yield "millrace/__init__.py", (folder / "__init__.py").read_bytes()
        return
    if folder.with_suffix(".py").is_file():
        yield "/".join(parts) + ".py", folder.with_suffix(".py").read_bytes()
        return
    if not folder.is_dir():
        raise SourceError(f"there is no package {package!r}; it must be installed where the DAG's tasks run")
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in SUFFIXES and "__pycache__" not in path.parts:
            yield "/".join(parts) + "/" + path.relative_to(folder).as_posix(), path.read_bytes()


def _folder(top: str) -> Path:
    spec = importlib.util.find_spec(top)
    locations: Sequence[str] = list(spec.submodule_search_locations or []) if spec else []
    for location in locations:
        if Path(location).is_dir():
            return Path(location)
    raise SourceError(f"there is no package {top!r}; it must be installed where the DAG's tasks run")


def _name(parts: Sequence[str], folder: Path, path: Path) -> str:
    depth = parts.index(folder.name) + 1
    return "/".join([*parts[:depth], path.name])


def _packed(files: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in sorted(files):
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(files[name]), 0o644
                tar.addfile(member, io.BytesIO(files[name]))
    return raw.getvalue()
