"""Power cuts at every moment and disks that fill up: what was acknowledged is there, and nothing half-written shows.

`kill -9` alone proves little, since the page cache survives it. So a recording disk notes every call that the store
makes of it, and every commit of the index; then each prefix of the record is turned into the worst disks that a power
cut at that moment may leave behind, and a store is opened on them. What a file holds beyond its last flush is lost,
torn or zero; what was entered in a folder since that folder's last flush has happened or not. SQLite's own safety
(WAL, synchronous=FULL) is trusted: a commit is one step, and durable.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
from botocore.exceptions import ClientError
from tests.runtime.process import needs_sandbox

from millrace.runtime.s3 import blobs, multipart
from millrace.runtime.s3.app import s3_app
from millrace.runtime.s3.blobs import Blobs, Staged
from millrace.runtime.s3.disk import Disk
from millrace.runtime.s3.errors import CommitInDoubt, InsufficientStorage
from millrace.runtime.s3.records import Attributes, NamedPart, ObjectRecord
from millrace.runtime.s3.store import ObjectStore

from .conftest import BUCKET, connect, listen

KEYS = ("a", "a/b", "../c", "d")
SMALL_PART = 8


class NoFlush(Disk):
    """For disks whose fate is not the subject: flushing them would be most of the tests' time."""

    def flush(self, descriptor: int) -> None: ...

    def flush_folder(self, folder: Path) -> None: ...


# --- What is recorded -------------------------------------------------------------------------------------------------


class Data(NamedTuple):
    """A file's content after a write."""

    inode: int
    content: bytes


class Flush(NamedTuple):
    inode: int


class Entries(NamedTuple):
    """One atomic change of one folder: a name that comes (a folder, where the inode is None), a name that goes."""

    folder: Path
    adds: dict[str, int | None] = {}
    removes: tuple[str, ...] = ()


class FlushFolder(NamedTuple):
    folder: Path


class Commit(NamedTuple):
    """The index as it is from here on."""

    database: bytes


class Begin(NamedTuple):
    """A client's request: what each key would hold after it, and its upload's parts."""

    change: dict[str, bytes | None]


class Acknowledge(NamedTuple):
    pass


Step = Data | Flush | Entries | FlushFolder | Commit | Begin | Acknowledge


