"""Gates that need no suite refuse what they should, say why, and are not retried."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from operators.gates import BaselineGateOperator, FairnessGateOperator
from tests.contracts.operators import SMALL, Place
from tests.operators.attempts import Attempts

TOLD: dict[str, Any] = {"task_id": "gate", "instance_type": SMALL, "poll_seconds": 0.5}
UNFAIR = b"sex,granted\n" + b"f,no\n" * 300 + b"f,yes\n" * 100 + b"m,no\n" * 100 + b"m,yes\n" * 300


@pytest.mark.parametrize(
    ("check", "rows", "said"),
    [
        ("schema", b"age\n" + b"30\n" * 50, "height"),
        ("schema", b"age,height\n" + b"thirty,150\n" * 50, "age"),
        ("skew", b"age,height\n" + b"30,\n" * 50, "height"),
    ],
)
def test_data_unlike_the_baseline_is_refused(place: Place, check: Any, rows: bytes, said: str) -> None:
    data = place.put(f"{check}-{said}", rows)
    with pytest.raises(AirflowFailException, match=rf"did not pass: [\s\S]*- {said}: [\s\S]*The report: s3://bucket/"):
        Attempts().execute(BaselineGateOperator(check=check, data=data, model=place.champion, **TOLD))


@pytest.mark.parametrize("check", ["schema", "skew"])
def test_data_like_the_baseline_passes(place: Place, check: Any) -> None:
    result = Attempts().execute(BaselineGateOperator(check=check, data=place.data, model=place.champion, **TOLD))
    assert result["passed"]


def test_unequal_treatment_is_refused_and_within_a_stated_range_it_is_not(place: Place) -> None:
    told = {**TOLD, "data": place.put("loans", UNFAIR), "facet": ("sex", ("f",)), "label": ("granted", ("yes",))}
    with pytest.raises(AirflowFailException, match="DPL"):
        Attempts().execute(FairnessGateOperator(**told, ranges={"DPL": (-0.1, 0.1)}))
    assert Attempts().execute(FairnessGateOperator(**told, ranges={"DPL": (-0.6, 0.6)}))["passed"]
