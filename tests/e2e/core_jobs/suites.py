"""A suite for the quality gate."""

from typing import Any


def ages() -> Any:
    """One expectation: nobody is younger than 18."""
    import great_expectations as gx

    expectation = gx.expectations.ExpectColumnValuesToBeBetween(column="age", min_value=18)
    return gx.ExpectationSuite(name="ages", expectations=[expectation])