class Recorder(NoFlush):
    """A disk that writes down what is asked of it, below one folder.

    A commit is seen by a connection of its own: before each step it asks whether the index has changed, so commits
    stand in the record where they happened, without a seam in the index.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.steps: list[Step] = []
        self._inodes: dict[int, int] = {}
        self._index: sqlite3.Connection | None = None
        self._version = -1

    def note(self, step: Step) -> None:
        self.see_commit()
        self.steps.append(step)

    def see_commit(self) -> None:
        if self._index is None:
            path = self.root / "s3" / "index.sqlite"
            if not path.exists():
                return
            self._index = sqlite3.connect(path)
        version = self._index.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version and self._index.execute("SELECT 1 FROM sqlite_schema").fetchone():
            self._version = version
            self.steps.append(Commit(self._index.serialize()))

    def close_index(self) -> None:
        if self._index is not None:
            self._index.close()

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self.note(Entries(path.parent, {path.name: None}))

    def create(self, path: Path) -> int:
        descriptor = super().create(path)
        # The number of an inode may be used again once its file is gone; a path never is, the names being random.
        self._inodes[descriptor] = len(self.steps)
        self.note(Entries(path.parent, {path.name: self._inodes[descriptor]}))
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        count = super().write(descriptor, data)
        self._note_data(descriptor)
        return count

    def copy_range(self, descriptor: int, offset: int, source: int, source_offset: int, length: int) -> int:
        count = super().copy_range(descriptor, offset, source, source_offset, length)
        self._note_data(descriptor)
        return count

    def clone(self, descriptor: int, source: int) -> None:
        super().clone(descriptor, source)
        self._note_data(descriptor)

    def _note_data(self, descriptor: int) -> None:
        self.note(Data(self._inodes[descriptor], os.pread(descriptor, 1 << 20, 0)))

    def flush(self, descriptor: int) -> None:
        self.note(Flush(self._inodes[descriptor]))

    def close(self, descriptor: int) -> None:
        super().close(descriptor)
        self._inodes.pop(descriptor)

    def rename(self, path: Path, new: Path) -> None:
        inode = self._inode(path)
        super().rename(path, new)
        self.note(Entries(path.parent, {new.name: inode}, (path.name,)))

    def link(self, path: Path, new: Path) -> None:
        inode = self._inode(path)
        super().link(path, new)
        self.note(Entries(new.parent, {new.name: inode}))

    def unlink(self, path: Path) -> None:
        existed = path.exists()
        super().unlink(path)
        if existed:
            self.note(Entries(path.parent, removes=(path.name,)))

    def flush_folder(self, folder: Path) -> None:
        if folder.is_relative_to(self.root):
            self.note(FlushFolder(folder))

    def _inode(self, path: Path) -> int:
        for step in reversed(self.steps):
            if isinstance(step, Entries) and step.folder == path.parent and path.name in step.adds:
                inode = step.adds[path.name]
                assert inode is not None
                return inode
        raise AssertionError(f"{path} was never recorded")


# --- What a power cut leaves ------------------------------------------------------------------------------------------

Loss = Literal["all", "none", "some"]


@dataclass
class Cut:
    """What is known at one moment: what is surely on disk, and what may be."""

    root: Path
    data: dict[int, bytes] = field(default_factory=dict)
    """Contents as a process sees them."""
    flushed: dict[int, bytes] = field(default_factory=dict)
    entries: dict[Path, dict[str, int | None]] = field(default_factory=dict)
    """Flushed entries by folder."""
    pending: dict[Path, list[Entries]] = field(default_factory=dict)
    database: bytes | None = None
    acknowledged: dict[str, bytes | None] = field(default_factory=dict)
    asked: dict[str, bytes | None] = field(default_factory=dict)

    def take(self, step: Step) -> None:
        match step:
            case Data(inode, content):
                self.data[inode] = content
            case Flush(inode):
                self.flushed[inode] = self.data.get(inode, b"")
            case Entries(folder):
                self.pending.setdefault(folder, []).append(step)
            case FlushFolder(folder):
                for change in self.pending.pop(folder, []):
                    _enter(self.entries.setdefault(folder, {}), change)
            case Commit(database):
                self.database = database
            case Begin(change):
                self.asked = change
            case Acknowledge():
                self.acknowledged |= self.asked
                self.asked = {}

    def allowed(self, key: str) -> set[bytes | None]:
        before = self.acknowledged.get(key)
        return {before, self.asked.get(key, before)}

    def write(self, target: Path, loss: Loss, dice: random.Random) -> None:
        """Make the disk that is left. Its folders are used again where they are the same."""
        entries = {folder: dict(known) for folder, known in self.entries.items()}
        for folder, changes in self.pending.items():
            for change in changes:
                if loss == "none" or (loss == "some" and dice.random() < 0.5):
                    _enter(entries.setdefault(folder, {}), change)
        self._write_folder(self.root, target, entries, loss, dice)
        if self.database is not None and (target / "s3").exists():
            (target / "s3" / "index.sqlite").write_bytes(self.database)

    def _write_folder(
        self, folder: Path, target: Path, entries: dict[Path, dict[str, int | None]], loss: Loss, dice: random.Random
    ) -> None:
        target.mkdir(exist_ok=True)
        wanted = entries.get(folder, {})
        for path in set(target.iterdir()) - {target / name for name in wanted}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, inode in wanted.items():
            if inode is None:
                self._write_folder(folder / name, target / name, entries, loss, dice)
            else:
                (target / name).unlink(missing_ok=True)
                (target / name).write_bytes(self._content(inode, loss, dice))

    def _content(self, inode: int, loss: Loss, dice: random.Random) -> bytes:
        seen, kept = self.data.get(inode, b""), self.flushed.get(inode)
        if kept is not None:
            assert kept == seen, "a sealed file was written to"
            return kept
        if loss == "all":
            return b""
        torn = seen[: dice.randint(0, len(seen))]
        return torn if loss == "none" else torn.ljust(len(seen), b"\0")


def _enter(names: dict[str, int | None], change: Entries) -> None:
    names.update(change.adds)
    for name in change.removes:
        names.pop(name, None)


# --- What a client does -----------------------------------------------------------------------------------------------


class Client:
    """Random requests to a store, and what the store has acknowledged to hold.

    The parts of unfinished uploads are held under names of their own, as if they were objects.
    """

    def __init__(self, store: ObjectStore, dice: random.Random, note: Callable[[Step], None]) -> None:
        self._store, self._dice, self._note = store, dice, note
        self.holds: dict[str, bytes | None] = {}
        self.uploads: list[tuple[str, str]] = []

    def act(self) -> None:
        self._dice.choice([self.put, self.put, self.put, self.copy, self.copy, self.delete, self.begin, self.end])()

    def put(self) -> None:
        key, data = self._dice.choice(KEYS), self._bytes()
        with self._asking({key: data}):
            self._store.put_bytes(BUCKET, key, data)

    def put_file(self, path: Path) -> None:
        path.write_bytes(self._bytes())
        key = self._dice.choice(KEYS)
        with self._asking({key: path.read_bytes()}):
            self._store.put_file(BUCKET, key, path)

    def copy(self) -> None:
        present = [key for key in KEYS if self.holds.get(key) is not None]
        if present:
            source, key = self._dice.choice(present), self._dice.choice(KEYS)
            with self._asking({key: self.holds[source]}):
                self._store.copy(self._store.head(BUCKET, source), BUCKET, key)

    def delete(self) -> None:
        keys = self._dice.sample(KEYS, self._dice.randint(1, 2))
        with self._asking(dict.fromkeys(keys)):
            self._store.delete_many(BUCKET, keys)

    def begin(self) -> None:
        """An upload of two parts, one of which is sent twice."""
        key = self._dice.choice(KEYS)
        upload = self._store.uploads.create(BUCKET, key, Attributes())
        self.uploads.append((key, upload.id))
        for number in (1, 1, 2):
            data = self._bytes(SMALL_PART)
            with self._asking({f"{upload.id} {number}": data}):
                staged = self._store.stage()
                try:
                    staged.write(data)
                    self._store.uploads.put_part(upload, number, staged)
                finally:
                    staged.discard()

    def end(self) -> None:
        if not self.uploads:
            return
        key, upload = self.uploads.pop(self._dice.randrange(len(self.uploads)))
        contents = [self.holds[f"{upload} {number}"] or b"" for number in (1, 2)]
        gone: dict[str, bytes | None] = {f"{upload} {number}": None for number in (1, 2)}
        if self._dice.random() < 0.3:
            with self._asking(gone):
                self._store.uploads.abort(BUCKET, key, upload)
            return
        named = [
            NamedPart(number=part.number, etag=part.etag)
            for part in self._store.uploads.list_parts(self._store.uploads.find(BUCKET, key, upload))
        ]
        with self._asking({key: b"".join(contents), **gone}):
            self._store.uploads.complete(BUCKET, key, upload, named)

    @contextmanager
    def _asking(self, change: dict[str, bytes | None]) -> Iterator[None]:
        self._note(Begin(change))
        yield
        self._note(Acknowledge())
        self.holds |= change

    def _bytes(self, least: int = 0) -> bytes:
        return self._dice.randbytes(self._dice.randint(least, 40))


def record(
    root: Path, seed: int, requests: int, open_store: Callable[[Path, Disk], ObjectStore] = ObjectStore
) -> list[Step]:
    root.mkdir()
    disk, dice = Recorder(root), random.Random(seed)
    store = open_store(root / "s3", disk)
    store.create_bucket(BUCKET)
    client = Client(store, dice, disk.note)
    for _ in range(requests):
        client.act()
    client.put_file(root.with_suffix(".file"))
    disk.see_commit()
    store.close()
    disk.close_index()
    return disk.steps


# --- What must hold ---------------------------------------------------------------------------------------------------


def check(folder: Path, cut: Cut) -> None:
    """A store starts on what is left, and holds what it must hold and nothing else."""
    with closing(ObjectStore(folder, NoFlush())) as store:
        found: dict[str, bytes | None] = {}
        if store.bucket_exists(BUCKET):
            for listed in store.list_keys(BUCKET):
                entry, file = store.open(BUCKET, listed.key)
                with file:
                    found[listed.key] = file.read()
                assert entry.size == len(found[listed.key] or b"")
            for upload in store.uploads.list_uploads(BUCKET):
                for part in store.uploads.list_parts(upload):
                    found[f"{upload.id} {part.number}"] = part.path.read_bytes()
        for name in {*found, *cut.acknowledged, *cut.asked}:
            assert found.get(name) in cut.allowed(name), f"{name!r} is {found.get(name)!r}"
        assert stray_files(store, folder) == set()


def check_writing(folder: Path) -> None:
    with closing(ObjectStore(folder, NoFlush())) as store:
        store.create_bucket(BUCKET)
        store.put_bytes(BUCKET, "after the cut", b"works")
        assert store.head(BUCKET, "after the cut").path.read_bytes() == b"works"


def stray_files(store: ObjectStore, folder: Path) -> set[str]:
    """What lies in the folder and belongs to no object and no part."""
    records = [row.path.name for bucket in store.buckets() for row in store.list_keys(bucket.name)]
    for bucket in store.buckets():
        for upload in store.uploads.list_uploads(bucket.name):
            records += [part.path.name for part in store.uploads.list_parts(upload)]
    return {path.name for path in (folder / "objects").glob("*/*")} - set(records)


def cut_everywhere(steps: list[Step], root: Path, target: Path, seed: int) -> int:
    """Cut the power after every step; returns how many disks that made."""
    cut, dice, disks = Cut(root), random.Random(seed), 0
    losses: tuple[Loss, ...] = ("all", "none", "some", "some")
    for moment in range(len(steps) + 1):
        if moment:
            cut.take(steps[moment - 1])
        for loss in losses:
            cut.write(target, loss, dice)
            try:
                check(target / "s3", cut)
                if loss == "all":
                    check_writing(target / "s3")
            except Exception as error:
                last = [_show(step) for step in steps[max(0, moment - 8) : moment]]
                raise AssertionError(f"losing {loss} at step {moment} after {last}: {error!r}") from error
            disks += 1
    return disks


def _show(step: Step) -> str:
    return "Commit" if isinstance(step, Commit) else str(step)[:150]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few bytes, and three folders instead of 256: every disk is made anew."""
    shards = ("00", "7f", "ff")
    monkeypatch.setattr(multipart, "MIN_PART_SIZE", SMALL_PART)
    monkeypatch.setattr(blobs, "SHARDS", shards)
    monkeypatch.setattr(blobs, "_new_name", lambda: random.choice(shards) + uuid.uuid4().hex[2:])


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
def test_a_flush_that_is_left_out_is_noticed(tmp_path: Path, kind: type[Recorder], monkeypatch: Any) -> None:
    monkeypatch.setattr(f"{__name__}.Recorder", kind)
    must_fail(tmp_path, ObjectStore)


def test_a_commit_before_the_file_is_sealed_is_noticed(tmp_path: Path) -> None:
    must_fail(tmp_path, CommitsFirst)


@pytest.mark.parametrize("kind", [RemovesFirst, DoesNotSweep])
def test_files_that_go_too_early_or_never_are_noticed(tmp_path: Path, kind: type[Blobs], monkeypatch: Any) -> None:
    monkeypatch.setattr("millrace.runtime.s3.store.Blobs", kind)
    must_fail(tmp_path, ObjectStore)


def must_fail(tmp_path: Path, open_store: Callable[[Path, Disk], ObjectStore]) -> None:
    steps = record(tmp_path / "disk", 0, 10, open_store)
    with pytest.raises(AssertionError, match="losing"):
        cut_everywhere(steps, tmp_path / "disk", tmp_path / "left", 0)


# --- Disks that fill up -----------------------------------------------------------------------------------------------


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
