"""The folder of a baseline's file, whatever the file was called in S3: who reads it asks for its usual name."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def under_its_name(path: Path, name: str) -> Iterator[Path]:
    """A folder that holds the file at `path` as `name`; where there is none, an empty one.

    Args:
        path: the file, or a folder that holds it.
    """
    if path.is_dir() or path.name == name:
        yield path if path.is_dir() else path.parent
        return
    with tempfile.TemporaryDirectory() as scratch:
        if path.is_file():
            shutil.copyfile(path, Path(scratch) / name)
        yield Path(scratch)
