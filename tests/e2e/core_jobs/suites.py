"""A suite for the quality gate."""

from typing import Any


def ages() -> dict[str, Any]:
    """One expectation: nobody is younger than 18."""
    kwargs = {"column": "age", "min_value": 18}
    return {"name": "ages", "expectations": [{"type": "expect_column_values_to_be_between", "kwargs": kwargs}]}
