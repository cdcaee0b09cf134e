"""The gate as it runs in the container: files in, verdict, pages and an exit status out."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from millrace import verdict

HERE = Path(__file__).parent
GOOD = "age,sex\n31,f\n40,m\n"
BAD = "age,sex\n31,f\n,m\n140,<img src=x onerror=alert(1)>\n"


def gate(folder: Path, suite: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "ml" / "output").mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "millrace.quality", "--suite", suite, "--gate", "raw data", *arguments],
        cwd=folder,
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(folder / "ml"), "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=False,
    )


def batch(folder: Path, text: str) -> None:
    (folder / "input" / "data").mkdir(parents=True)
    (folder / "input" / "data" / "a.csv").write_text(text)


def spoken(folder: Path) -> verdict.Verdict:
    return verdict.parse((folder / "output" / "quality" / verdict.FILE_NAME).read_text())


def test_a_good_batch_passes(tmp_path: Path) -> None:
    batch(tmp_path, GOOD)
    (tmp_path / "input" / "data" / "b.csv").write_text(GOOD)
    ended = gate(tmp_path, "example_suites:ages", "--set", "highest=50")
    assert ended.returncode == 0, ended.stderr
    said = spoken(tmp_path)
    assert (said.gate, said.passed, said.findings) == ("raw data", True, [])
    assert said.metrics == {"rows": 4, "expectations": 3, "failed_expectations": 0}
    document = json.loads((tmp_path / "output" / "quality" / "validation.json").read_text())
    assert document["success"] is True


def test_a_bad_batch_fails_with_values_and_pages_that_fetch_nothing(tmp_path: Path) -> None:
    batch(tmp_path, BAD)
    ended = gate(tmp_path, "example_suites:ages")
    assert ended.returncode == 0, ended.stderr
    said = spoken(tmp_path)
    assert not said.passed
    assert said.metrics["failed_expectations"] == 3
    messages = {finding.message for finding in said.findings}
    assert "expect_column_values_to_not_be_null(): 1 of 3 unexpected (33.33 %)" in messages
    assert any("max_value=120.0): 1 of 3 unexpected (50.00 %), for example 140.0" in text for text in messages)
    assert {finding.subject for finding in said.findings} == {"age", "sex"}
    docs = tmp_path / "output" / "quality" / "docs"
    assert (docs.parent / said.artifacts["data_docs"]).is_file()
    pages = list(docs.rglob("*.html"))
    assert len(pages) == 3
    for page in pages:
        text = page.read_text()
        assert not re.search(r'<script|<img|<link|(src|href)="(https?:)?//', text)
        assert "Content-Security-Policy" in text
    index = (docs / "index.html").read_text()
    assert all((docs / link).is_file() for link in re.findall(r'href="([^"]+)"', index))


def test_a_missing_column_is_a_finding(tmp_path: Path) -> None:
    batch(tmp_path, GOOD)
    ended = gate(tmp_path, "example_suites:missing_column")
    assert ended.returncode == 0, ended.stderr
    (finding,) = spoken(tmp_path).findings
    assert finding.subject == "nowhere"
    assert "could not be evaluated" in finding.message
    assert "does not exist" in finding.message


@pytest.mark.parametrize(
    ("text", "suite", "arguments", "message"),
    [
        ("age,sex\n", "example_suites:ages", (), "the batch is empty"),
        (GOOD, "example_suites.ages", (), "not of the form package.module:function"),
    ],
)
def test_unusable_input_exits_1_with_one_message(
    tmp_path: Path, text: str, suite: str, arguments: tuple[str, ...], message: str
) -> None:
    batch(tmp_path, text)
    ended = gate(tmp_path, suite, *arguments)
    assert ended.returncode == 1
    assert message in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert (tmp_path / "ml" / "output" / "message").read_text() == ended.stderr.splitlines()[-1]
    assert not (tmp_path / "output" / "quality" / verdict.FILE_NAME).exists()
