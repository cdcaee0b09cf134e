"""Do what Model Monitor's container does, told by its environment variables: a baseline, or a dataset held against one."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from millrace.monitoring import container_contract, metrics_file, report, violations_file
from millrace.monitoring.checks import check
from millrace.monitoring.container_contract import Contract
from millrace.monitoring.drift import ALPHA, DRIFT_SHARE, DriftResult, decide
from millrace.profiling import constraints_file, statistics_file
from millrace.profiling.capture import Capture
from millrace.profiling.constraints_file import Constraints
from millrace.profiling.dataset import Reading, read_batches
from millrace.profiling.errors import DatasetError
from millrace.profiling.json_dataset import JsonDataset
from millrace.profiling.profile import DatasetProfile
from millrace.profiling.summary import DatasetSummary
from millrace.profiling.typed_rows import typed_batches
from millrace.profiling.unreadable import Unreadable

NO_VIOLATIONS = "Completed: Job completed successfully with no violations."
VIOLATIONS = "CompletedWithViolations: Job completed successfully with {count} violations."
"""Model Monitor's own words, as the job's ExitMessage."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass  # everything is said by the environment


def run(_options: argparse.Namespace) -> None:
    contract = container_contract.of_this_job()
    known = _statistics(contract.statistics)
    constraints = _constraints(contract.constraints, known)
    if constraints is not None:
        for name in contract.exclude:
            constraints.features.pop(name, None)
    dataset, unreadable = profile(contract, constraints)
    contract.output.mkdir(parents=True, exist_ok=True)
    statistics_file.write_statistics(contract.output, dataset)
    constraints_file.write_constraints(contract.output, constraints or constraints_file.suggest(dataset))
    result = _judge(known, dataset, constraints) if constraints else None
    if result is not None or contract.schedule is not None:  # an earlier execution may have written into the same hour
        violations_file.write_violations(contract.output, result.violations if result else [])
    if result is not None and known is not None:
        report.write_report(contract.output, result, known, dataset)
    if contract.metrics is not None:
        metrics_file.write_metrics(
            contract.metrics,
            dataset,
            result.features if result else [],
            time=contract.until or datetime.now(UTC),
            endpoint=contract.endpoint,
            schedule=contract.schedule,
        )
    _say(result, dataset, unreadable)


def profile(contract: Contract, constraints: Constraints | None) -> tuple[DatasetSummary, Unreadable]:
    """Profile the contract's dataset. A column without a name of its own has that of the baseline's at its position."""
    features = constraints.features.values() if constraints else ()
    as_text = {feature.name for feature in features if feature.inferred_type == "String"}
    names = [feature.name for feature in features]
    found = DatasetProfile()
    with _batches(contract, names, as_text) as (batches, unreadable):
        for batch in batches:
            found.add(batch)
        print(f"profiled {contract.source}: {found.rows} rows, {len(found.columns)} columns")
        if unreadable and not found.rows:
            raise DatasetError(f"none of {unreadable.count} lines can be read; {'; '.join(unreadable.examples)}")
        return found.summary(), unreadable


Readable = tuple[Iterator[pa.RecordBatch], Unreadable]


@contextmanager
def _batches(contract: Contract, names: Sequence[str], as_text: Collection[str]) -> Iterator[Readable]:
    """The dataset's batches, and what of it could not be read, which is known when the last batch has been."""
    chosen, exclude = contract.format, contract.exclude
    if chosen.kind in ("csv", "parquet"):
        with tempfile.TemporaryDirectory() as scratch:
            folder = _with_suffix(contract.source, f".{chosen.kind}", Path(scratch))
            columns = None if chosen.kind == "parquet" or chosen.header else _positions(folder, names)
            yield read_batches(folder, Reading(exclude=exclude, as_text=as_text, columns=columns)), Unreadable()
        return
    unreadable = Unreadable()
    rows = (
        JsonDataset(contract.source, by_line=chosen.by_line)
        if chosen.kind == "json"
        else Capture(contract.source, parts=chosen.parts, names=names, since=contract.since, until=contract.until)
    )

    def batches() -> Iterator[pa.RecordBatch]:
        yield from typed_batches(rows.rows, exclude=exclude, as_text=as_text)
        unreadable.count, unreadable.examples = rows.unreadable.count, rows.unreadable.examples

    yield batches(), unreadable


def _with_suffix(source: Path, suffix: str, scratch: Path) -> Path:
    """The folder of the source, or where its files have other names (batch transform's end in .out) one of links to them."""
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    if not source.is_file() and all(path.suffix == suffix for path in files):
        return source
    for index, path in enumerate(files):
        if not path.name.startswith((".", "_")):
            (scratch / f"{index:06d}{suffix}").symlink_to(path.resolve())
    return scratch


def _positions(folder: Path, names: Sequence[str]) -> list[str]:
    """Names for the columns of CSV files without a header line: the baseline's, then `_c0`, `_c1` by position."""
    first = next(iter(sorted(folder.rglob("*.csv"))), None)
    if first is None:
        return list(names)
    with first.open("r", encoding="utf-8", errors="replace") as stream:
        count = stream.readline(1024 * 1024).count(",") + 1
    return [names[index] if index < len(names) else f"_c{index}" for index in range(count)]


def _statistics(path: Path | None) -> DatasetSummary | None:
    if path is None:
        return None
    with _under_its_name(path, statistics_file.FILE_NAME) as folder:
        return statistics_file.read_statistics(folder)


def _constraints(path: Path | None, known: DatasetSummary | None) -> Constraints | None:
    """The baseline's constraints; those that its statistics suggest where only these are given."""
    if path is None:
        return constraints_file.suggest(known) if known else None
    with _under_its_name(path, constraints_file.FILE_NAME) as folder:
        return constraints_file.read_constraints(folder)


@contextmanager
def _under_its_name(path: Path, name: str) -> Iterator[Path]:
    """A folder that holds a baseline file by its usual name, whatever it was called in S3."""
    if path.is_dir() or path.name == name:
        yield path if path.is_dir() else path.parent
        return
    with tempfile.TemporaryDirectory() as scratch:
        if path.is_file():
            shutil.copyfile(path, Path(scratch) / name)
        yield Path(scratch)


def _judge(known: DatasetSummary | None, dataset: DatasetSummary, constraints: Constraints) -> DriftResult:
    """Without statistics nothing can have drifted, and the constraints alone are held."""
    if known is not None:
        return decide(known, dataset, constraints)
    violations = list(check(dataset, constraints, alpha=ALPHA))
    return DriftResult(features=[], violations=violations, drift_share=DRIFT_SHARE)


def _say(result: DriftResult | None, dataset: DatasetSummary, unreadable: Unreadable) -> None:
    """The job's last line and its ExitMessage."""
    count = len(result.violations) if result else 0
    message = VIOLATIONS.format(count=count) if count else NO_VIOLATIONS
    if unreadable:
        message += f" {unreadable.count} lines could not be read, beside {dataset.rows} rows; {unreadable.examples[0]}."
        for example in unreadable.examples:
            print(f"not read: {example}")
    print(message)
    folder = Path(os.environ.get("SAGEMAKER_BASE_DIR", container_contract.BASE)) / "output"
    if folder.is_dir():
        (folder / "message").write_text(message[:1000], encoding="utf-8")
