"""Data quality, as Model Monitor's container does it: a dataset becomes a baseline, or is held against one."""

from __future__ import annotations

from pathlib import Path

from millrace.monitoring import exit_message, metrics_file, report, violations_file
from millrace.monitoring.baseline_folder import under_its_name
from millrace.monitoring.checks import check
from millrace.monitoring.container_contract import Contract
from millrace.monitoring.contract_dataset import open_batches
from millrace.monitoring.drift import ALPHA, DRIFT_SHARE, DriftResult, decide
from millrace.profiling import constraints_file, statistics_file
from millrace.profiling.constraints_file import Constraints
from millrace.profiling.errors import DatasetError
from millrace.profiling.profile import DatasetProfile
from millrace.profiling.summary import DatasetSummary
from millrace.profiling.unreadable import Unreadable


def run(contract: Contract) -> None:
    known = _statistics(contract.statistics)
    constraints = _constraints(contract.constraints, known)
    dataset, unreadable = profile(contract, constraints)
    if constraints is not None:
        for name in contract.exclude:
            constraints.features.pop(name, None)
    contract.output.mkdir(parents=True, exist_ok=True)
    statistics_file.write_statistics(contract.output, dataset)
    constraints_file.write_constraints(contract.output, constraints or constraints_file.suggest(dataset))
    result = _judge(known, dataset, constraints) if constraints else None
    violations = result.violations if result else []
    if result is not None or contract.schedule is not None:  # an earlier execution may have written into the same hour
        violations_file.write_violations(contract.output, violations)
    if result is not None and known is not None:
        report.write_report(contract.output, result, known, dataset)
    metrics_file.write_metrics(contract, metrics_file.of_features(dataset, result.features if result else []))
    exit_message.leave(len(violations), exit_message.unread(unreadable, dataset.rows))


def profile(contract: Contract, constraints: Constraints | None) -> tuple[DatasetSummary, Unreadable]:
    """Profile the contract's dataset. A column without a name of its own has that of the baseline's at its position."""
    features = constraints.features.values() if constraints else ()
    as_text = {feature.name for feature in features if feature.inferred_type == "String"}
    names = [feature.name for feature in features]
    found = DatasetProfile()
    with open_batches(contract, names, as_text, dictionaries=True) as (batches, unreadable):
        for batch in batches:
            found.add(batch)
        print(f"profiled {contract.source}: {found.rows} rows, {len(found.columns)} columns")
        if unreadable and not found.rows:
            raise DatasetError(f"none of {unreadable.count} lines can be read; {'; '.join(unreadable.examples)}")
        return found.summary(), unreadable


def _statistics(path: Path | None) -> DatasetSummary | None:
    if path is None:
        return None
    with under_its_name(path, statistics_file.FILE_NAME) as folder:
        return statistics_file.read_statistics(folder)


def _constraints(path: Path | None, known: DatasetSummary | None) -> Constraints | None:
    """The baseline's constraints; those that its statistics suggest where only these are given."""
    if path is None:
        return constraints_file.suggest(known) if known else None
    with under_its_name(path, constraints_file.FILE_NAME) as folder:
        return constraints_file.read_constraints(folder)


def _judge(known: DatasetSummary | None, dataset: DatasetSummary, constraints: Constraints) -> DriftResult:
    """Without statistics nothing can have drifted, and the constraints alone are held."""
    if known is not None:
        return decide(known, dataset, constraints)
    violations = list(check(dataset, constraints, alpha=ALPHA))
    return DriftResult(features=[], violations=violations, drift_share=DRIFT_SHARE)
