"""A suite for the quality gate."""

from typing import Any


def ages(lowest: int = 0) -> Any:
    """One expectation: nobody is younger than `lowest`."""
    import great_expectations as gx

    expectation = gx.expectations.ExpectColumnValuesToBeBetween(column="age", min_value=lowest)
    return gx.ExpectationSuite(name="ages", expectations=[expectation])
