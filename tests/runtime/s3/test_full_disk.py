"""Disks that fill up, at any call: the request is refused, and nothing is lost or left half-written."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.runtime.process import needs_sandbox

from millrace.runtime.s3.app import s3_app
from millrace.runtime.s3.disk import Disk
from millrace.runtime.s3.errors import CommitInDoubt, InsufficientStorage
from millrace.runtime.s3.records import Attributes, NamedPart
from millrace.runtime.s3.store import ObjectStore

from .conftest import BUCKET, connect, listen
from .power_cut import NoFlush, stray_files

pytestmark = pytest.mark.usefixtures("small")


class Full(NoFlush):
    """A disk that has no room at one call, and at writing only for the first half: counts down to it."""

    _CALLS = ("create", "write", "copy_range", "flush", "rename", "link", "unlink", "flush_folder")

    def __init__(self) -> None:
        self.left: int | None = None
        self.failed = ""
        for name in self._CALLS:
            setattr(self, name, self._counted(name, getattr(super(), name)))

    def arm(self, calls: int) -> None:
        self.left, self.failed = calls, ""

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            if self.left is not None:
                self.left -= 1
                if self.left < 0:
                    self.left, self.failed = None, name
                    if name == "write":
                        call(arguments[0], arguments[1][: len(arguments[1]) // 2])
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*arguments)

        return counted


def complete(store: ObjectStore) -> object:
    upload = store.uploads.list_uploads(BUCKET)[0]
    parts = [NamedPart(number=part.number, etag=part.etag) for part in store.uploads.list_parts(upload)]
    return store.uploads.complete(BUCKET, upload.key, upload.id, parts)


def put_part(store: ObjectStore) -> object:
    staged = store.stage()
    try:
        staged.write(b"second part")
        return store.uploads.put_part(store.uploads.list_uploads(BUCKET)[0], 2, staged)
    finally:
        staged.discard()


def abort(store: ObjectStore) -> None:
    upload = store.uploads.list_uploads(BUCKET)[0]
    store.uploads.abort(BUCKET, upload.key, upload.id)


REQUESTS: dict[str, tuple[Callable[[ObjectStore], object], int]] = {
    "put": (lambda store: store.put_bytes(BUCKET, "new", b"new"), 5),
    "put over another": (lambda store: store.put_bytes(BUCKET, "old", b"new"), 6),
    "put a file": (lambda store: store.put_file(BUCKET, "new", Path(__file__)), 5),
    "copy": (lambda store: store.copy(store.head(BUCKET, "old"), BUCKET, "new"), 2),
    "copy over another": (lambda store: store.copy(store.head(BUCKET, "old"), BUCKET, "older"), 3),
    "send a part": (put_part, 6),
    "complete": (complete, 8),
    "abort": (abort, 2),
    "delete": (lambda store: store.delete(BUCKET, "old"), 1),
}
"""What a client may ask for, and in how many calls of the disk."""


def contents(store: ObjectStore) -> dict[str, bytes]:
    found = {record.key: record.path.read_bytes() for record in store.list_keys(BUCKET)}
    for upload in store.uploads.list_uploads(BUCKET):
        for part in store.uploads.list_parts(upload):
            found[f"{upload.key} {part.number}"] = part.path.read_bytes()
    return found


def prepared(folder: Path, disk: Disk) -> ObjectStore:
    """A store of two objects and an upload of two parts."""
    store = ObjectStore(folder, disk)
    store.create_bucket(BUCKET)
    store.put_bytes(BUCKET, "old", b"old content")
    store.put_bytes(BUCKET, "older", b"older content")
    upload = store.uploads.create(BUCKET, "big", Attributes())
    for number in (1, 2):
        staged = store.stage()
        staged.write(b"the part %d" % number)
        store.uploads.put_part(upload, number, staged)
    return store


@pytest.mark.parametrize("what", REQUESTS)
def test_a_full_disk_at_any_call_is_refused_and_loses_nothing(tmp_path: Path, what: str) -> None:
    request, calls = REQUESTS[what]
    failed = []
    for number in range(calls):
        disk = Full()
        with closing(prepared(tmp_path / str(number), disk)) as store:
            before = contents(store)
            disk.arm(number)
            try:
                request(store)
            except InsufficientStorage as error:
                assert error.status == 507
                assert contents(store) == before
                assert stray_files(store, tmp_path / str(number)) == set()
                request(store)
            failed.append(disk.failed)
            after = contents(store)
            assert after != before
        with closing(ObjectStore(tmp_path / str(number), NoFlush())) as store:
            assert contents(store) == after
            assert stray_files(store, tmp_path / str(number)) == set()
    assert "" not in failed, f"fewer calls than {calls}: {failed}"
    disk = Full()
    with closing(prepared(tmp_path / "all", disk)) as store:
        disk.arm(calls)
        request(store)
        assert disk.left == 0, "more calls than the test makes fail"


def test_a_full_disk_is_status_507_over_http(tmp_path: Path) -> None:
    disk = Full()
    with closing(ObjectStore(tmp_path, disk)) as store, listen(s3_app(store)) as port:
        with connect(f"http://127.0.0.1:{port}") as s3:
            s3.create_bucket(Bucket=BUCKET)
            for size in (10, 2_000_000):
                disk.arm(1)
                with pytest.raises(ClientError) as caught:
                    s3.put_object(Bucket=BUCKET, Key="k", Body=bytes(size))
                assert caught.value.response["Error"]["Code"] == "InsufficientStorage"
                assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 507
                assert disk.failed == "write"
                assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0
            s3.put_object(Bucket=BUCKET, Key="k", Body=b"room again")
            assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"room again"


def test_an_index_without_room_is_refused_and_loses_nothing(tmp_path: Path) -> None:
    with closing(prepared(tmp_path, NoFlush())) as store:
        before = contents(store)
        connection = store._index._connection
        connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
        with pytest.raises(InsufficientStorage, match="free some"):
            for number in range(1000):
                store.put_bytes(BUCKET, f"{number}", b"", metadata={"long": "x" * 1000})
        added = {f"{n}": b"" for n in range(number)}
        assert contents(store) == before | added
        assert stray_files(store, tmp_path) == set()
        store.delete_many(BUCKET, list(added))
        store.put_bytes(BUCKET, "new", b"new")
        assert contents(store) == before | {"new": b"new"}


def test_a_commit_that_only_seems_to_fail_keeps_both_files(tmp_path: Path) -> None:
    """A commit whose flush fails may be found in the journal at the next start: then its file must be there."""

    class Failing:
        def __init__(self, connection: sqlite3.Connection, reaches_disk: bool) -> None:
            self._connection, self._reaches_disk = connection, reaches_disk

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        def execute(self, statement: str, values: tuple[Any, ...] = ()) -> Any:
            if statement == "COMMIT":
                self._connection.execute("COMMIT" if self._reaches_disk else "ROLLBACK")
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
                raise error
            return self._connection.execute(statement, values)

    for name in ("put over another", "send a part", "complete"):
        for reaches_disk in (True, False):
            folder = tmp_path / f"{name} {reaches_disk}"
            with closing(prepared(folder, NoFlush())) as store:
                before = contents(store)
                store._index._connection = Failing(store._index._connection, reaches_disk)  # type: ignore[assignment]
                with pytest.raises(CommitInDoubt):
                    REQUESTS[name][0](store)
            with closing(ObjectStore(folder, NoFlush())) as store:
                assert (contents(store) != before) is reaches_disk
                assert stray_files(store, folder) == set()


FILL = """
import sys
from pathlib import Path
from millrace.runtime.s3.errors import InsufficientStorage
from millrace.runtime.s3.store import ObjectStore

