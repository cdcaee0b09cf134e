"""Disks as a power cut leaves them: what a store writes is recorded, and each prefix of it made into the worst that is left.

`kill -9` alone proves little, since the page cache survives it. So a recording disk notes every call that the store
makes of it, and every commit of the index; then each prefix of the record is turned into the worst disks that a power
cut at that moment may leave behind, and a store is opened on them. What a file holds beyond its last flush is lost,
torn or zero; what was entered in a folder since that folder's last flush has happened or not. SQLite's own safety
(WAL, synchronous=FULL) is trusted: a commit is one step, and durable.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from millrace.runtime.s3.disk import Disk
from millrace.runtime.s3.records import Attributes, NamedPart
from millrace.runtime.s3.store import ObjectStore

from .conftest import BUCKET, SMALL_PART

KEYS = ("a", "a/b", "../c", "d")


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
    root: Path,
    seed: int,
    requests: int,
    open_store: Callable[[Path, Disk], ObjectStore] = ObjectStore,
    kind: type[Recorder] = Recorder,
) -> list[Step]:
    """What a store does to its disk while a client makes requests at random."""
    root.mkdir()
    disk, dice = kind(root), random.Random(seed)
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
