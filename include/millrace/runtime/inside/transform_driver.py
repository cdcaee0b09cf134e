"""Batch transform, from inside the instance: start the model server, feed it the staged objects, write the answers.

Reads /opt/ml/transform/job.json (the request's transform part) and /opt/ml/transform/input; writes
/opt/ml/transform/output/<key>.out, one for each input, in order. Line split with single or multiple records, or whole
objects; filter, invoke, join, filter. An object with a bad record gets no output, the others go on, and the job fails.

Being a payload like any other it survives a restart of the runtime. What it does not do: RecordIO and TFRecord.
"""

from __future__ import annotations

import concurrent.futures
import csv
import http.client
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BASE = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
READY_SECONDS = 240
CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"


class TransformError(Exception):
    """The job cannot go on, or one object cannot be transformed."""


class Server:
    """The model server under test: started once, asked over one connection per thread."""

    def __init__(self, argv: list[str], host: str, port: int, timeout: float, retries: int) -> None:
        self.host, self.port, self.timeout, self.retries = host, port, timeout, retries
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise TransformError(f"the model server ended with exit code {self.process.returncode} before /ping")
            connection = http.client.HTTPConnection(self.host, self.port, timeout=2)
            try:
                connection.request("GET", "/ping")
                if connection.getresponse().status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass  # not listening yet
            finally:
                connection.close()
            time.sleep(0.05)
        raise TransformError(f"the model server did not answer GET /ping within {READY_SECONDS} s")

    def invoke(self, body: bytes, headers: dict[str, str]) -> bytes:
        problem = ""
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(min(2**attempt * 0.1, 5))
            connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
            try:
                connection.request("POST", "/invocations", body, headers)
                response = connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException) as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            finally:
                connection.close()
            if response.status < 400:
                return answer
            problem = f"status {response.status}: {answer[:300].decode(errors='replace')}"
            if response.status < 500:
                break
        raise TransformError(f"the model server refused a batch of {len(body)} bytes: {problem}")


def batches(body: bytes, split: str, strategy: str, limit: int) -> Iterator[bytes]:
    """The request bodies of one object. `limit` is MaxPayloadInMB in bytes; 0 means no limit."""
    if split == "None":
        yield body
        return
    group: list[bytes] = []
    size = 0
    for line in body.splitlines():
        if not line.strip():
            continue
        if limit and len(line) + 1 > limit:
            raise TransformError(f"a record of {len(line)} bytes is larger than MaxPayloadInMB ({limit} bytes)")
        if group and (strategy == "SingleRecord" or (limit and size + len(line) + 1 > limit)):
            yield b"\n".join(group) + b"\n"
            group, size = [], 0
        group.append(line)
        size += len(line) + 1
    if group:
        yield b"\n".join(group) + b"\n"


def records(body: bytes, kind: str) -> list[Any]:
    """The records of a body: rows of CSV, or JSON values."""
    text = body.decode()
    if kind == CSV:
        return [row for row in csv.reader(io.StringIO(text)) if row]
    if kind == JSON_LINES:
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    try:
        return [json.loads(text)]
    except ValueError:  # JSON Lines under application/json, which SageMaker takes too
        return [json.loads(line) for line in text.split("\n") if line.strip()]


def encoded(rows: list[Any], kind: str) -> bytes:
    if kind == CSV:
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows(row if isinstance(row, list) else [row] for row in rows)
        return stream.getvalue().encode()
    return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows).encode()


def select(record: Any, path: str) -> Any:
    """The part of a record that a restricted JSONPath names: $, $.a.b, $['a'], $[2], $[1:], $[0,3], $[-1].

    Raises:
        TransformError: the path uses something else, or names nothing in the record.
    """
    rest, value = path.removeprefix("$"), record
    while rest:
        match = re.match(r"\.(\w+)|\['([^']+)'\]|\[(-?\d+)\]|\[(-?\d*):(-?\d*)\]|\[([-\d,\s]+)\]", rest)
        if match is None:
            raise TransformError(f"the filter {path!r} uses a JSONPath that is not supported at {rest!r}")
        name, index, start, stop, several = match[1] or match[2], match[3], match[4], match[5], match[6]
        try:
            if name is not None:
                value = value[name]
            elif index is not None:
                value = value[int(index)]
            elif several is not None:
                value = [value[int(part)] for part in several.split(",")]
            else:
                value = value[int(start) if start else None : int(stop) if stop else None]
        except (KeyError, IndexError, TypeError) as error:
            raise TransformError(f"the filter {path!r} names nothing in a record: {error!r}") from error
        rest = rest[match.end() :]
    return value


