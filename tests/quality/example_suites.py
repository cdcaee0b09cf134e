"""Tiny suites that the gate's tests name by `module:function`."""

from typing import Any


def ages(lowest: int = 0, highest: int = 120) -> dict[str, Any]:
    """Three expectations: the range, the completeness (which only warns) and a set."""
    return {
        "name": "ages",
        "expectations": [
            _one("expect_column_values_to_be_between", column="age", min_value=lowest, max_value=highest),
            {**_one("expect_column_values_to_not_be_null", column="age"), "severity": "warning"},
            _one("expect_column_values_to_be_in_set", column="sex", value_set=["f", "m"]),
        ],
    }


def great_expectations() -> Any:
    """An ExpectationSuite, of which one expectation cannot be streamed."""
    import great_expectations as gx

    expectations = gx.expectations
    return gx.ExpectationSuite(
        name="ages",
        expectations=[
            expectations.ExpectColumnValuesToBeBetween(column="age", min_value=0, max_value=120),
            expectations.ExpectColumnMedianToBeBetween(column="age", min_value=0, max_value=35, severity="warning"),
        ],
    )


def missing_column() -> dict[str, Any]:
    return {"name": "missing", "expectations": [_one("expect_column_values_to_not_be_null", column="nowhere")]}


def in_memory(value: int) -> dict[str, Any]:
    return {"name": "memory", "expectations": [_one("expect_column_median_to_be_between", column="age", max=value)]}


def misspelled() -> dict[str, Any]:
    return {
        "name": "m",
        "expectations": [_one("expect_column_values_to_be_between", column="age", min_valu=1, max_value=9)],
    }


def unique() -> dict[str, Any]:
    return {"name": "unique", "expectations": [_one("expect_column_values_to_be_unique", column="age")]}


def empty() -> dict[str, Any]:
    return {"name": "empty", "expectations": []}


def not_a_suite() -> str:
    return "no"


def _one(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs}
