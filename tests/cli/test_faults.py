"""`millrace faults` as typed: rules are added, shown, set from a file and cleared; what cannot be used is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from millrace.cli import faults
from millrace.runtime import fault_plan
from millrace.runtime.faults import FAULTS, DropConnection, FailJob, SlowBody, Throttle


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MILLRACE_STATE", str(tmp_path))
    return tmp_path / "runtime"


def run(*arguments: str, code: int = 0) -> str:
    faults.console.width = 300
    result = CliRunner().invoke(faults.app, arguments, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_rules_are_added_shown_and_cleared(data_dir: Path) -> None:
    assert "no fault is planned" in run("show")
    run("add", "throttle", "--operation", "Create*", "--times", "3")
    shown = run("add", "fail_job", "reason=CapacityError: none", "run_seconds=5", "--times", "1")
    assert "3 of 3" in shown
    assert "CapacityError: none" in shown
    first, second = fault_plan.read(data_dir)
    assert (first.fault, first.operation, first.times) == (Throttle(), "Create*", 3)
    assert second.fault == FailJob(reason="CapacityError: none", run_seconds=5)
    assert "no fault is planned" in run("clear")
    assert fault_plan.read(data_dir) == ()


def test_a_files_rules_are_set_afresh(data_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text('[{"fault": "throttle", "seconds": 60, "since": 5, "id": "old"}]')
    assert "60 s" in run("set", str(file))
    (rule,) = fault_plan.read(data_dir)
    assert rule.id != "old"
    assert rule.since > 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "nonsense", "--times", "1"), "fault is 'nonsense'"),
        (("add", "throttle"), "either times or seconds"),
        (("add", "hold_job", "5", "--times", "1"), "'5' is no parameter; write NAME=VALUE"),
        (("add", "throttle", "times=3"), "write --times 3"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_and_the_plan_stands(
    data_dir: Path, arguments: tuple[str, ...], message: str
) -> None:
    run("add", "throttle", "--times", "1")
    before = fault_plan.read(data_dir)
    assert message in run(*arguments, code=2)
    assert fault_plan.read(data_dir) == before


def test_a_plan_that_was_spoilt_by_hand_is_told(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / fault_plan.PLAN).write_text("{")
    assert "the plan is not JSON" in run("show", code=2)
    run("clear")


def test_faults_of_s3_are_added_by_bucket_and_key(data_dir: Path) -> None:
    run("add", "slow_body", "bytes_per_second=65536", "--operation", "s3:*", "--name", "bucket/*", "--seconds", "60")
    shown = run("add", "drop_connection", "after_bytes=1000", "--operation", "GetObject", "--times", "1")
    assert "slow_body bytes_per_second=65536" in shown
    assert "bucket/*" in shown
    assert [rule.fault for rule in fault_plan.read(data_dir)] == [
        SlowBody(bytes_per_second=65536),
        DropConnection(after_bytes=1000),
    ]


def test_help_names_every_fault_with_its_parameters() -> None:
    result = CliRunner().invoke(faults.app, ["add", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert all(f" {word}" in result.output for word in FAULTS)
    assert "slow_body bytes_per_second=…: Let an object's bytes trickle" in result.output
