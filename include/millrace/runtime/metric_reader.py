"""The program beside a training job that finds its metrics in its log.

Run as `python -I -S metric_reader.py FOLDER` by the shim; FOLDER holds `metric_definitions.json` (SageMaker's list of
names and regular expressions) and the job's `log`. For every match it appends a line `{"name", "value", "time"}` to
`metrics.jsonl` (8 MiB at most; the rest is not sent to CloudWatch), and keeps the last of each metric in
`metrics-last.json`; time is that of the log line, in milliseconds. When its standard input closes it reads what is left of
the log and ends. It is a process of its own because a regular expression may take for ever: then only the metrics are lost.

Standard library only, like the shim.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import select
import sys
from collections.abc import Iterator
from pathlib import Path

PAUSE_SECONDS = 0.1
READ_BYTES = 1024 * 1024
MOST_BYTES = 8 * 1024 * 1024


def found(line: str, definitions: list[tuple[str, re.Pattern[str]]]) -> Iterator[tuple[str, float]]:
    """Every metric in one log line, finite values only: the first group of the expression, or the whole match."""
    for name, expression in definitions:
        for match in expression.finditer(line):
            text = match[1] if expression.groups else match[0]
            with contextlib.suppress(TypeError, ValueError):
                value = float(text)
                if math.isfinite(value):
                    yield name, value


def keep(folder: Path, last: dict[str, dict[str, object]]) -> None:
    """Replace the file of last values whole, so that a reader never sees half of one."""
    temporary = folder / "metrics-last.new"
    temporary.write_text(json.dumps(list(last.values())))
    temporary.rename(folder / "metrics-last.json")


def main() -> None:
    folder = Path(sys.argv[1])
    rows = json.loads((folder / "metric_definitions.json").read_text())
    definitions = [(row["Name"], re.compile(row["Regex"])) for row in rows]
    print("ready", flush=True)  # noqa: T201
    rest, is_over = b"", False
    last: dict[str, dict[str, object]] = {}
    with (folder / "log").open("rb") as log, (folder / "metrics.jsonl").open("a") as metrics:
        while True:
            data = log.read(READ_BYTES)
            if not data:
                if is_over:
                    return
                is_over = bool(select.select([sys.stdin], [], [], PAUSE_SECONDS)[0])
                continue
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                stamp, _, text = line.partition(b" ")
                for name, value in found(text.decode(errors="replace"), definitions):
                    last[name] = {"name": name, "value": value, "time": int(stamp)}
                    if metrics.tell() < MOST_BYTES:
                        metrics.write(json.dumps(last[name]) + "\n")
            metrics.flush()
            keep(folder, last)


if __name__ == "__main__":
    main()
