"""Tiny suites that the gate's tests name by `module:function`."""

from typing import Any

import great_expectations as gx


def ages(lowest: int = 0, highest: int = 120) -> Any:
    """Three expectations: the range, the completeness and a set."""
    expectations = gx.expectations
    return gx.ExpectationSuite(
        name="ages",
        expectations=[
            expectations.ExpectColumnValuesToBeBetween(column="age", min_value=lowest, max_value=highest),
            expectations.ExpectColumnValuesToNotBeNull(column="age"),
            expectations.ExpectColumnValuesToBeInSet(column="sex", value_set=["f", "m"]),
        ],
    )


def missing_column() -> Any:
    expectations = gx.expectations
    return gx.ExpectationSuite(
        name="missing",
        expectations=[expectations.ExpectColumnValuesToNotBeNull(column="nowhere")],
    )


def empty() -> Any:
    return gx.ExpectationSuite(name="empty")


def not_a_suite() -> str:
    return "no"
