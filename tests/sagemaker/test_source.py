"""Source archives: equal code, equal bytes, in any process; whole packages, the parts of millrace they use, no more."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from millrace.sagemaker.source import MAX_BYTES, SourceArchive, SourceError, archive
from tests.runtime.jobs import Jobs

DIGITS = ("pipelines.digits",)
PACKAGE = {
    "__init__.py": "",
    "jobs/__init__.py": "",
    "jobs/clean.py": "from millrace.verdict import Verdict\ndef late():\n    import millrace.training.script_mode\n",
    "suite.json": "{}",
    "page.html": "<p>",
    "notes.txt": "n",
    "run.sh": "true\n",
    "data.csv": "1,2\n",
    "weights.bin": "w",
}


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        return {member.name: member for member in tar.getmembers()}


def make(folder: Path, files: Mapping[str, str] = PACKAGE) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that is found on the path, under a name that no other test has archived."""
    name = "p" + hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]
    make(tmp_path / name)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    assert name not in sys.modules, "the package was imported to be archived"


def hash_in_another_process(folder: Path, *packages: str) -> str:
    program = "import sys; from millrace.sagemaker.source import archive; print(archive(tuple(sys.argv[1:])).sha256)"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    return subprocess.run(
        [sys.executable, "-c", program, *packages], env=env, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_equal_files_make_equal_bytes_in_another_process_at_another_time(tmp_path: Path, package: str) -> None:
    here = archive((package,))
    for path in (tmp_path / package).rglob("*"):
        os.utime(path, (1, 1))
        if path.is_file():
            path.chmod(0o755)
    assert hash_in_another_process(tmp_path, package) == here.sha256 == hashlib.sha256(here.data).hexdigest()


def test_the_order_in_which_packages_are_named_does_not_matter(package: str) -> None:
    assert archive((package, *DIGITS)).data == archive((*DIGITS, package)).data


def test_a_changed_byte_changes_the_name(tmp_path: Path, package: str) -> None:
    before = hash_in_another_process(tmp_path, package)
    (tmp_path / package / "suite.json").write_text("[]")
    assert hash_in_another_process(tmp_path, package) != before


def test_packages_travel_whole_but_for_caches_and_data(tmp_path: Path, package: str) -> None:
    make(tmp_path / package / "jobs/__pycache__", {"clean.cpython-311.pyc": "x", "left.py": "x"})
    own = {name for name in members(archive((package,)).data) if name.startswith(package)}
    left_behind = {"data.csv", "weights.bin"}
    assert own == {f"{package}/{name}" for name in PACKAGE if name not in left_behind}


def test_the_parts_of_millrace_that_are_imported_travel_and_no_others(package: str) -> None:
    theirs = {name for name in members(archive((package,)).data) if name.startswith("millrace/")}
    assert {"millrace/__init__.py", "millrace/verdict.py", "millrace/training/script_mode.py"} <= theirs
    assert {name.split("/")[1] for name in theirs} == {"__init__.py", "verdict.py", "training"}


def test_a_part_of_millrace_brings_the_parts_that_it_imports_itself(tmp_path: Path, package: str) -> None:
    make(tmp_path / package, {"gate.py": "import millrace.quality\n"})
    names = set(members(archive((package,)).data))
    assert {"millrace/quality/__main__.py", "millrace/quality/offline_style.html", "millrace/verdict.py"} <= names


def test_the_digits_pipeline_carries_no_code_of_the_worker_or_the_runtime() -> None:
    rooms = {name.split("/")[1] for name in members(archive(DIGITS).data) if name.startswith("millrace/")}
    assert rooms.isdisjoint({"sagemaker", "runtime", "registry", "cli"})
    assert "verdict.py" in rooms


def test_the_unpacked_archive_runs_where_nothing_is_installed(tmp_path: Path, package: str) -> None:
    target = tmp_path / "unpacked"
    with tarfile.open(fileobj=io.BytesIO(archive((package,)).data)) as tar:
        tar.extractall(target, filter="data")
    # -I -S: neither site-packages, where millrace is installed, nor the variables of this process
    program = (
        f"import sys; sys.path.insert(0, {str(target)!r}); import {package}.jobs.clean as m; m.late(); print(m.Verdict)"
    )
    ended = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert "millrace.verdict.Verdict" in ended.stdout, ended.stderr


def test_a_subpackage_travels_with_its_parents_init_and_without_its_siblings() -> None:
    names = set(members(archive(("pipelines.digits.jobs",)).data))
    assert {"pipelines/__init__.py", "pipelines/digits/__init__.py", "pipelines/digits/jobs/train.py"} <= names
    assert "pipelines/digits/settings.py" not in names


def test_a_single_module_travels_alone() -> None:
    names = {n for n in members(archive(("pipelines.digits.settings",)).data) if n.startswith("pipelines")}
    assert names == {"pipelines/__init__.py", "pipelines/digits/__init__.py", "pipelines/digits/settings.py"}


def test_members_carry_neither_owner_nor_time_and_the_gzip_header_no_time(package: str) -> None:
    data = archive((package,)).data
    for member in members(data).values():
        assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 0)
        assert (member.mode, member.isreg()) == (0o644, True)
    assert data[4:8] == b"\0\0\0\0"
    assert gzip.decompress(data)


@pytest.mark.parametrize("missing", ["no_such_package", "pipelines.no_such_pipeline", "no_such_package.jobs"])
def test_a_package_that_is_not_installed_is_named(missing: str) -> None:
    with pytest.raises(SourceError, match="must be installed where the DAG's tasks run") as caught:
        archive((missing,))
    assert missing.split(".")[0] in str(caught.value)


def test_packages_too_large_to_travel_are_refused_with_both_sizes(tmp_path: Path, package: str) -> None:
    make(tmp_path / package, {"big.txt": "x" * MAX_BYTES})
    with pytest.raises(SourceError, match=rf"{package} hold \d+ bytes of source; at most {MAX_BYTES}"):
        archive((package,))


def test_upload_happens_once_and_a_second_one_changes_nothing(jobs: Jobs, package: str) -> None:
    made = archive((package,))
    uri = made.upload(jobs.s3, "bucket")
    assert uri == f"s3://bucket/{made.key}"
    assert re.fullmatch(r"code/[0-9a-f]{64}\.tar\.gz", made.key)
    first = jobs.s3.get_object(Bucket="bucket", Key=made.key)
    assert first["Body"].read() == made.data
    # Had the second call written, the object would hold the other bytes: only the hash names it.
    other = SourceArchive(b"other bytes under the same name", made.sha256)
    assert other.upload(jobs.s3, "bucket") == uri
    assert jobs.s3.get_object(Bucket="bucket", Key=made.key)["ETag"] == first["ETag"]


def test_upload_to_a_bucket_that_is_not_there_fails_with_its_name(jobs: Jobs, package: str) -> None:
    with pytest.raises(Exception, match="NoSuchBucket") as caught:
        archive((package,)).upload(jobs.s3, "no-such-bucket")
    error: Any = caught.value
    assert error.operation_name == "PutObject"
