"""The reconciler against a real runtime: jobs and endpoints whose task Airflow knows, has ended, or has forgotten."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import botocore.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.sagemaker.hosting import DEPLOYED_TAG, WANTED_TAG
from millrace.sagemaker.names import TaskIdentity
from millrace.sagemaker.reconcile import RunState, TaskSeen
from operators import reconcile
from operators.processing import ProcessingOperator
from operators.reconcile import AirflowTasks, ReconcileOperator, Reconciliation, _counted, stops_by_default
from tests.operators.attempts import Attempts
from tests.operators.runtime import local_deployment
from tests.runtime.jobs import Jobs
from tests.runtime.process import RuntimeProcess, until

COUNTER = itertools.count()
TASK = TaskIdentity(deployment="one", dag_id="pipeline", run_id="run", task_id="step")
ACTIVE_RUN = ("queued", "running")
HANDLERS = """
def model_fn(model_dir): return {answer!r}
def transform_fn(model, body, content_type, accept): return model
"""


@dataclass
class Airflow:
    """A task instance's questions, answered as the execution API of Airflow 3.3 answers them from its database.

    Runs are states by (dag, run); task instances are states by (dag, run, task, map index).
    """

    runs: dict[tuple[str, str], str] = field(default_factory=dict)
    tasks: dict[tuple[str, str, str, int], str | None] = field(default_factory=dict)
    questions: list[tuple[str, int]] = field(default_factory=list)
    refusing: str = ""

    def hold(self, task: TaskIdentity, state: str | None, run: str = "running") -> None:
        self.runs[task.dag_id, task.run_id] = run
        self.tasks[task.dag_id, task.run_id, task.task_id, task.map_index] = state

    def forget(self, run_id: str) -> None:
        """Delete a run, and its task instances with it."""
        self.runs = {key: state for key, state in self.runs.items() if key[1] != run_id}
        self.tasks = {key: state for key, state in self.tasks.items() if key[1] != run_id}

    def get_task_states(
        self, dag_id: str, map_index: int | None = None, task_ids: list[str] | None = None,
        task_group_id: str | None = None, logical_dates: Any = None, run_ids: list[str] | None = None,
    ) -> dict[str, dict[str, str | None]]:  # fmt: skip
        self._note("states", run_ids)
        found: dict[str, dict[str, str | None]] = {}
        for (dag, run, task, index), state in self.tasks.items():
            if dag == dag_id and (not task_ids or task in task_ids) and (not run_ids or run in run_ids):
                found.setdefault(run, {})[task if index < 0 else f"{task}_{index}"] = state
        return found

    def get_dr_count(
        self, dag_id: str, logical_dates: Any = None, run_ids: list[str] | None = None, states: list[str] | None = None
    ) -> int:
        self._note("count", run_ids)
        return sum(
            dag == dag_id and (not run_ids or run in run_ids) and (not states or state in states)
            for (dag, run), state in self.runs.items()
        )

    def _note(self, question: str, run_ids: list[str] | None) -> None:
        self.questions.append((question, len(run_ids or ())))
        if self.refusing:
            raise RuntimeError(self.refusing)


@dataclass
class House:
    """One deployment on the runtime, with the Airflow that its tasks ask."""

    jobs: Jobs
    deployment: str
    airflow: Airflow = field(default_factory=Airflow)

    def task(self, **parts: Any) -> TaskIdentity:
        return replace(TASK, deployment=self.deployment, **parts)

    def submit(self, task: TaskIdentity, generation: int = 0) -> str:
        tags = task.tags(generation, "request", "1")
        return self.jobs.processing("sleep 300", task.job_name(generation), Tags=tags)

    def reconcile(self, **options: Any) -> Reconciliation:
        operator = ReconcileOperator(task_id="reconcile", **{"min_age": timedelta(0), **options})
        result = operator.execute({"ti": self.airflow})
        assert len(json.dumps(result)) < 100_000
        return result

    def status(self, name: str) -> str:
        return str(self.jobs.sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"])

    def endpoint(self, config: str, task: TaskIdentity, tags: dict[str, str]) -> str:
        name = f"{self.deployment}-model"
        own = [{"Key": key, "Value": value} for key, value in tags.items()]
        self.jobs.sagemaker.create_endpoint(
            EndpointName=name, EndpointConfigName=config, Tags=task.tags(0, "", "1") + own
        )
        self.settled(name)
        return name

    def config(self, answer: str) -> str:
        return self.jobs.endpoint_config(self.jobs.model(HANDLERS.format(answer=answer)))

    def settled(self, name: str) -> str:
        """The configuration an endpoint is on once it has stopped changing."""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.jobs.sagemaker.describe_endpoint(EndpointName=name)
            return found if found["EndpointStatus"] not in ("Creating", "Updating") else None

        return str(until(look, 60, "the endpoint's rest")["EndpointConfigName"])

    def tag(self, name: str, task: TaskIdentity, tags: dict[str, str]) -> None:
        """What a deployment writes to an endpoint before it changes it."""
        arn = self.jobs.sagemaker.describe_endpoint(EndpointName=name)["EndpointArn"]
        own = [{"Key": key, "Value": value} for key, value in tags.items()]
        self.jobs.sagemaker.add_tags(ResourceArn=arn, Tags=[*task.tags(0, "", "1"), *own])


@pytest.fixture
def house(runtime: RuntimeProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    name = f"h{next(COUNTER)}x{time.time_ns() % 10**6}"
    with local_deployment(runtime, monkeypatch, name):
        house = House(Jobs(runtime), name)
        yield house
        sagemaker = house.jobs.sagemaker
        for job in sagemaker.list_processing_jobs(NameContains=f"{name}-", StatusEquals="InProgress")[
            "ProcessingJobSummaries"
        ]:
            sagemaker.stop_processing_job(ProcessingJobName=job["ProcessingJobName"])


def test_jobs_are_reported_with_the_reason_and_nothing_is_stopped_by_default(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, cleared, failed, gone = (house.task(task_id=name) for name in ("kept", "cleared", "failed", "gone"))
    gone = replace(gone, run_id="deleted")
    jobs = {task.task_id: house.submit(task) for task in (kept, cleared, failed, gone)}
    house.airflow.hold(kept, "deferred")
    house.airflow.hold(cleared, None)
    house.airflow.hold(failed, "failed")
    result = house.reconcile()
    assert (result["jobs_looked_at"], result["in_use"], result["unknown_count"]) == (4, 2, 0)
    assert {row["name"]: row["reason"] for row in result["orphans"]} == {
        jobs["failed"]: "its task is failed",
        jobs["gone"]: "its run is gone",
    }
    row = next(row for row in result["orphans"] if row["name"] == jobs["gone"])
    assert (row["kind"], row["dag"], row["run"], row["task"]) == ("processing", "pipeline", "deleted", "gone")
    assert (row["map_index"], row["generation"], row["stopped"]) == (-1, 0, False)
    assert {house.status(name) for name in jobs.values()} == {"InProgress"}
    said = capsys.readouterr().out
    assert "left running, and paid for: 2. Run this DAG with stop=true" in said
    assert "2 in use, 2 orphaned of which 0 ended, 0 unknown" in said
    assert f"orphan  processing  {jobs['failed']}" in said


def test_told_to_stop_it_stops_the_orphans_and_leaves_the_rest(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, gone = house.task(task_id="kept"), house.task(run_id="deleted")
    house.airflow.hold(kept, "running")
    keeps, goes = house.submit(kept), house.submit(gone)
    result = house.reconcile(stop="True")
    assert [(row["name"], row["stopped"]) for row in result["orphans"]] == [(goes, True)]
    assert result["stopped_count"] == 1
    house.jobs.end("processing", goes)
    assert house.status(keeps) == "InProgress"
    assert "left:" not in capsys.readouterr().out
    assert house.reconcile(stop=True)["orphans"] == []


def test_a_job_that_an_operator_submitted_is_in_use_until_its_run_is_deleted(house: House) -> None:
    run_id = "manual__2026-01-01T00:00:00+00:00 ~1"
    operator = ProcessingOperator(
        task_id="step",
        module="timeit",
        packages=("pipelines.digits",),
        arguments=["-n", "1", "-s", "import time", "time.sleep(300)"],
        instance_type="ml.m5.large",
    )
    trigger: Any = Attempts(run=run_id).defer(operator).trigger
    job_name = trigger.job_name
    task = house.task(run_id=run_id)
    house.airflow.hold(task, "deferred")
    assert house.reconcile(stop=True)["in_use"] == 1
    house.airflow.forget(run_id)
    result = house.reconcile(stop=True)
    assert [(row["name"], row["run"], row["stopped"]) for row in result["orphans"]] == [(job_name, run_id, True)]
    house.jobs.end("processing", job_name)


def test_young_jobs_are_left_to_their_submission(house: House) -> None:
    house.submit(house.task())
    result = house.reconcile(stop=True, min_age=timedelta(minutes=5))
    assert (result["in_use"], result["orphans"]) == (1, [])


def test_no_more_than_the_brake_allows_are_stopped_in_one_run(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    names = [house.submit(house.task(map_index=index)) for index in range(3)]
    result = house.reconcile(stop=True, most_stops=2)
    assert [row["stopped"] for row in result["orphans"]] == [True, True, False]
    assert "orphans left: 1. At most 2 are ended in one run" in capsys.readouterr().out
    assert house.status(names[2]) == "InProgress"
    assert house.reconcile(stop=True, most_stops=2)["stopped_count"] == 1


def test_while_airflow_does_not_answer_nothing_is_an_orphan(house: House) -> None:
    name = house.submit(house.task())
    house.airflow.refusing = "API_SERVER_ERROR: connection refused"
    result = house.reconcile(stop=True)
    assert (result["orphans"], result["unknown_count"]) == ([], 1)
    assert "connection refused" in result["unknown"][0]["reason"]
    assert house.status(name) == "InProgress"


def test_another_deployments_jobs_are_not_looked_at(house: House) -> None:
    other = replace(TASK, deployment=f"{house.deployment}2")
    name = house.jobs.processing("sleep 300", other.job_name(0), Tags=other.tags(0, "r", "1"))
    assert house.reconcile(stop=True)["jobs_looked_at"] == 0
    assert house.status(name) == "InProgress"


def test_the_handed_on_rows_are_bounded_and_the_counts_are_not(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "MOST_ROWS", 1)
    for index in range(3):
        house.submit(house.task(map_index=index))
    result = house.reconcile()
    assert (len(result["orphans"]), result["orphan_count"]) == (1, 3)


def test_an_abandoned_update_is_put_back_on_what_was_proven_good(house: House) -> None:
    first, second = house.task(run_id="first"), house.task(run_id="second")
    good, new = house.config("good"), house.config("new")
    name = house.endpoint(good, first, {WANTED_TAG: good, DEPLOYED_TAG: good})
    house.airflow.hold(first, "success", run="success")
    assert house.reconcile(stop=True)["in_use"] == 1
    house.airflow.hold(second, "deferred")
    house.tag(name, second, {WANTED_TAG: new})
    house.jobs.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=new)
    house.settled(name)
    assert house.reconcile(stop=True)["in_use"] == 1
    house.airflow.forget("second")
    reported = house.reconcile()["orphans"]
    assert [(row["kind"], row["run"], row["reason"]) for row in reported] == [
        ("endpoint", "second", "its deployment was abandoned: its run is gone")
    ]
    assert house.settled(name) == new
    result = house.reconcile(stop=True)
    assert [row["stopped"] for row in result["orphans"]] == [True]
    assert house.settled(name) == good
    assert house.reconcile(stop=True)["in_use"] == 1


def test_a_first_deployment_that_was_abandoned_is_deleted(house: House) -> None:
    config = house.config("first")
    name = house.endpoint(config, house.task(), {WANTED_TAG: config})
    result = house.reconcile(stop=True)
    assert [(row["name"], row["stopped"]) for row in result["orphans"]] == [(name, True)]

    def gone() -> bool:
        try:
            house.jobs.sagemaker.describe_endpoint(EndpointName=name)
        except botocore.exceptions.ClientError:
            return True
        return False

    until(gone, 30, "the deletion")


UNTIL_TOLD = """
import os, time, urllib.request
while True:
    try:
        urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/bucket/{key}").close()
        break
    except OSError:
        time.sleep(0.1)
