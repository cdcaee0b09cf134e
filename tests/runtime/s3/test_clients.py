"""Other clients of S3: Arrow's filesystem and the AWS command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from .conftest import BUCKET, Server


def test_arrow_reads_and_writes(server: Server) -> None:
    files = pyarrow.fs.S3FileSystem(
        access_key="test", secret_key="test", region="us-east-1", endpoint_override=f"127.0.0.1:{server.port}",
        scheme="http", allow_bucket_creation=True,
    )  # fmt: skip
    table = pa.table({"x": range(200_000), "y": [str(n) for n in range(200_000)]})
    pq.write_table(table, f"{BUCKET}/data/part.parquet", filesystem=files)
    assert pq.read_table(f"{BUCKET}/data/part.parquet", filesystem=files).equals(table)
    with files.open_output_stream(f"{BUCKET}/large.bin") as stream:
        for _ in range(3):
            stream.write(os.urandom(6_000_000))
    assert files.get_file_info(f"{BUCKET}/large.bin").size == 18_000_000
    found = files.get_file_info(pyarrow.fs.FileSelector(BUCKET, recursive=True))
    assert {info.path for info in found} == {f"{BUCKET}/data", f"{BUCKET}/data/part.parquet", f"{BUCKET}/large.bin"}
    files.copy_file(f"{BUCKET}/large.bin", f"{BUCKET}/copy.bin")
    files.delete_file(f"{BUCKET}/large.bin")
    files.delete_dir(f"{BUCKET}/data")
    files.create_dir("new-bucket/folder")
    assert server.store.bucket_exists("new-bucket")


def test_the_command_line(server: Server, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "small.txt").write_text("small")
    (source / "big.bin").write_bytes(os.urandom(9_000_000))

    def aws(*arguments: str) -> str:
        command = [str(Path(sys.executable).with_name("aws")), "s3", *arguments, "--endpoint-url", server.url]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    aws("sync", str(source), f"s3://{BUCKET}/tree")
    listing = aws("ls", f"s3://{BUCKET}/tree/", "--recursive")
    assert [line.split()[2:] for line in listing.splitlines()] == [
        ["9000000", "tree/big.bin"],
        ["5", "tree/deep/small.txt"],
    ]
    aws("cp", f"s3://{BUCKET}/tree", str(target), "--recursive")
    assert (target / "big.bin").read_bytes() == (source / "big.bin").read_bytes()
    assert (target / "deep" / "small.txt").read_text() == "small"
    aws("rm", f"s3://{BUCKET}/tree", "--recursive")
    assert list(server.store.list_keys(BUCKET)) == []
