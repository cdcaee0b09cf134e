"""The loop around drift: what a monitor finds becomes a record, lasting drift an event, and a challenge a champion."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.request import urlopen

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.context import OutletEventAccessors

from millrace.registry.models import CHAMPION, Registry
from millrace.retraining.history import History
from millrace.retraining.policy import RetrainingPolicy
from millrace.retraining.record import RecordError
from operators.challenge import ChallengeOperator
from operators.drift import DriftMonitorOperator
from operators.model_quality import ModelQualityOperator
from operators.registry import PromoteModelOperator
from tests.contracts.operators import CODE, ROWS, SMALL, Land, Place
from tests.operators.attempts import Attempts
from tests.profiling import captured
from tests.runtime.process import RuntimeProcess

DRIFT = Asset("drift")
OLDER = b"age,height\n" + b"".join(b"%d,%d\n" % (60 + row % 50, 150 + row % 40) for row in range(200))
FEW = b"age,height\n90,150\n"


@pytest.fixture(scope="module")
def land(runtime: RuntimeProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Land]:
    with Land(runtime, tmp_path_factory.mktemp("drift")).workers() as land:
        yield land


@pytest.fixture
def place(land: Land) -> Iterator[Place]:
    with Place(land).worker() as place:
        yield place


def history(place: Place) -> History:
    return History(place.jobs.s3, "bucket", place.deployment, place.model)


def look(place: Place, day: int, rows: bytes, policy: RetrainingPolicy, attempts: Attempts | None = None) -> Any:
    """One day's monitor: its result, and the events that it emitted."""
    data = place.put(f"days/{day}", rows)
    attempts = attempts or Attempts()
    attempts.outlet_events = OutletEventAccessors()
    operator = DriftMonitorOperator(
        task_id="monitor", data=data, model=place.champion, asset=DRIFT, alias="drift-found", policy=policy,
        window=f"2026-11-{day:02}", instance_type=SMALL, poll_seconds=0.5,
    )  # fmt: skip
    result = attempts.execute(operator)
    return result, list(attempts.outlet_events[operator.alias].asset_alias_events), attempts


def test_the_traffic_of_an_endpoint_is_looked_at_where_it_was_captured(place: Place) -> None:
    lines = "".join(captured.line(row, "1") for row in OLDER.decode().splitlines()[1:])
    hour = f"{place.deployment}/captured/live/AllTraffic/2026/11/21/15"
    data = place.jobs.put(f"{hour}/a.jsonl", lines.encode()).removesuffix("/2026/11/21/15/a.jsonl")
    attempts = Attempts()
    attempts.outlet_events = OutletEventAccessors()
    operator = DriftMonitorOperator(
        task_id="monitor", data=data, model=place.champion, asset=DRIFT, alias="drift-found", capture="input",
        window="2026-11-21", instance_type=SMALL, poll_seconds=0.5,
    )  # fmt: skip
    result = attempts.execute(operator)
    assert result["drifted"]
    assert result["metrics"]["rows"] == 200
    with pytest.raises(ValueError, match="capture is 'requests'; it must be one of None, 'input', 'output', 'both'"):
        DriftMonitorOperator(
            task_id="monitor", data=data, model="m", asset=DRIFT, alias="a", capture="requests",  # type: ignore[arg-type]
            instance_type=SMALL,
        )  # fmt: skip


def test_drift_that_lasts_emits_an_event_with_its_evidence_and_then_holds(place: Place) -> None:
    policy = RetrainingPolicy(drifted=2, windows=3, cool_down=timedelta(days=5))
    days = {1: ROWS, 2: OLDER, 3: FEW, 4: OLDER, 5: OLDER}
    seen = {day: look(place, day, rows, policy) for day, rows in days.items()}
    assert [result["action"] for result, _, _ in seen.values()] == ["none", "hold", "none", "retrain", "hold"]
    assert [len(events) for _, events, _ in seen.values()] == [0, 0, 0, 1, 0]
    [event] = seen[4][1]
    extra = event.extra
    assert (extra["windows"], extra["champion"]) == (["2026-11-02", "2026-11-04"], place.version)
    assert [uri.rpartition("/")[2] for uri in extra["data"]] == ["2", "4"]
    outcomes = [record.outcome for record in history(place).records()]
    assert outcomes == ["stable", "drifted", "not judged", "drifted", "drifted"]
    page = place.jobs.s3.get_object(Bucket="bucket", Key=history(place).folder + "index.html")["Body"].read().decode()
    assert "drift in 2 of the last 3 windows" in page
    assert "new champion" not in page
    link = seen[4][2].ti.xcom["history_link"]
    with urlopen(link) as answer:
        assert answer.read().decode() == page


