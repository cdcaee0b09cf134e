"""The feeder of Pipe channels, as the program that the shim starts: FIFOs of one epoch after the other."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.runtime import feeder
from tests.runtime.process import until

MAGIC = 0xCED7230A


class Feeding:
    """A running feeder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fifos = folder / "fifos"
        self.fifos.mkdir()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *channels: dict[str, Any]) -> None:
        defaults = {"seed": None, "share": [0, 1], "wrap": False, "gzip": False}
        document = {"folder": str(self.fifos), "channels": [{**defaults, **channel} for channel in channels]}
        (self.folder / "feed.json").write_text(json.dumps(document))
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", feeder.__file__, str(self.folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def file(self, name: str, data: bytes) -> dict[str, str]:
        (self.folder / name).write_bytes(data)
        return {"file": str(self.folder / name)}

    def read(self, channel: str, epoch: int) -> bytes:
        path = self.fifos / f"{channel}_{epoch}"
        until(path.exists, 5, f"{path.name}")
        return path.read_bytes()

    def end(self) -> int | None:
        if self.process is None:
            return None
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(5)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code


@pytest.fixture
def feeding(tmp_path: Path) -> Iterator[Feeding]:
    feeding = Feeding(tmp_path)
    yield feeding
    feeding.end()


def records(data: bytes) -> Iterator[bytes]:
    """The records of a RecordIO stream, joined where a magic word split them, as dmlc's own reader does."""
    at, parts = 0, []
    while at < len(data):
        magic, word = struct.unpack_from("<II", data, at)
        assert magic == MAGIC
        flag, length = word >> 29, word & (2**29 - 1)
        parts.append(data[at + 8 : at + 8 + length])
        at += 8 + length + (-length % 4)
        if flag in (feeder.WHOLE, feeder.LAST):
            yield struct.pack("<I", MAGIC).join(parts)
            parts = []


def test_each_epoch_is_read_whole_from_a_fifo_of_its_own(feeding: Feeding) -> None:
    feeding.start({"name": "train", "records": [[feeding.file("1", b"one ")], [feeding.file("2", b"two")]]})
    assert [feeding.read("train", epoch) for epoch in range(3)] == [b"one two"] * 3
    assert not (feeding.fifos / "train_0").exists()


def test_reader_that_leaves_early_finds_the_next_epoch_from_its_beginning(feeding: Feeding) -> None:
    feeding.start({"name": "train", "records": [[feeding.file("1", b"0123456789" * 100_000)]]})
    with (feeding.fifos / "train_0").open("rb") as pipe:
        assert pipe.read(10) == b"0123456789"
    with (feeding.fifos / "train_1").open("rb") as pipe:
        assert pipe.read(10) == b"0123456789"


def test_channels_are_fed_independently(feeding: Feeding) -> None:
    feeding.start(
        {"name": "a", "records": [[feeding.file("1", b"a")]]}, {"name": "b", "records": [[feeding.file("2", b"b")]]}
    )
    assert feeding.read("b", 0) == b"b"
    assert feeding.read("b", 1) == b"b"
    assert feeding.read("a", 0) == b"a"


def test_shuffled_epochs_differ_and_instances_share_them_without_overlap(tmp_path: Path) -> None:
    seen = []
    for index in range(2):
        (tmp_path / str(index)).mkdir()
        feeding = Feeding(tmp_path / str(index))
        rows = [[feeding.file(str(number), b"%d," % number)] for number in range(20)]
        feeding.start({"name": "train", "records": rows, "seed": 3, "share": [index, 2]})
        seen.append([feeding.read("train", epoch).split(b",")[:-1] for epoch in range(2)])
        feeding.end()
    for epoch in range(2):
        assert sorted(int(number) for instance in seen for number in instance[epoch]) == list(range(20))
    assert seen[0][0] != seen[0][1]


def test_objects_become_records_and_gzip_is_unpacked(feeding: Feeding) -> None:
    packed = feeding.file("1", gzip.compress(b"packed text"))
    feeding.start({"name": "train", "records": [[packed, {"text": "7"}]], "wrap": True, "gzip": True})
    assert list(records(feeding.read("train", 0))) == [b"packed text", b"7"]


def test_what_cannot_be_unpacked_ends_the_feeder_with_its_words(feeding: Feeding) -> None:
    feeding.start({"name": "train", "records": [[feeding.file("1", b"no gzip")]], "gzip": True})
    assert feeding.read("train", 0) == b""
    assert feeding.process is not None
    assert feeding.process.wait(5) == 1
    assert feeding.process.stderr is not None
    assert b"pipe channel 'train': Not a gzipped file" in feeding.process.stderr.read()


@given(st.lists(st.sampled_from([b"", b"a", b"abcd", struct.pack("<I", MAGIC), b"x" * 1001]), max_size=6).map(b"".join))
def test_any_bytes_survive_recordio(data: bytes) -> None:
    stream = b"".join(feeder.wrapped(data))
    assert len(stream) % 4 == 0
    assert list(records(stream)) == [data]
