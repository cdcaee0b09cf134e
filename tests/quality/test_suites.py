"""Loading a suite by name: parameters arrive, and only a suite of the job's own archive will do."""

import sys
from pathlib import Path

import pytest

from millrace.quality.errors import SuiteError
from millrace.quality.expectation import Expectation
from millrace.quality.suites import load_suite


@pytest.fixture(autouse=True)
def source_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def test_settings_arrive_as_json_values() -> None:
    suite = load_suite("example_suites:ages", ["lowest=18", "highest=65"])
    assert suite.name == "ages"
    assert suite.expectations[0] == Expectation(
        type="expect_column_values_to_be_between", kwargs={"column": "age", "min_value": 18, "max_value": 65}
    )
    assert [expectation.severity for expectation in suite.expectations] == ["critical", "warning", "critical"]


def test_a_json_file_beside_the_code() -> None:
    suite = load_suite("example_package/ages.json", ["lowest=18"])
    assert suite.expectations == (
        Expectation(
            type="expect_column_values_to_be_between",
            kwargs={"column": "age", "min_value": 18, "max_value": 120},
            severity="warning",
            meta={"notes": "nobody is younger"},
        ),
    )


def test_a_dict_needs_no_great_expectations() -> None:
    before = "great_expectations" in sys.modules
    load_suite("example_suites:ages")
    assert ("great_expectations" in sys.modules) == before


@pytest.mark.parametrize(
    ("reference", "settings", "message"),
    [
        ("example_suites", [], "not of the form"),
        ("../example_suites:ages", [], "not of the form"),
        ("os:system('true')", [], "not of the form"),
        ("example_suites:ages:x", [], "not of the form"),
        ("../example_package/ages.json", ["lowest=1"], "not of the form"),
        ("/etc/ages.json", [], "not of the form"),
        ("example_package/../example_package/ages.json", ["lowest=1"], "not of the form"),
        ("example_package/nothing.json", [], "is it in the source archive"),
        ("nowhere/ages.json", [], "is it in the source archive"),
        ("example_package/ages.json", [], "asks for the parameter 'lowest'"),
        ("example_package/ages.json", ["lowest=1", "highst=2"], "has no parameter 'highst'"),
        ("no_such_module:ages", [], "is it in the source archive"),
        ("example_suites:nobody", [], "has no function 'nobody'"),
        ("example_suites:ages", ["lowst=1"], "check the --set names"),
        ("example_suites:ages", ["lowest"], "not of the form name=value"),
        ("example_suites:not_a_suite", [], "returned a str"),
        ("example_suites:empty", [], "has no expectations"),
    ],
)
def test_what_is_no_suite(reference: str, settings: list[str], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        load_suite(reference, settings)
