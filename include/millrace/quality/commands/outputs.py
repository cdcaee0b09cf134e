"""What several commands are told alike, and what they write: verdict.json, validation.json and the Data Docs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from millrace.quality import data_docs, page
from millrace.quality.expectation import Suite
from millrace.quality.findings import verdict_of
from millrace.quality.gate import Judged
from millrace.quality.quarantine import Quarantine
from millrace.quality.results import document_of
from millrace.verdict import FILE_NAME as VERDICT

VALIDATION = "validation.json"
DOCS = "docs"
MAX_QUARANTINED = 0.05


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Which rows."""
    parser.add_argument("--data", type=Path, default=Path("input/data"), help="folder of .csv or .parquet files")
    parser.add_argument(
        "--columns",
        type=lambda text: text.split(","),
        action="extend",
        help="names for CSV files without a header line; may be given several times, since SageMaker takes arguments of "
        "at most 256 characters",
    )


def add_suite_arguments(parser: argparse.ArgumentParser) -> None:
    """Which suite."""
    parser.add_argument("--suite", required=True, help="package.module:function or package/name.json")
    parser.add_argument("--set", action="append", default=[], help="name=value (JSON) for the suite; repeatable")
    parser.add_argument(
        "--max-quarantined", type=share, default=MAX_QUARANTINED, help="share of the rows that may be put aside, 0 to 1"
    )


def add_gate_arguments(parser: argparse.ArgumentParser, gate: str | None = None) -> None:
    """For which gate, and where its results go."""
    parser.add_argument("--gate", required=gate is None, default=gate, help="the gate's name, for example 'raw data'")
    parser.add_argument("--output", type=Path, default=Path("output/quality"))
    parser.add_argument(
        "--data-docs", choices=("page", "gx"), default="page", help="gx adds Great Expectations' own page, in seconds"
    )


def write(options: argparse.Namespace, suite: Suite, judged: Judged, quarantine: Quarantine | None = None) -> None:
    """Write verdict.json, validation.json and the Data Docs."""
    document = document_of(suite, judged.results, gate=options.gate)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / VALIDATION).write_text(json.dumps(document, indent=1), encoding="utf-8")
    links: Sequence[tuple[str, str]] = ()
    if options.data_docs == "gx":
        links = [("Great Expectations' page", data_docs.write_page(options.output / DOCS, document).name)]
    verdict = verdict_of(
        document,
        gate=options.gate,
        rows=judged.rows,
        artifacts={"data_docs": f"{DOCS}/{page.FILE_NAME}", "validation": VALIDATION},
        quarantine=quarantine,
        max_quarantined=options.max_quarantined if quarantine is not None else 1.0,
    )
    page.write_page(options.output / DOCS, document, verdict, columns=judged.columns, links=links)
    verdict.write(options.output)
    print(f"wrote {VERDICT} and the Data Docs to {options.output}: {verdict.summary}")


def share(text: str) -> float:
    """An argument from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share; give a number from 0 to 1")
    return value