"""
"""A model that is not loaded before an object is there."""


def test_an_endpoint_that_still_changes_is_looked_at_next_time(house: House) -> None:
    go = f"{house.deployment}/go"
    slow = house.jobs.model(UNTIL_TOLD.format(key=go) + HANDLERS.format(answer="slow"))
    config = house.jobs.endpoint_config(slow)
    name, tags = f"{house.deployment}-slow", house.task().tags(0, "", "1")
    house.jobs.sagemaker.create_endpoint(
        EndpointName=name, EndpointConfigName=config, Tags=[*tags, {"Key": WANTED_TAG, "Value": config}]
    )
    (row,) = house.reconcile(stop=True)["orphans"]
    assert not row["stopped"]
    assert "still Creating: will be looked at next time" in row["reason"]
    house.jobs.put(go, b"")
    house.settled(name)
    assert house.reconcile(stop=True)["stopped_count"] == 1


def test_an_endpoint_without_the_tags_of_a_deployment_is_left_alone(house: House) -> None:
    config = house.config("older")
    name = house.endpoint(config, house.task(), {})
    result = house.reconcile(stop=True)
    assert (result["orphans"], [row["name"] for row in result["unknown"]]) == ([], [name])
    house.tag(name, house.task(), {DEPLOYED_TAG: config})
    assert house.reconcile()["in_use"] == 1


# How Airflow is asked.

STATES = st.sampled_from(["running", "failed", "success", None])
RUNS = st.sampled_from([f"run~{number} é&=?/+" for number in range(8)])
TASKS = st.builds(
    TaskIdentity, deployment=st.just("one"), dag_id=st.sampled_from(["a", "b"]), run_id=RUNS,
    task_id=st.sampled_from(["a", "a_1"]), map_index=st.integers(-1, 2),
)  # fmt: skip


@given(
    st.dictionaries(TASKS, STATES, max_size=20),
    st.sets(TASKS, max_size=10),
    st.dictionaries(st.tuples(st.sampled_from(["a", "b"]), RUNS), st.sampled_from(["queued", "running", "failed"])),
)
def test_each_task_instance_gets_its_own_answer_however_many_are_asked_about_at_once(
    held: dict[TaskIdentity, str | None], others: set[TaskIdentity], runs: dict[tuple[str, str], str]
) -> None:
    airflow = Airflow(dict(runs))
    for task, state in held.items():
        airflow.hold(task, state, run=runs.get((task.dag_id, task.run_id), "success"))
    asked = {*held, *others}
    seen = AirflowTasks(airflow)(asked)
    assert set(seen) == asked
    for task, answer in seen.items():
        key = (task.dag_id, task.run_id, task.task_id, task.map_index)
        run = airflow.runs.get((task.dag_id, task.run_id))
        assert answer.exists is (key in airflow.tasks)
        assert answer.state == airflow.tasks.get(key)
        if answer.state is None:
            expected = RunState.ACTIVE if run in ACTIVE_RUN else RunState.FINISHED if run else RunState.GONE
            assert answer.run is expected


def test_hundreds_of_instances_take_a_handful_of_questions_none_too_long_for_a_url() -> None:
    airflow = Airflow()
    tasks = [
        replace(TASK, run_id=f"scheduled__2026-01-{number // 5:03}T00:00:00+00:00", map_index=number % 5)
        for number in range(500)
    ]
    for task in tasks[:250]:
        airflow.hold(task, "running")
    seen = AirflowTasks(airflow)(tasks)
    assert [seen[task].state for task in tasks[:250]] == ["running"] * 250
    assert {seen[task].run for task in tasks[250:]} == {RunState.GONE}
    assert len(airflow.questions) < 20
    assert max(count for _, count in airflow.questions) * 45 < 4000


def test_no_question_is_asked_about_nothing() -> None:
    airflow = Airflow()
    assert AirflowTasks(airflow)([]) == {}
    assert airflow.questions == []


def test_an_airflow_that_stays_silent_is_asked_a_few_times_only() -> None:
    airflow = Airflow(refusing="timed out")
    tasks = [replace(TASK, task_id=f"task{number}") for number in range(20)]
    seen = AirflowTasks(airflow)(tasks)
    assert set(seen.values()) == {TaskSeen(unanswered="timed out")}
    assert len(airflow.questions) == reconcile.MOST_FAILURES


@given(st.sets(st.sampled_from("abcdefghij")), st.sets(st.sampled_from("abcdefghij")))
def test_runs_are_told_apart_by_counting_and_never_by_asking_about_none(asked: set[str], there: set[str]) -> None:
    def count(ids: list[str]) -> int:
        assert ids
        return len(there.intersection(ids))

    assert _counted(count, asked) == asked & there


# What it is told.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stop": "yes"}, "stop is 'yes'; it must be true or false"),
        ({"most_stops": 0}, "most_stops is 0"),
        ({"min_age": timedelta(seconds=-1)}, "min_age is -1 day"),
    ],
)
def test_a_wrong_argument_is_refused_when_the_dag_is_parsed(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ReconcileOperator(task_id="reconcile", **options)


def test_a_template_that_is_neither_true_nor_false_is_refused_before_anything_is_looked_at(house: House) -> None:
    operator = ReconcileOperator(task_id="reconcile", stop="{{ params.stop }}")
    operator.stop = "None"
    with pytest.raises(ValueError, match="stop is 'None'"):
        operator.execute({"ti": house.airflow})


@pytest.mark.parametrize(
    ("value", "stops"), [(None, False), ("", False), ("false", False), ("true", True), ("True", True)]
)
def test_the_environment_says_whether_scheduled_runs_stop(value: str | None, stops: bool) -> None:
    assert stops_by_default({} if value is None else {"MILLRACE_RECONCILER_STOPS": value}) is stops


def test_a_wrong_environment_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="MILLRACE_RECONCILER_STOPS is '1'; it must be true or false"):
        stops_by_default({"MILLRACE_RECONCILER_STOPS": "1"})
