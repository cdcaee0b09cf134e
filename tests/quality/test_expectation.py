"""A suite's document is not trusted: what is not of Great Expectations' form ends the gate with the member's name."""

from typing import Any

import pytest

from millrace.quality.errors import SuiteError
from millrace.quality.expectation import suite_of

ONE: dict[str, Any] = {"type": "expect_column_to_exist", "kwargs": {"column": "x"}}


def suite(*expectations: Any, **members: Any) -> dict[str, Any]:
    return {"name": "s", "expectations": list(expectations), **members}


def test_what_great_expectations_writes_is_read() -> None:
    written = suite(
        {**ONE, "id": "a", "meta": None, "severity": "info", "notes": None, "rendered_content": None},
        id=None, meta={"great_expectations_version": "1.24.1"}, notes=None,
    )  # fmt: skip
    read = suite_of(written, source="s.json")
    assert read.to_json() == {"name": "s", "expectations": [{**ONE, "meta": {}, "severity": "info"}]}
    assert not read.expectations[0].blocks


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], r"s\.json is \[\]; it must be an object"),
        (suite(ONE, name=""), "a suite needs a name"),
        ({"name": "s"}, "expectations is None; it must be a list"),
        (suite(), "has no expectations"),
        (suite(ONE, expectation=[]), "the member 'expectation', which no suite has"),
        (suite("x"), r"expectations\[0\] is 'x'; it must be an object"),
        (suite({"kwargs": {}}), r"expectations\[0\]\.type is None"),
        (suite({**ONE, "type": "import os"}), r"type is 'import os'"),
        (suite(ONE, {**ONE, "severity": "blocker"}), r"expectations\[1\]\.severity is 'blocker'; it must be one of"),
        (suite({**ONE, "kwargs": {"row_condition": "x > @os.getpid()"}}), "row_condition has an @"),
        (suite({**ONE, "kwargs": ["column"]}), r"kwargs is \['column'\]; it must be an object"),
        (suite({**ONE, "kwarg": {}}), "the member 'kwarg'"),
        (suite({**ONE, "kwargs": {"value_set": ["x" * 2_000_000]}}), "kwargs is over 1048576 characters"),
        (suite(*[ONE] * 10_001), "at most 10000 are taken"),
    ],
)
def test_what_is_not_of_the_form(document: object, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        suite_of(document, source="s.json")
