"""Folders that are kept in S3 while somebody writes them, and somebody who means no good."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from millrace.runtime.errors import JobFailed
from millrace.runtime.folder_sync import FolderSync
from tests.runtime.storages import Stock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "ml/checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def sync(stock: Stock, folder: Path) -> FolderSync:
    return FolderSync(stock.storage, folder.parent, "checkpoints", "s3://bucket/kept")


def test_file_is_uploaded_once_it_has_stopped_changing(stock: Stock, folder: Path, sync: FolderSync) -> None:
    (folder / "epoch-1").mkdir()
    (folder / "epoch-1/a.pt").write_bytes(b"half")
    assert sync.look() == 0
    (folder / "epoch-1/a.pt").write_bytes(b"half and more")
    assert sync.look() == 0
    assert sync.look() == 1
    assert sync.look() == 0
    assert stock.contents() == {"kept/epoch-1/a.pt": b"half and more"}


def test_last_look_waits_for_nothing(stock: Stock, folder: Path, sync: FolderSync) -> None:
    (folder / "a.pt").write_bytes(b"saved at the end")
    assert sync.look(final=True) == 1
    assert stock.contents() == {"kept/a.pt": b"saved at the end"}


def test_changed_file_is_uploaded_again_and_a_removed_one_stays_in_s3(
    stock: Stock, folder: Path, sync: FolderSync
) -> None:
    for name in ("a.pt", "b.pt"):
        (folder / name).write_bytes(b"1")
    sync.look(final=True)
    (folder / "a.pt").write_bytes(b"22")
    (folder / "b.pt").unlink()
    assert sync.look(final=True) == 1
    assert stock.contents() == {"kept/a.pt": b"22", "kept/b.pt": b"1"}


def test_links_and_pipes_are_not_followed(stock: Stock, folder: Path, sync: FolderSync, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("not the job's")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/b.pt").write_text("not the job's")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path / "outside")
    os.mkfifo(folder / "pipe")
    assert sync.look(final=True) == 0
    assert stock.contents() == {}


def test_folder_that_became_a_link_is_not_entered(stock: Stock, folder: Path, sync: FolderSync, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/b.pt").write_text("not the job's")
    folder.rmdir()
    folder.symlink_to(tmp_path / "outside")
    assert sync.look(final=True) == 0
    assert stock.contents() == {}


def test_folder_that_is_not_there_yet_is_no_error(stock: Stock, folder: Path, sync: FolderSync) -> None:
    folder.rmdir()
    assert sync.look() == 0


def test_bucket_that_is_not_there_names_the_uri(stock: Stock, folder: Path) -> None:
    (folder / "a.pt").write_bytes(b"1")
    with pytest.raises(JobFailed, match="s3://nowhere/kept cannot be written"):
        FolderSync(stock.storage, folder.parent, "checkpoints", "s3://nowhere/kept").look(final=True)
