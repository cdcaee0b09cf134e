"""A suite for the quality gate."""

from typing import Any


def ages(lowest: int = 0) -> dict[str, Any]:
    """One expectation: nobody is younger than `lowest`."""
    kwargs = {"column": "age", "min_value": lowest}
    return {"name": "ages", "expectations": [{"type": "expect_column_values_to_be_between", "kwargs": kwargs}]}
