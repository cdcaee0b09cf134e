"""The job as it runs in the container: files in, files and an exit status out."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.profiling import captured

from millrace import verdict
from millrace.monitoring.planted import Change, Stream
from millrace.monitoring.violations_file import read_violations


def job(folder: Path, *arguments: str, modules: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command; with `modules` its standard error says what it imported."""
    (folder / "ml" / "output").mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [sys.executable, *(["-X", "importtime"] if modules else []), "-m", "millrace.monitoring", *arguments],
        cwd=folder,
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(folder / "ml")},
        capture_output=True,
        text=True,
        check=False,
    )


def write(folder: Path, shift: float, rows: int = 400) -> None:
    rng = np.random.default_rng(int(shift * 10))
    folder.mkdir(parents=True)
    lines = [f"{rng.normal(shift):.5f},{rng.choice(['<b>x</b>', 'y'])},{i % 10}" for i in range(rows)]
    (folder / "part-0.csv").write_text("\n".join(["<script>alert(1)</script>,word,label", *lines]))


@pytest.fixture
def processing(tmp_path: Path) -> Path:
    write(tmp_path / "first", 0)
    made = job(tmp_path, "baseline", "--data", "first", "--output", "input/baseline", "--exclude", "label")
    assert made.returncode == 0, made.stderr
    return tmp_path


@pytest.mark.parametrize(("shift", "passed"), [(0.0, True), (2.0, False)])
def test_what_an_endpoint_has_captured_is_held_against_the_baseline_by_position(
    tmp_path: Path, shift: float, passed: bool
) -> None:
    """The requests have no names; lines that cannot be read are told and do not count."""
    dice = np.random.default_rng(3)

    def rows(count: int, shift: float) -> list[str]:
        return [f"{dice.normal(shift):.4f},{dice.normal():.4f}" for _ in range(count)]

    (tmp_path / "first").mkdir()
    (tmp_path / "first/train.csv").write_text("\n".join(["height,weight", *rows(2000, 0)]))
    made = job(tmp_path, "baseline", "--data", "first", "--output", "input/baseline")
    assert made.returncode == 0, made.stderr
    hour = tmp_path / "input/data/AllTraffic/2026/01/31/15"
    hour.mkdir(parents=True)
    (hour / "a.jsonl").write_text("".join(captured.line(given, "1") for given in rows(400, shift)) + "no event\n")
    ended = job(tmp_path, "drift", "--capture", "input")
    assert ended.returncode == 0, ended.stderr
    assert "1 of 401 captured lines cannot be read" in ended.stdout
    spoken = verdict.parse((tmp_path / "output/report" / verdict.FILE_NAME).read_text())
    assert spoken.passed is passed
    assert (spoken.metrics["rows"], spoken.metrics["features"]) == (400, 2)
    assert passed or "height" in {finding.subject for finding in spoken.findings}
    ended = job(tmp_path, "drift", "--capture", "input", "--exclude", "height")
    assert ended.returncode == 0, ended.stderr
    spoken = verdict.parse((tmp_path / "output/report" / verdict.FILE_NAME).read_text())
    assert (spoken.passed, spoken.metrics["features"]) == (True, 1), "what is left keeps its name"


