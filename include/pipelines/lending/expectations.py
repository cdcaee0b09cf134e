"""What a delivery of applications must look like, as a Great Expectations suite in its serialized form.

Called inside processing jobs (`millrace.quality`), never by a DAG. What concerns single rows quarantines those rows.
"""

from __future__ import annotations

from typing import Any

from pipelines.lending.settings import EMPLOYMENTS, FEATURES, ID, REGIONS

BOUNDS = {"income": (0, 5_000_000), "amount": (100, 1_000_000), "debt_ratio": (0, 1), "history_months": (0, 1200)}


def applications() -> dict[str, Any]:
    """Complete rows in range, no id twice, and not suspiciously few."""
    columns = [ID, *FEATURES]
    return {
        "name": "applications",
        "expectations": [
            _expect("table_columns_to_match_set", column_set=columns, exact_match=True),
            _expect("table_row_count_to_be_between", min_value=300),
            _expect("column_values_to_be_unique", column=ID),
            *(_expect("column_values_to_not_be_null", column=column) for column in columns),
            *(
                _expect("column_values_to_be_between", column=column, min_value=low, max_value=high)
                for column, (low, high) in BOUNDS.items()
            ),
            _expect("column_values_to_be_in_set", column="employment", value_set=list(EMPLOYMENTS)),
            _expect("column_values_to_be_in_set", column="region", value_set=list(REGIONS)),
            _expect("column_mean_to_be_between", "warning", column="income", min_value=15_000, max_value=80_000),
        ],
    }


def _expect(what: str, severity: str = "critical", **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{what}", "kwargs": kwargs, "meta": {}, "severity": severity}
