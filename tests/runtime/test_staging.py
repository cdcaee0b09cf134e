"""Between S3 and a job's folders: objects land where their keys say and nowhere else, and nothing planted is followed."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.runtime import staging
from millrace.runtime.errors import JobFailed
from tests.runtime.jobs import archive
from tests.runtime.storages import OwnStock, Stock


@pytest.fixture
def put(stock: Stock) -> Callable[..., None]:
    def put(*keys: str, body: bytes | None = None) -> None:
        for key in keys:
            stock.put(key, key.encode() if body is None else body)

    return put


def stage(stock: Stock, uri: str, folder: Path, *, link: bool = False) -> dict[str, bytes]:
    """What lies in a folder after an input was put there."""
    staging.materialise(stock.storage, staging.find(stock.storage, uri, "input 'data'"), folder, link=link)
    return tree(folder)


def tree(folder: Path) -> dict[str, bytes]:
    return {relative: path.read_bytes() for path, relative in staging.regular_files(folder)}


@pytest.mark.parametrize(
    ("uri", "parts"),
    [("s3://bucket/a/b", ("bucket", "a/b")), ("s3://bucket", ("bucket", "")), ("s3://bucket/", ("bucket", "")),
     ("s3://bucket/a?b#c", ("bucket", "a?b#c")), ("s3://bucket//a", ("bucket", "/a"))],
)  # fmt: skip
def test_uris_are_bucket_and_key(uri: str, parts: tuple[str, str]) -> None:
    assert staging.parse_uri(uri) == parts


@pytest.mark.parametrize("uri", ["https://bucket/key", "s3:/bucket/key", "/local/file", "", "s3://", "S3//bucket"])
def test_what_is_no_s3_uri_is_refused_with_its_value(uri: str) -> None:
    with pytest.raises(JobFailed, match="is not an S3 URI; it must look like s3://bucket/key") as caught:
        staging.parse_uri(uri)
    assert repr(uri) in str(caught.value)


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("link", [True, False])
def test_objects_under_a_prefix_keep_their_paths_below_it(
    stock: Stock, put: Callable[..., None], tmp_path: Path, slash: str, link: bool
) -> None:
    put("data/train/a.csv", "data/train/deep/b.csv", "data/other.csv")
    assert stage(stock, f"s3://bucket/data/train{slash}", tmp_path / "in", link=link) == {
        "a.csv": b"data/train/a.csv", "deep/b.csv": b"data/train/deep/b.csv",
    }  # fmt: skip


def test_a_uri_that_names_one_object_stages_that_one(stock: Stock, put: Callable[..., None], tmp_path: Path) -> None:
    put("data/a.csv", "data/b.csv")
    assert stage(stock, "s3://bucket/data/a.csv", tmp_path / "in") == {"a.csv": b"data/a.csv"}


def test_a_prefix_is_a_plain_string_and_what_follows_its_last_slash_is_kept(
    stock: Stock, put: Callable[..., None], tmp_path: Path
) -> None:
    put("data/train/a", "data/trial", "data/x")
    assert stage(stock, "s3://bucket/data/tr", tmp_path / "in") == {"train/a": b"data/train/a", "trial": b"data/trial"}


def test_a_whole_bucket_is_staged_under_its_keys(stock: Stock, put: Callable[..., None], tmp_path: Path) -> None:
    put("a", "b/c")
    assert stage(stock, "s3://bucket", tmp_path / "in") == {"a": b"a", "b/c": b"b/c"}


def test_folder_markers_are_no_files(stock: Stock, put: Callable[..., None], tmp_path: Path) -> None:
    put("data/", "data/sub/", "data/a")
    assert stage(stock, "s3://bucket/data/", tmp_path / "in") == {"a": b"data/a"}


@pytest.mark.parametrize("uri", ["s3://bucket/nothing", "s3://no-such-bucket/data"])
def test_an_input_that_is_not_there_names_the_input_and_the_uri(stock: Stock, uri: str) -> None:
    with pytest.raises(JobFailed, match="input 'data'") as caught:
        staging.find(stock.storage, uri, "input 'data'")
    assert uri in str(caught.value)


@pytest.mark.parametrize("key", ["../../escape", "data/../../escape", "..", "data//../../escape"])
@pytest.mark.parametrize("link", [True, False])
def test_a_key_that_would_leave_the_folder_is_refused_by_name(
    stock: Stock, put: Callable[..., None], tmp_path: Path, key: str, link: bool
) -> None:
    put(key)
    with pytest.raises(JobFailed, match="would leave the input folder; rename the object") as caught:
        stage(stock, "s3://bucket", tmp_path / "deep/er/in", link=link)
    assert repr(key) in str(caught.value)
    assert not list(tmp_path.rglob("escape"))


def test_a_key_with_a_leading_slash_is_refused_and_the_root_is_not_written(
    stock: Stock, put: Callable[..., None], tmp_path: Path
) -> None:
    put("data//etc/passwd")
    found = [(record, "/etc/passwd") for record, _ in staging.find(stock.storage, "s3://bucket/data", "input")]
    with pytest.raises(JobFailed, match="would leave the input folder"):
        staging.materialise(stock.storage, found, tmp_path / "in", link=False)


@pytest.mark.parametrize("link", [True, False])
def test_a_key_that_is_a_folder_of_another_is_refused(
    stock: Stock, put: Callable[..., None], tmp_path: Path, link: bool
) -> None:
    put("data/a", "data/a/b")
    with pytest.raises(JobFailed, match="cannot be put at"):
        stage(stock, "s3://bucket/data/", tmp_path / "in", link=link)


def test_copies_are_files_of_their_own_and_links_are_the_objects_bytes(
    stock: Stock, put: Callable[..., None], tmp_path: Path
) -> None:
    put("data/a", body=b"original")
    stage(stock, "s3://bucket/data/", tmp_path / "copy")
    stage(stock, "s3://bucket/data/", tmp_path / "link", link=True)
    if isinstance(stock, OwnStock):  # another S3 has no file to link
        assert stock.store.head("bucket", "data/a").path.samefile(tmp_path / "link/a")
    (tmp_path / "copy/a").write_bytes(b"changed by the job")
    assert stock.contents() == {"data/a": b"original"}


def test_an_object_that_was_deleted_meanwhile_fails_by_name(
    stock: Stock, put: Callable[..., None], tmp_path: Path
) -> None:
    put("data/a")
    found = staging.find(stock.storage, "s3://bucket/data/", "input")
    stock.delete("data/a")
    with pytest.raises(JobFailed, match="'data/a' was deleted while the job was starting"):
        staging.materialise(stock.storage, found, tmp_path / "in", link=False)


def packed(*members: tarfile.TarInfo, body: bytes = b"") -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(body) if member.isreg() else None)
    return raw.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o644
    return info


def unpack(data: bytes, tmp_path: Path) -> Path:
    staging.unpack_archive(io.BytesIO(data), tmp_path / "deep/model", "the model data s3://bucket/m")
    return tmp_path / "deep/model"


def test_an_archive_is_unpacked_whole(tmp_path: Path) -> None:
    assert tree(unpack(archive({"code/inference.py": "x", "weights": "w"}), tmp_path)) == {
        "code/inference.py": b"x", "weights": b"w",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["../escape", "a/../../escape", "/../escape"])
def test_a_member_that_would_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    if name.startswith("/"):  # a leading slash is taken off, as by tar; what is left must still stay inside
        name = f"/..{name}"
    with pytest.raises(JobFailed, match="the model data s3://bucket/m cannot be unpacked"):
        unpack(packed(member(name)), tmp_path)
    assert not list(tmp_path.rglob("escape"))


@pytest.mark.parametrize(
    ("kind", "target"),
    [(tarfile.SYMTYPE, "/etc/passwd"), (tarfile.SYMTYPE, "../../outside"), (tarfile.LNKTYPE, "../../outside"),
     (tarfile.FIFOTYPE, ""), (tarfile.CHRTYPE, ""), (tarfile.BLKTYPE, "")],
    ids=["absolute link", "link outside", "hard link outside", "fifo", "character device", "block device"],
)  # fmt: skip
def test_links_out_of_the_folder_and_devices_are_refused(tmp_path: Path, kind: bytes, target: str) -> None:
    (tmp_path / "outside").write_text("secret")
    with pytest.raises(JobFailed, match="cannot be unpacked"):
        unpack(packed(member("planted", kind, target)), tmp_path)
    assert not os.path.lexists(tmp_path / "deep/model/planted")


def test_a_link_cannot_be_used_to_write_outside_by_a_later_member(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with pytest.raises(JobFailed):
        unpack(packed(member("way", tarfile.SYMTYPE, str(outside)), member("way/escape")), tmp_path)
    assert list(outside.iterdir()) == []


def test_an_archive_that_unpacks_to_more_than_the_disk_holds_is_refused_before_it_is_written(tmp_path: Path) -> None:
    # A bomb says in its header what it would grow to; the header alone is enough to refuse it.
    bomb = member("bomb")
    bomb.size = staging.MAX_UNPACKED_BYTES + 1
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.fileobj.write(bomb.tobuf(tarfile.PAX_FORMAT))
        tar.fileobj.write(b"\0" * 10_240)
    with pytest.raises(JobFailed, match="unpacks to more than 50 GiB"):
        unpack(raw.getvalue(), tmp_path)
    assert tree(tmp_path / "deep/model") == {}


@pytest.mark.parametrize("data", [b"", b"no archive", archive({"a": "b" * 10_000})[:-40]], ids=["empty", "text", "cut"])
def test_what_is_no_whole_archive_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(JobFailed, match=r"s3://bucket/m cannot be unpacked as tar\.gz"):
        unpack(data, tmp_path)


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """An output folder in which a job has planted everything that could be followed."""
    folder = tmp_path / "output"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.txt").write_text("b")
    (folder / "deep/a.html").write_text("a")
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "loop").symlink_to(folder)
    (folder / "folder-link").symlink_to("/etc")
    os.mkfifo(folder / "fifo")
    return folder


def test_only_regular_files_leave_a_jobs_folder(planted: Path) -> None:
    assert [relative for _, relative in staging.regular_files(planted)] == ["b.txt", "deep/a.html"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_folder_is_uploaded_below_a_prefix_with_content_types(stock: Stock, planted: Path, slash: str) -> None:
    assert staging.upload_folder(stock.storage, planted, f"s3://bucket/out{slash}") == 2
    assert {key: stock.content_type(key) for key in stock.contents()} == {
        "out/b.txt": "text/plain",
        "out/deep/a.html": "text/html",
    }


def test_a_folder_is_uploaded_to_a_bucket_itself(stock: Stock, planted: Path) -> None:
    staging.upload_folder(stock.storage, planted, "s3://bucket")
    assert list(stock.contents()) == ["b.txt", "deep/a.html"]


def test_an_upload_to_a_bucket_that_is_not_there_names_the_output(stock: Stock, planted: Path) -> None:
    with pytest.raises(JobFailed, match=r"the output s3://no-such-bucket/out/b\.txt cannot be written"):
        staging.upload_folder(stock.storage, planted, "s3://no-such-bucket/out")


def test_folders_of_instances_become_one_archive_in_which_the_first_wins(
    stock: Stock, planted: Path, tmp_path: Path
) -> None:
    second = tmp_path / "second"
    second.mkdir()
    (second / "b.txt").write_text("of the second")
    (second / "c.txt").write_text("c")
    assert (
        staging.upload_archive(stock.storage, [planted, second], "s3://bucket/model.tar.gz", tmp_path / "scratch")
        is True
    )
    with stock.storage.open("bucket", "model.tar.gz") as stream:
        staging.unpack_archive(stream, tmp_path / "back", "the archive")
    assert tree(tmp_path / "back") == {"b.txt": b"b", "c.txt": b"c", "deep/a.html": b"a"}
    assert not (tmp_path / "scratch").exists()


def test_nothing_to_pack_uploads_nothing(stock: Stock, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert staging.upload_archive(stock.storage, [tmp_path / "empty"], "s3://bucket/m", tmp_path / "scratch") is False
    assert stock.contents() == {}
