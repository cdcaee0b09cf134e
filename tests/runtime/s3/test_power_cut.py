"""Power cuts at every moment: what was acknowledged is there, nothing half-written shows, and wrong stores are noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from millrace.runtime.s3 import multipart
from millrace.runtime.s3.blobs import Blobs, Staged
from millrace.runtime.s3.disk import Disk
from millrace.runtime.s3.records import Attributes, ObjectRecord
from millrace.runtime.s3.store import ObjectStore

from .power_cut import Recorder, cut_everywhere, record

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("small")]


@pytest.mark.parametrize("seed", range(3))
def test_a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    steps = record(tmp_path / "disk", seed, requests=20)
    assert cut_everywhere(steps, tmp_path / "disk", tmp_path / "left", seed) > 300


# --- Stores that are wrong, to see that the test can tell ------------------------------------------------------------


class ForgetsFolders(Recorder):
    def flush_folder(self, folder: Path) -> None:
        if len(folder.name) != 2:
            super().flush_folder(folder)


class ForgetsItsOwnFolder(Recorder):
    def flush_folder(self, folder: Path) -> None:
        if folder != self.root:
            super().flush_folder(folder)


class ForgetsContents(Recorder):
    def flush(self, descriptor: int) -> None: ...


class CommitsFirst(ObjectStore):
    """It names a file before the file is sealed."""

    def commit(self, bucket: str, key: str, staged: Staged, attributes: Attributes, **_settings: Any) -> ObjectRecord:
        record = ObjectRecord(
            bucket=bucket, key=key, size=staged.size, etag=staged.etag, last_modified=0, path=staged.path,
            attributes=attributes,
        )  # fmt: skip
        self._replace(record, multipart._ALWAYS)
        staged.seal()
        return record


class RemovesFirst(Blobs):
    """It removes the files that are replaced before the commit that replaces them."""

    class _Eager(list[str]):
        def __init__(self, remove: Callable[[list[str]], None]) -> None:
            self._remove = remove

        def append(self, blob: str) -> None:
            self._remove([blob])

    @contextmanager
    def adding(self, blob: str) -> Iterator[list[str]]:
        yield self._Eager(self.remove)


class DoesNotSweep(Blobs):
    def sweep(self, known: set[str]) -> int:
        return 0


@pytest.mark.parametrize("kind", [ForgetsFolders, ForgetsItsOwnFolder, ForgetsContents])
def test_a_flush_that_is_left_out_is_noticed(tmp_path: Path, kind: type[Recorder]) -> None:
    must_fail(tmp_path, ObjectStore, kind)


def test_a_commit_before_the_file_is_sealed_is_noticed(tmp_path: Path) -> None:
    must_fail(tmp_path, CommitsFirst)


@pytest.mark.parametrize("kind", [RemovesFirst, DoesNotSweep])
def test_files_that_go_too_early_or_never_are_noticed(tmp_path: Path, kind: type[Blobs], monkeypatch: Any) -> None:
    monkeypatch.setattr("millrace.runtime.s3.store.Blobs", kind)
    must_fail(tmp_path, ObjectStore)


def must_fail(tmp_path: Path, open_store: Callable[[Path, Disk], ObjectStore], kind: type[Recorder] = Recorder) -> None:
    steps = record(tmp_path / "disk", 0, 10, open_store, kind)
    with pytest.raises(AssertionError, match="losing"):
        cut_everywhere(steps, tmp_path / "disk", tmp_path / "left", 0)