def joined(record: Any, answer: Any, kind: str) -> Any:
    """One record with its prediction: CSV gains columns, a JSON object gains SageMakerOutput."""
    if kind == CSV:
        return [*record, *(answer if isinstance(answer, list) else [answer])]
    if isinstance(record, dict):
        return {**record, "SageMakerOutput": answer}
    return {"SageMakerInput": record, "SageMakerOutput": answer}


def transform(path: Path, job: dict[str, Any], server: Server) -> bytes:
    """The output of one object."""
    processing = job["processing"]
    input_filter, output_filter = processing.get("InputFilter", "$"), processing.get("OutputFilter", "$")
    join = processing.get("JoinSource", "None") == "Input"
    content_type, accept = job["content_type"], job["accept"]
    headers = {"Content-Type": content_type, "Accept": accept} if accept else {"Content-Type": content_type}
    parsed = join or input_filter != "$" or output_filter != "$"
    pieces: list[bytes] = []
    out_kind = accept or content_type
    for body in batches(path.read_bytes(), job["split"], job["strategy"], job["payload_bytes"]):
        if not parsed:
            pieces.append(server.invoke(body, headers))
            continue
        rows = records(body, content_type)
        asked = rows if input_filter == "$" else [select(row, input_filter) for row in rows]
        answers = records(server.invoke(encoded(asked, content_type), headers), out_kind)
        if len(answers) == 1 and isinstance(answers[0], list) and len(answers[0]) == len(rows) != 1:
            answers = answers[0] if out_kind != CSV else [[value] for value in answers[0]]
        if join and len(answers) != len(rows):
            raise TransformError(f"the model answered {len(answers)} records for {len(rows)}; they cannot be joined")
        if join:
            answers = [joined(row, answer, out_kind) for row, answer in zip(rows, answers, strict=True)]
        pieces.append(encoded([select(answer, output_filter) for answer in answers], out_kind))
    if job["assemble"] == "Line":
        return b"".join(piece if piece.endswith(b"\n") else piece + b"\n" for piece in pieces)
    return b"".join(pieces)


def transform_all(job: dict[str, Any], server: Server) -> list[str]:
    """Transform every staged object; return what went wrong, one line for each object without output."""
    source, target = BASE / "transform/input", BASE / "transform/output"
    files = sorted(path for path in source.rglob("*") if path.is_file())
    problems: list[str] = []

    def one(path: Path) -> None:
        name = path.relative_to(source).as_posix()
        try:
            answer = transform(path, job, server)
        except (TransformError, ValueError) as error:
            problems.append(f"{name}: {error}")
            print(f"ERROR {name}: {error}", flush=True)  # noqa: T201 - the job's log
            return
        out = target / f"{name}.out"
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(answer)
        print(f"transformed {name} ({path.stat().st_size} bytes)", flush=True)  # noqa: T201

    with concurrent.futures.ThreadPoolExecutor(job["concurrency"]) as pool:
        list(pool.map(one, files))
    return sorted(problems)


def main() -> int:
    job = json.loads((BASE / "transform/job.json").read_text())
    (BASE / "output").mkdir(parents=True, exist_ok=True)
    server = Server(job["serve"], job["host"], job["port"], job["timeout_seconds"], job["retries"])
    try:
        server.wait_until_ready()
        problems = transform_all(job, server)
    except TransformError as error:
        problems = [str(error)]
    finally:
        server.process.terminate()
        try:
            server.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.process.kill()
    if problems:
        (BASE / "output/failure").write_text(f"ClientError: {'; '.join(problems)}"[:1024])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
