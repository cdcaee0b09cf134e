"""The gate as it runs in the container: files in, verdict, page and an exit status out."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from millrace import verdict

HERE = Path(__file__).parent
GOOD = "age,sex\n31,f\n40,m\n"
BAD = "age,sex\n31,f\n,m\n140,<img src=x onerror=alert(1)>\n"


def gate(folder: Path, suite: str, *arguments: str, modules: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the gate; with `modules` its standard error says what it imported."""
    (folder / "ml" / "output").mkdir(parents=True, exist_ok=True)
    command = [sys.executable, *(["-X", "importtime"] if modules else []), "-m", "millrace.quality"]
    return subprocess.run(
        [*command, "--suite", suite, "--gate", "raw data", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "SAGEMAKER_BASE_DIR": str(folder / "ml"),
            "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def batch(folder: Path, text: str, name: str = "a.csv") -> None:
    (folder / "input" / "data").mkdir(parents=True, exist_ok=True)
    (folder / "input" / "data" / name).write_text(text)


def spoken(folder: Path) -> verdict.Verdict:
    return verdict.parse((folder / "output" / "quality" / verdict.FILE_NAME).read_text())


def fetches_nothing(page: str) -> bool:
    references = r'<script|<img|<link|(src|href)="(https?:)?//'
    return "Content-Security-Policy" in page and not re.search(references, page)


def test_a_good_batch_passes_without_great_expectations(tmp_path: Path) -> None:
    batch(tmp_path, GOOD)
    batch(tmp_path, GOOD, "b.csv")
    ended = gate(tmp_path, "example_suites:ages", "--set", "highest=50", modules=True)
    assert ended.returncode == 0, ended.stderr
    assert "millrace.quality.gate" in ended.stderr
    assert not re.search(r"\| +(great_expectations|pandas.core|scipy|sklearn)$", ended.stderr, re.MULTILINE)
    said = spoken(tmp_path)
    assert (said.gate, said.passed, said.findings) == ("raw data", True, [])
    assert said.metrics == {
        "rows": 4, "expectations": 3, "failed_expectations": 0, "warnings": 0, "evaluated_in_memory": 0,
    }  # fmt: skip
    document = json.loads((tmp_path / "output" / "quality" / "validation.json").read_text())
    assert document["success"] is True
    assert [result["meta"] for result in document["results"]] == [{"evaluated": "streamed"}] * 3


def test_a_bad_batch_fails_with_values_and_a_page_that_fetches_nothing(tmp_path: Path) -> None:
    batch(tmp_path, BAD)
    ended = gate(tmp_path, "example_suites:ages")
    assert ended.returncode == 0, ended.stderr
    said = spoken(tmp_path)
    assert not said.passed
    assert (said.metrics["failed_expectations"], said.metrics["warnings"]) == (2, 1)
    assert said.summary == "Failed: 0 of 3 expectations hold on 3 rows, 1 only warns."
    assert [(finding.subject, finding.message) for finding in said.findings] == [
        ("age", "expect_column_values_to_be_between(min_value=0, max_value=120): 1 of 3 unexpected (50.00 %), for "
                "example 140"),
        ("sex", 'expect_column_values_to_be_in_set(value_set=["f", "m"]): 1 of 3 unexpected (33.33 %), for example '
                '"<img src=x onerror=alert(1)>"'),
        ("age", "warning: expect_column_values_to_not_be_null(): 1 of 3 unexpected (33.33 %)"),
    ]  # fmt: skip
    page = (tmp_path / "output" / "quality" / said.artifacts["data_docs"]).read_text()
    assert fetches_nothing(page)
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_warnings_let_the_data_pass(tmp_path: Path) -> None:
    batch(tmp_path, "age,sex\n31,f\n,m\n")
    assert gate(tmp_path, "example_suites:ages").returncode == 0
    said = spoken(tmp_path)
    assert said.passed
    assert [finding.message[:8] for finding in said.findings] == ["warning:"]
    document = json.loads((tmp_path / "output" / "quality" / "validation.json").read_text())
    assert document["success"] is False, "Great Expectations' own success knows no severity"


def test_great_expectations_evaluates_what_cannot_be_streamed_and_writes_its_page_when_asked(tmp_path: Path) -> None:
    batch(tmp_path, GOOD)
    ended = gate(tmp_path, "example_suites:great_expectations", "--data-docs", "gx")
    assert ended.returncode == 0, ended.stderr
    said = spoken(tmp_path)
    assert said.passed
    assert said.summary == "Passed: 1 of 2 expectations hold on 2 rows, 1 only warns, 1 evaluated in memory."
    assert said.findings[0].message.endswith("max_value=35.0): observed 35.5")
    document = json.loads((tmp_path / "output" / "quality" / "validation.json").read_text())
    assert document["results"][1]["meta"]["evaluated"] == "in memory"
    docs = tmp_path / "output" / "quality" / "docs"
    assert 'href="great_expectations.html"' in (docs / "index.html").read_text()
    theirs = (docs / "great_expectations.html").read_text()
    assert fetches_nothing(theirs)
    assert "values must be greater than or equal to" in theirs


def test_bad_rows_are_put_aside_and_the_others_go_on(tmp_path: Path) -> None:
    rows = [f"{age},f" for age in range(20, 60)]
    batch(tmp_path, "\n".join(["age,sex", *rows, "140,x"]) + "\n")
    batch(tmp_path, "age,sex\n31,f\n-1,m\n,m\n", "b.csv")
    ended = gate(tmp_path, "example_suites:ages", "--quarantine")
    assert ended.returncode == 0, ended.stderr
    said = spoken(tmp_path)
    assert said.passed, said.summary
    assert {name: said.metrics[name] for name in ("rows", "rows_read", "rows_accepted", "rows_quarantined")} == {
        "rows": 42, "rows_read": 44, "rows_accepted": 42, "rows_quarantined": 2,
    }  # fmt: skip
    accepted = pq.read_table(tmp_path / "output" / "accepted").to_pylist()
    assert [row["age"] for row in accepted] == [*range(20, 60), 31, None]
    assert accepted[0].keys() == {"age", "sex"}
    between = "expect_column_values_to_be_between(column='age', min_value=0, max_value=120)"
    in_set = "expect_column_values_to_be_in_set(column='sex', value_set=['f', 'm'])"
    assert pq.read_table(tmp_path / "output" / "quarantine").to_pylist() == [
        {"age": 140, "sex": "x", "_reasons": [between, in_set], "_source_file": "a.csv", "_source_row": 41},
        {"age": -1, "sex": "m", "_reasons": [between], "_source_file": "b.csv", "_source_row": 2},
    ]
    assert f"put aside: 2 rows that break {between}" in {finding.message for finding in said.findings}


def test_too_many_bad_rows_stop_the_data(tmp_path: Path) -> None:
    batch(tmp_path, BAD)
    assert gate(tmp_path, "example_suites:ages", "--quarantine", "--max-quarantined", "0.3").returncode == 0
    said = spoken(tmp_path)
    assert not said.passed
    assert said.findings[0].message == "1 of 3 rows (33.33%) were put aside; at most 30.00% may be"
    assert gate(tmp_path, "example_suites:ages", "--quarantine", "--max-quarantined", "0.4").returncode == 0
    assert spoken(tmp_path).passed


def test_what_is_evaluated_in_memory_is_evaluated_on_the_accepted_rows(tmp_path: Path) -> None:
    batch(tmp_path, "age,sex\n10,f\n20,f\n30,f\n1000,f\n2000,f\n")
    ended = gate(tmp_path, "example_suites:great_expectations", "--quarantine", "--max-quarantined", "1")
    assert ended.returncode == 0, ended.stderr
    document = json.loads((tmp_path / "output" / "quality" / "validation.json").read_text())
    assert document["results"][1]["result"]["observed_value"] == 20


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
        (GOOD, "example_suites:misspelled", (), "has no argument 'min_valu'; it takes column, max_value, min_value"),
        (GOOD, "example_suites:in_memory", ("--set", "value=1"), "does not take expect_column_median_to_be_between"),
        ("age,_reasons\n1,2\n", "example_suites:ages", ("--quarantine",), "has a column '_reasons'"),
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


def test_lines_that_are_no_rows_go_into_quarantine_and_are_counted(tmp_path: Path) -> None:
    batch(tmp_path, "age,sex\n" + "31,f\n" * 40 + "31,f,7,7\n31\n")
    ended = gate(tmp_path, "example_suites:ages", "--quarantine", "--max-quarantined", "0.1")
    assert ended.returncode == 0, ended.stderr
    said = spoken(tmp_path)
    assert said.passed
    assert {name: said.metrics[name] for name in ("rows_read", "rows_accepted", "rows_quarantined")} == {
        "rows_read": 42, "rows_accepted": 40, "rows_quarantined": 2,
    }  # fmt: skip
    assert ("lines", "put aside: 2 lines that are no rows: they have too many or too few cells") in [
        (finding.subject, finding.message) for finding in said.findings
    ]
    (kept,) = (tmp_path / "output" / "quarantine").glob("*-unparsable.jsonl")
    assert [json.loads(line)["text"] for line in kept.read_text().splitlines()] == ["31,f,7,7", "31"]
    ended = gate(tmp_path, "example_suites:ages")
    assert ended.returncode == 1
    assert (
        "Expected 2 columns, got 4: 31,f,7,7; quote cells that hold a comma, or quarantine such lines" in ended.stderr
    )


def test_a_cell_that_is_no_number_puts_its_row_aside_and_the_others_stay_numbers(tmp_path: Path) -> None:
    """Whichever block of the file shows it; nothing of a first pass is left over."""
    batch(tmp_path, "age,sex\n" + "31,f\n" * 30, "a.csv")
    batch(tmp_path, "age,sex\nunknown,f\n33,m\n", "b.csv")
    ended = gate(tmp_path, "example_suites:ages", "--quarantine")
    assert ended.returncode == 0, ended.stderr
    said = spoken(tmp_path)
    assert said.passed
    assert [said.metrics[name] for name in ("rows_read", "rows_accepted", "rows_quarantined")] == [32, 31, 1]
    accepted = pq.read_table(tmp_path / "output" / "accepted")
    assert accepted["age"].to_pylist() == [31] * 30 + [33]
    (aside,) = pq.read_table(tmp_path / "output" / "quarantine").to_pylist()
    assert (aside["age"], aside["_source_file"], aside["_source_row"]) == ("unknown", "b.csv", 1)
    assert aside["_reasons"] == ["expect_column_values_to_be_between(column='age', min_value=0, max_value=120)"]


def test_without_a_quarantine_a_column_that_turns_to_text_is_judged_as_text(tmp_path: Path) -> None:
    batch(tmp_path, "age,sex\n" + "31,f\n" * 30 + "unknown,f\n")
    ended = gate(tmp_path, "example_suites:ages")
    assert ended.returncode == 0, ended.stderr
    assert not spoken(tmp_path).passed
