"""The command line of a quality gate: `python -m millrace.quality --suite module:function --gate NAME`.

Paths are relative to the job's working directory, /opt/ml/processing. How it ends: `millrace.job_exit`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read once, when Great Expectations is imported below

from millrace.job_exit import exit_status
from millrace.quality.batch import read_batch
from millrace.verdict import FILE_NAME as VERDICT

VALIDATION = "validation.json"
DOCS = "docs"


def main(arguments: list[str] | None = None) -> int:
    """Run one gate and return the exit status."""
    options = _parser().parse_args(arguments)
    return exit_status(lambda: run(options))


def run(options: argparse.Namespace) -> None:
    """Judge the batch and write verdict.json, validation.json and the Data Docs site."""
    batch = read_batch(options.data, options.columns)
    print(f"read {options.data}: {len(batch)} rows, {len(batch.columns)} columns", flush=True)
    # Great Expectations takes seconds to import: an unusable batch is refused before.
    from millrace.quality.data_docs import take_offline
    from millrace.quality.findings import verdict_of
    from millrace.quality.suites import load_suite
    from millrace.quality.validation import validate

    suite = load_suite(options.suite, options.set)
    options.output.mkdir(parents=True, exist_ok=True)
    site = options.output / DOCS
    document = validate(batch, suite, gate=options.gate, site=site)
    (options.output / VALIDATION).write_text(json.dumps(document, indent=1), encoding="utf-8")
    artifacts = {"data_docs": f"{DOCS}/index.html", "validation": VALIDATION}
    verdict = verdict_of(document, gate=options.gate, rows=len(batch), artifacts=artifacts)
    take_offline(site, verdict)
    verdict.write(options.output)
    print(f"wrote {VERDICT} and the Data Docs to {options.output}: {verdict.summary}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m millrace.quality", description=__doc__)
    parser.add_argument("--suite", required=True, help="package.module:function that returns an ExpectationSuite")
    parser.add_argument("--gate", required=True, help="the gate's name, for example 'raw data'")
    parser.add_argument("--data", type=Path, default=Path("input/data"), help="folder of .csv or .parquet files")
    parser.add_argument("--output", type=Path, default=Path("output/quality"))
    parser.add_argument("--set", action="append", default=[], help="name=value (JSON) for the suite; repeatable")
    parser.add_argument(
        "--columns",
        type=lambda text: text.split(","),
        action="extend",
        help="names for CSV files without a header line; may be given several times, since SageMaker takes arguments of "
        "at most 256 characters",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