folder = Path(sys.argv[1])
bodies, refused = {}, 0
other = folder.parent / "other"
other.write_bytes(bytes(2_000_000))
store = ObjectStore(folder)
store.create_bucket("bucket")
for number in range(400):
    key, data = f"{number:03}", bytes([number % 256]) * (1 + 97_001 * number % 65_536)
    try:
        store.put_bytes("bucket", key, data, metadata={"m": "x" * 1000})
        bodies[key] = data
    except InsufficientStorage:
        refused += 1
store.close()
store = ObjectStore(folder)
assert {r.key: r.path.read_bytes() for r in store.list_keys("bucket")} == bodies
assert len(list((folder / "objects").glob("*/*"))) == len(bodies)
other.unlink()
store.delete_many("bucket", list(bodies))
store.put_bytes("bucket", "again", bytes(2_000_000))
print(refused, len(bodies))
"""


@needs_sandbox
def test_a_file_system_that_really_fills_up(tmp_path: Path) -> None:
    filled = subprocess.run(
        ["bwrap", "--dev-bind", "/", "/", "--size", "6000000", "--tmpfs", str(tmp_path), sys.executable, "-c", FILL,
         str(tmp_path / "s3")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert filled.returncode == 0, filled.stderr
    refused, kept = map(int, filled.stdout.split())
    assert refused > 50
    assert kept > 20