@pytest.mark.parametrize(("shift", "passed"), [(0.01, True), (2.0, False)])
def test_drift_exits_0_whatever_it_finds(processing: Path, shift: float, passed: bool) -> None:
    write(processing / "input" / "data", shift)
    ended = job(processing, "drift", "--exclude", "label")
    assert ended.returncode == 0, ended.stderr
    output = processing / "output" / "report"
    spoken = verdict.parse((output / verdict.FILE_NAME).read_text())
    assert (spoken.gate, spoken.passed) == ("drift", passed)
    assert spoken.metrics["features"] == 2
    assert spoken.metrics["rows"] == 400
    assert all((output / path).is_file() for path in spoken.artifacts.values())
    assert bool(read_violations(output)) is not passed
    used = (processing / "input" / "baseline" / "constraints.json").read_bytes()
    assert (output / "constraints.json").read_bytes() == used
    page = (output / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert not re.search(r"(src|href)=|url\(", page)


def test_neither_command_imports_what_takes_longer_than_its_work(processing: Path) -> None:
    write(processing / "input" / "data", 0.01)
    made = job(processing, "baseline", "--data", "first", "--output", "again", modules=True)
    held = job(processing, "drift", "--exclude", "label", modules=True)
    for ended, heavy in ((made, "pandas.core|sklearn|scipy|jinja2"), (held, "pandas.core|sklearn|scipy.stats")):
        assert ended.returncode == 0
        assert "pyarrow.parquet" in ended.stderr
        assert re.findall(rf"\| +({heavy})$", ended.stderr, re.MULTILINE) == []


@pytest.mark.parametrize("fault", ["no data", "no baseline", "infinite"])
def test_unusable_input_exits_1_with_one_message(processing: Path, fault: str) -> None:
    data = processing / "input" / "data"
    arguments = ["drift"]
    expected = "does not exist"
    if fault != "no data":
        write(data, 0.02)
    if fault == "no baseline":
        arguments += ["--baseline", "nowhere"]
        expected = "run the `baseline` command first"
    if fault == "infinite":
        (data / "part-0.csv").write_text("a\n1.5\ninf\n")
        expected = "column 'a' holds inf"
    ended = job(processing, *arguments)
    assert ended.returncode == 1
    assert expected in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert (processing / "ml" / "output" / "message").read_text() == ended.stderr.strip()


def test_the_written_files_are_strict_json(processing: Path) -> None:
    for name in ("statistics.json", "constraints.json"):
        json.loads((processing / "input" / "baseline" / name).read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize("rows", [0, 29])
def test_a_window_of_too_few_rows_is_not_judged(processing: Path, rows: int) -> None:
    write(processing / "input" / "data", 5.0, rows)
    ended = job(processing, "drift", "--exclude", "label")
    assert ended.returncode == 0, ended.stderr
    output = processing / "output" / "report"
    spoken = verdict.parse((output / verdict.FILE_NAME).read_text())
    assert (spoken.passed, spoken.metrics) == (True, {"judged": 0, "rows": rows})
    assert f"has {rows} rows, and at least 30 are needed" in spoken.summary
    assert all((output / path).is_file() for path in spoken.artifacts.values())


def test_profiles_of_days_are_judged_as_their_rows_together(processing: Path) -> None:
    """Three days, each profiled by itself; the window of all three has drifted."""
    for day in ("1", "2", "3"):
        write(processing / "days" / day, 2.0 + int(day) / 10)
        made = job(processing, "profile", "--data", f"days/{day}", "--output", f"input/profiles/{day}")
        assert made.returncode == 0, made.stderr
    ended = job(processing, "drift", "--profiles", "input/profiles", "--exclude", "label")
    assert ended.returncode == 0, ended.stderr
    spoken = verdict.parse((processing / "output" / "report" / verdict.FILE_NAME).read_text())
    assert (spoken.passed, spoken.metrics["rows"], spoken.metrics["features"]) == (False, 1200, 2)
    assert "in the baseline" in spoken.findings[0].message


def test_profiles_that_are_not_there(processing: Path) -> None:
    ended = job(processing, "drift", "--profiles", "input/profiles")
    assert ended.returncode == 1
    assert (
        ended.stderr.strip()
        == "there is no profile.json under input/profiles; mount the profiles as a processing input there"
    )


@pytest.mark.parametrize("kind", ["none", "correlation"])
def test_columns_that_no_longer_go_together_are_drift_though_each_keeps_its_distribution(
    tmp_path: Path, kind: str
) -> None:
    for name, day in (("first", 0), ("input/data", 1)):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        stream = Stream(7, Change(kind=kind, size=0.0 if kind == "none" else 0.6, day=1))
        pq.write_table(stream.day(day, 3000).drop_columns(["repaid"]), folder / "rows.parquet")
    made = job(tmp_path, "baseline", "--data", "first", "--output", "input/baseline")
    assert made.returncode == 0, made.stderr
    ended = job(tmp_path, "drift")
    assert ended.returncode == 0, ended.stderr
    spoken = verdict.parse((tmp_path / "output/report" / verdict.FILE_NAME).read_text())
    assert spoken.metrics["drifted_features"] == 0
    assert spoken.passed is (kind == "none")
    page = (tmp_path / "output/report/report.html").read_text()
    if kind == "none":
        assert "Columns go together as they did." in page
    else:
        assert "and columns no longer go together as they did" in spoken.summary
        assert [finding.subject for finding in spoken.findings] == ["columns together"]
        assert spoken.findings[0].message.partition(" from ")[0] in page


def test_columns_of_nothing_are_no_error_and_losing_all_values_is_drift(tmp_path: Path) -> None:
    for name, lines in {
        "first": ["a,b,c", *(f"{row % 7},,{row}" for row in range(200))],
        "input/data": ["a,b,c", *(f",,{row}" for row in range(200))],
    }.items():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "rows.csv").write_text("\n".join(lines) + "\n")
    made = job(tmp_path, "baseline", "--data", "first", "--output", "input/baseline")
    assert made.returncode == 0, made.stderr
    ended = job(tmp_path, "drift")
    assert ended.returncode == 0, ended.stderr
    spoken = verdict.parse((tmp_path / "output/report" / verdict.FILE_NAME).read_text())
    assert not spoken.passed
    assert {finding.subject for finding in spoken.findings} <= {"a", "columns together"}
    assert any("no value is left" in finding.message for finding in spoken.findings)
