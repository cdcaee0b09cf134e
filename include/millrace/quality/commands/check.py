"""Hold the rows of a dataset against a suite and write verdict, validation.json, Data Docs, and the quarantine."""

from __future__ import annotations

import argparse
import functools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from millrace.profiling.dataset import ColumnChangesType, Reading, column_types
from millrace.quality import data_docs, page, shards
from millrace.quality.expectation import Suite
from millrace.quality.findings import verdict_of
from millrace.quality.gate import Judged, judge, stream
from millrace.quality.quarantine import Quarantine
from millrace.quality.reading import read_source
from millrace.quality.results import document_of
from millrace.quality.streaming.suite_pass import SuitePass
from millrace.quality.suites import load_suite
from millrace.verdict import FILE_NAME as VERDICT
from millrace.verdict import Verdict

VALIDATION = "validation.json"
DOCS = "docs"
MAX_QUARANTINED = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_suite_arguments(parser)
    parser.add_argument("--data", type=Path, default=Path("input/data"), help="folder of .csv or .parquet files")
    parser.add_argument(
        "--columns",
        type=lambda text: text.split(","),
        action="extend",
        help="names for CSV files without a header line; may be given several times, since SageMaker takes arguments of "
        "at most 256 characters",
    )
    parser.add_argument("--quarantine", action="store_true", help="put rows that break a critical expectation aside")
    parser.add_argument(
        "--max-quarantined", type=share, default=MAX_QUARANTINED, help="share of the rows that may be put aside, 0 to 1"
    )
    parser.add_argument("--accepted", type=Path, default=Path("output/accepted"), help="where accepted rows go")
    parser.add_argument("--quarantined", type=Path, default=Path("output/quarantine"), help="where the others go")
    parser.add_argument(
        "--partial",
        action="store_true",
        help="write what this instance has seen of its shard, for `merge`, and no verdict",
    )


def add_suite_arguments(parser: argparse.ArgumentParser) -> None:
    """Which suite, for which gate, and where its results go."""
    parser.add_argument("--suite", required=True, help="package.module:function or package/name.json")
    parser.add_argument("--gate", required=True, help="the gate's name, for example 'raw data'")
    parser.add_argument("--set", action="append", default=[], help="name=value (JSON) for the suite; repeatable")
    parser.add_argument("--output", type=Path, default=Path("output/quality"))
    parser.add_argument(
        "--data-docs", choices=("page", "gx"), default="page", help="gx adds Great Expectations' own page, in seconds"
    )


def run(options: argparse.Namespace) -> None:
    suite = load_suite(options.suite, options.set)
    reading = Reading(columns=options.columns)
    try:
        found, quarantine = _passed(options, suite, reading)
    except ColumnChangesType:
        reading = replace(reading, types=column_types(options.data, reading))
        found, quarantine = _passed(options, suite, reading)
    read = functools.partial(read_source, options.data, reading)
    print(f"read {options.data}: {found.rows} rows, {len(found.names)} columns", flush=True)
    if options.partial:
        path = shards.write_part(options.output, suite, found, quarantine)
        print(f"wrote {path}: the part of this instance")
        return
    again = read if quarantine is None else functools.partial(read_source, options.accepted, Reading())
    judged = judge(suite, found, again)
    document = document_of(suite, judged.results, gate=options.gate)
    verdict = functools.partial(
        verdict_of, document, gate=options.gate, rows=judged.rows, quarantine=quarantine,
        max_quarantined=options.max_quarantined,
    )  # fmt: skip
    write(options, document, judged, verdict)


def _passed(options: argparse.Namespace, suite: Suite, reading: Reading) -> tuple[SuitePass, Quarantine | None]:
    """One pass over the rows, into fresh folders where bad rows are put aside."""
    if not options.quarantine:
        return stream(suite, functools.partial(read_source, options.data, reading)), None
    for folder in (options.accepted, options.quarantined):
        shutil.rmtree(folder, ignore_errors=True)
    quarantine = Quarantine(options.data, options.accepted, options.quarantined, suite.expectations)
    reading = replace(reading, on_invalid_row=quarantine.on_invalid)
    return stream(suite, functools.partial(read_source, options.data, reading), quarantine), quarantine


def write(options: argparse.Namespace, document: dict[str, Any], judged: Judged, verdict_with: Any) -> None:
    """Write verdict.json, validation.json and the Data Docs."""
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / VALIDATION).write_text(json.dumps(document, indent=1), encoding="utf-8")
    links = []
    if options.data_docs == "gx":
        links = [("Great Expectations' page", data_docs.write_page(options.output / DOCS, document).name)]
    verdict: Verdict = verdict_with(artifacts={"data_docs": f"{DOCS}/{page.FILE_NAME}", "validation": VALIDATION})
    page.write_page(options.output / DOCS, document, verdict, columns=judged.columns, links=links)
    verdict.write(options.output)
    print(f"wrote {VERDICT} and the Data Docs to {options.output}: {verdict.summary}")


def share(text: str) -> float:
    """An argument from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share; give a number from 0 to 1")
    return value
