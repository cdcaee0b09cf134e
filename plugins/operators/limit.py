"""The most that a run may cost, as a parameter that any DAG can offer: `params={"max_cost": MAX_COST}` with
`default_args={"max_cost": LIMIT}`. Each job operator holds its own step against it.
"""

from __future__ import annotations

from airflow.sdk import Param

MAX_COST = Param(
    None,
    type=["null", "number"],
    exclusiveMinimum=0,
    title="Limit in US dollars",
    description="A step that could bring the run's estimated cost above it is not begun",
)
LIMIT = "{{ params.max_cost or '' }}"
