"""Loading a suite by name: parameters arrive, and only a function of a module that returns a suite will do."""

import warnings
from pathlib import Path
from typing import Any

import pytest

from millrace.quality.errors import SuiteError


@pytest.fixture(autouse=True)
def source_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("GX_ANALYTICS_ENABLED", "false")


def load_suite(reference: str, settings: list[str]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Great Expectations imports sre_constants
        from millrace.quality.suites import load_suite
    return load_suite(reference, settings)


def test_settings_arrive_as_json_values() -> None:
    suite = load_suite("example_suites:ages", ["lowest=18", "highest=65"])
    assert (suite.expectations[0].min_value, suite.expectations[0].max_value) == (18, 65)


@pytest.mark.parametrize(
    ("reference", "settings", "message"),
    [
        ("example_suites", [], "not of the form"),
        ("../example_suites:ages", [], "not of the form"),
        ("os:system('true')", [], "not of the form"),
        ("example_suites:ages:x", [], "not of the form"),
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
