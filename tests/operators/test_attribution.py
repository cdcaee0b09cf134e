"""Which features matter: compared with before, from attributions or from the features and the champion itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from operators.attribution import AttributionDriftOperator
from operators.processing import split_uri
from tests.contracts.operators import CODE, SMALL, Place
from tests.operators.attempts import Attempts

TOLD: dict[str, Any] = {"task_id": "attribution", "instance_type": SMALL, "poll_seconds": 0.5}
BEFORE = b"age,height,debt\n" + b"0.9,-0.3,0.1\n-0.9,0.3,-0.1\n" * 100
SWAPPED = b"age,height,debt\n" + b"0.1,-0.3,0.9\n-0.1,0.3,-0.9\n" * 100


def analysis(place: Place, result: dict[str, Any]) -> dict[str, Any]:
    bucket, prefix = split_uri(result["outputs"]["report"])
    found: dict[str, Any] = json.loads(
        place.jobs.s3.get_object(Bucket=bucket, Key=f"{prefix}/analysis.json")["Body"].read()
    )
    return found


def test_features_that_changed_places_are_drift_and_the_task_succeeds(place: Place) -> None:
    before = place.put("before", BEFORE)
    for rows, drifted in ((BEFORE, False), (SWAPPED, True)):
        data = place.put(f"drifted-{drifted}", rows)
        result = Attempts().execute(AttributionDriftOperator(**TOLD, data=data, baseline=before))
        assert result["drifted"] is drifted
        assert result["report"].endswith("/report.html")


def test_an_earlier_report_is_a_baseline(place: Place) -> None:
    before = place.put("before", BEFORE)
    earlier = Attempts().execute(AttributionDriftOperator(**TOLD, data=before, baseline=before))
    told = {**TOLD, "baseline": earlier["outputs"]["report"], "data": place.put("swapped", SWAPPED)}
    assert Attempts().execute(AttributionDriftOperator(**told))["drifted"]


def test_the_champion_is_asked_where_there_are_features_only(place: Place) -> None:
    people = place.put(
        "people", b"age,height\n" + b"".join(b"%d,%d\n" % (20 + n % 50, 150 + n % 40) for n in range(200))
    )
    told: dict[str, Any] = {
        **TOLD, "data": people, "baseline": people, "packages": CODE, "explain": 20,
        "predict": "tests.contracts.job_code.predict:score",
    }  # fmt: skip
    alone = analysis(place, Attempts().execute(AttributionDriftOperator(**told)))
    asked = analysis(place, Attempts().execute(AttributionDriftOperator(**told, model=place.champion)))
    values = [found["explanations"]["kernel_shap"]["label0"]["global_shap_values"] for found in (alone, asked)]
    assert values[0]["age"] == pytest.approx(0)
    assert values[1]["age"] > 1
    assert values[0]["height"] == pytest.approx(values[1]["height"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"least_ndcg": 0}, "least_ndcg is 0; it must be above 0 and at most 1"),
        ({"model": "digits"}, "model is 'digits' without predict"),
    ],
)
def test_what_cannot_be_right_is_said_when_the_dag_is_parsed(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AttributionDriftOperator(**TOLD, data="s3://bucket/a", baseline="s3://bucket/b", **options)