def test_a_retry_emits_what_the_first_attempt_decided_and_a_clear_decides_anew(place: Place) -> None:
    policy = RetrainingPolicy(cool_down=timedelta(days=5))
    result, events, attempts = look(place, 1, OLDER, policy)
    assert (result["action"], len(events)) == ("retrain", 1)
    again, events, _ = look(place, 1, OLDER, policy, attempts)
    assert (again["action"], len(events)) == ("retrain", 1)
    assert len(history(place).records()) == 1
    attempts.clear()
    cleared, events, _ = look(place, 1, OLDER, policy, attempts)
    assert (cleared["action"], len(events)) == ("hold", 0)
    assert len(history(place).records()) == 2


def test_a_record_that_was_tampered_with_is_named(place: Place) -> None:
    look(place, 1, ROWS, RetrainingPolicy())
    [key] = history(place)._keys()
    place.jobs.s3.put_object(Bucket="bucket", Key=key, Body=b"{}")
    with pytest.raises(RecordError, match=f"s3://bucket/{key} cannot be read"):
        look(place, 2, ROWS, RetrainingPolicy())


def test_the_quality_of_a_model_is_recorded_with_its_interval(place: Place) -> None:
    told: dict[str, Any] = {
        "task_id": "quality", "model": place.model, "version": place.version, "ground_truth": place.labels,
        "id_column": "id", "label_column": "label", "probability_column": "probability", "positive_label": "1",
        "window": "2026-11-21", "instance_type": SMALL, "poll_seconds": 0.5,
    }  # fmt: skip
    with pytest.raises(AirflowSkipException, match="no predictions yet"):
        Attempts().execute(ModelQualityOperator(**told, predictions=""))
    result = Attempts().execute(ModelQualityOperator(**told, predictions=place.predictions))
    assert result["metrics"]["labelled"] == 200
    [record] = history(place).records()
    assert (record.outcome, record.champion) == ("measured", place.version)
    assert record.facts["low"] < record.facts["value"] < record.facts["high"]
    assert record.facts["value"] == record.facts["auc"] > 0.95


@pytest.mark.parametrize("won", [True, False])
def test_a_challenge_promotes_or_says_why_not(place: Place, won: bool) -> None:
    first = place.champion
    source = place.jobs.put(f"{place.deployment}/challenger/model.tar.gz", b"another archive")
    version = Registry().register(first, source=source, run_id=None, metrics={}, tags={}).version
    challenge = ChallengeOperator(
        task_id="challenge", module="tests.contracts.job_code.challenge", packages=CODE, data=place.data,
        arguments=[] if won else ["--lose"], model=first, artifact=source, window="2026-11-09T12:00:00+00:00",
        instance_type=SMALL, poll_seconds=0.5,
    )  # fmt: skip
    result = Attempts().execute(challenge)
    assert result["passed"] is won
    assert result["champion"] == place.version
    [record] = history(place).records()
    assert (record.action, record.champion) == ("promote" if won else "refuse", place.version)
    assert record.why == f"of champion and challenger, the challenger {'is better' if won else 'is not better'}"
    promote = PromoteModelOperator(task_id="promote", model=first, version=version, challenge=result)
    if won:
        assert Attempts().execute(promote) == {"model": first, "version": version}
    else:
        with pytest.raises(AirflowSkipException, match="is not promoted: of champion and challenger"):
            Attempts().execute(promote)
    now = Registry().by_alias(first, CHAMPION)
    assert now is not None
    assert now.version == (version if won else place.version)


def test_the_first_version_challenges_nobody(place: Place) -> None:
    challenge = ChallengeOperator(
        task_id="challenge", module="tests.contracts.job_code.challenge", packages=CODE, data=place.data,
        model=place.model, artifact=place.archive(), window="2026-11-09", instance_type=SMALL, poll_seconds=0.5,
    )  # fmt: skip
    result = Attempts().execute(challenge)
    assert (result["champion"], result["summary"]) == (None, "of challenger, the challenger is better")
