"""What is in use, what is an orphan, and what is left alone: over all that can be seen, and against real jobs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import TaskInstanceState
from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from millrace.sagemaker import reconcile
from millrace.sagemaker.kinds import ENDPOINT, KINDS, PROCESSING, TRAINING
from millrace.sagemaker.names import TaskIdentity
from millrace.sagemaker.reconcile import (
    FINISHED,
    MIN_AGE,
    UNFINISHED,
    Case,
    Endpoint,
    Job,
    Judgement,
    Reconciler,
    Remedy,
    RunState,
    Standing,
    TaskSeen,
    judge_endpoint,
    judge_job,
    judge_task,
    newest_generations,
    running_jobs,
)
from tests.runtime.jobs import Jobs

TASK = TaskIdentity(deployment="prod", dag_id="digits", run_id="scheduled__2026-01-01", task_id="train")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
OLD, YOUNG = timedelta(hours=1), timedelta(minutes=1)
JOB = Job(kind=TRAINING, name="prod-train-1", arn="arn", since=LONG_AGO, task=TASK, generation=1)
SERVING = Endpoint(
    name="prod-digits", arn="arn", since=LONG_AGO, status="InService", config="good", deployed="good", wanted="good",
    task=TASK,
)  # fmt: skip
RUNNING, FAILED, GONE = TaskSeen(state="running"), TaskSeen(state="failed"), TaskSeen(exists=False, run=RunState.GONE)
SILENT = TaskSeen(unanswered="connection refused")

SEEN = st.builds(
    TaskSeen,
    exists=st.booleans(),
    state=st.none() | st.sampled_from(sorted(FINISHED | UNFINISHED)) | st.just("a_state_of_airflow_4"),
    run=st.none() | st.sampled_from(RunState),
    unanswered=st.just("") | st.just("timed out"),
)
GENERATIONS = st.integers(0, 3)
DOUBTS = st.just("") | st.just("its tags cannot be read")
AGES = st.sampled_from([timedelta(seconds=-5), YOUNG, MIN_AGE, OLD])
JOBS = st.builds(
    Job, kind=st.sampled_from(list(KINDS.values())), name=st.just("prod-a-1"), arn=st.just("arn"), since=st.just(LONG_AGO),
    task=st.none() | st.just(TASK), generation=st.none() | GENERATIONS, doubt=DOUBTS,
)  # fmt: skip
CONFIGS = st.sampled_from(["good", "new", "other"])
ENDPOINTS = st.builds(
    Endpoint, name=st.just("prod-digits"), arn=st.just("arn"), since=st.just(LONG_AGO),
    status=st.sampled_from(sorted(ENDPOINT.active | ENDPOINT.success | ENDPOINT.failure)), config=CONFIGS,
    deployed=st.none() | CONFIGS, wanted=st.none() | CONFIGS, task=st.just(TASK), doubt=DOUBTS,
)  # fmt: skip


def test_every_state_of_airflow_is_either_finished_or_unfinished() -> None:
    assert {state.value for state in TaskInstanceState} == FINISHED | UNFINISHED
    assert not FINISHED & UNFINISHED


@pytest.mark.parametrize(
    ("seen", "standing", "reason"),
    [
        *((TaskSeen(state=state), Standing.ORPHAN, f"its task is {state}") for state in sorted(FINISHED)),
        *((TaskSeen(state=state), Standing.IN_USE, f"its task is {state}") for state in sorted(UNFINISHED)),
        (GONE, Standing.ORPHAN, "its run is gone"),
        (TaskSeen(run=RunState.ACTIVE), Standing.IN_USE, "its task will be scheduled"),
        (TaskSeen(run=RunState.FINISHED), Standing.ORPHAN, "its run has finished without its task"),
        (TaskSeen(exists=False, run=RunState.FINISHED), Standing.ORPHAN, "its run has finished without its task"),
        (TaskSeen(exists=False, run=RunState.ACTIVE), Standing.UNKNOWN, "its run does not hold its task"),
        (TaskSeen(), Standing.UNKNOWN, "its run does not hold its task"),
        (TaskSeen(state="dreaming"), Standing.UNKNOWN, "its task is 'dreaming', a state that is not known here"),
        (SILENT, Standing.UNKNOWN, "Airflow did not answer: connection refused"),
    ],
)
def test_a_task_wants_its_job_while_it_is_unfinished(seen: TaskSeen, standing: Standing, reason: str) -> None:
    assert judge_task(seen) == Judgement(standing, reason)


@given(SEEN)
def test_a_task_is_given_up_only_on_airflows_positive_word(seen: TaskSeen) -> None:
    is_over = seen.run is RunState.GONE or (
        seen.state in FINISHED if seen.exists and seen.state is not None else seen.run is RunState.FINISHED
    )
    orphan = judge_task(seen).standing is Standing.ORPHAN
    assert orphan is (is_over and not seen.unanswered)


@pytest.mark.parametrize(
    ("job", "seen", "newest", "age", "expected"),
    [
        (JOB, RUNNING, 1, OLD, Judgement(Standing.IN_USE, "its task is running")),
        (JOB, RUNNING, 2, OLD, Judgement(Standing.ORPHAN, "superseded by generation 2", Remedy.STOP)),
        (JOB, FAILED, 1, OLD, Judgement(Standing.ORPHAN, "its task is failed", Remedy.STOP)),
        (JOB, GONE, 1, OLD, Judgement(Standing.ORPHAN, "its run is gone", Remedy.STOP)),
        (JOB, FAILED, 1, YOUNG, Judgement(Standing.IN_USE, "it is younger than 0:05:00")),
        (JOB, SILENT, 2, OLD, Judgement(Standing.UNKNOWN, "Airflow did not answer: connection refused")),
        (JOB, None, 1, OLD, Judgement(Standing.UNKNOWN, "its tags do not say whose it is")),
        (replace(JOB, doubt="odd"), GONE, 1, OLD, Judgement(Standing.UNKNOWN, "odd")),
    ],
)
def test_jobs(job: Job, seen: TaskSeen | None, newest: int, age: timedelta, expected: Judgement) -> None:
    assert judge_job(job, seen, newest, age, MIN_AGE) == expected


@given(JOBS, st.none() | SEEN, st.none() | GENERATIONS, AGES)
def test_a_job_is_stopped_only_when_its_task_is_known_and_over_or_has_a_newer_one(
    job: Job, seen: TaskSeen | None, newest: int | None, age: timedelta
) -> None:
    judgement = judge_job(job, seen, newest, age, MIN_AGE)
    assert judgement.reason
    assert (judgement.remedy is Remedy.STOP) is (judgement.standing is Standing.ORPHAN)
    if judgement.remedy is Remedy.STOP:
        assert age >= MIN_AGE
        assert not job.doubt
        assert seen is not None
        assert not seen.unanswered
        assert job.generation is not None
        newer = newest is not None and newest > job.generation
        assert judge_task(seen).standing is Standing.ORPHAN or (newer and judge_task(seen).standing is Standing.IN_USE)


@given(st.lists(st.tuples(st.integers(-1, 2), GENERATIONS), max_size=8))
def test_of_one_tasks_running_jobs_the_newest_is_never_superseded(made: list[tuple[int, int]]) -> None:
    jobs = [replace(JOB, task=replace(TASK, map_index=index), generation=generation) for index, generation in made]
    newest = newest_generations(jobs)
    for job in jobs:
        assert job.task is not None
        assert job.generation is not None
        judgement = judge_job(job, RUNNING, newest[job.task], OLD, MIN_AGE)
        others = [other.generation for other in jobs if other.task == job.task and other.generation is not None]
        assert (judgement.standing is Standing.ORPHAN) is (job.generation < max(others))


HALF_MADE = replace(SERVING, config="new", wanted="new", deployed=None)
UPDATED = replace(SERVING, config="new", wanted="new")


@pytest.mark.parametrize(
    ("endpoint", "seen", "standing", "remedy", "said"),
    [
        (SERVING, GONE, Standing.IN_USE, Remedy.NONE, "serves what was deployed"),
        (SERVING, SILENT, Standing.IN_USE, Remedy.NONE, "serves what was deployed"),
        (replace(SERVING, wanted="new"), FAILED, Standing.IN_USE, Remedy.NONE, "serves what was deployed"),
        (replace(SERVING, status="Updating"), FAILED, Standing.IN_USE, Remedy.NONE, "scaled or patched"),
        (replace(SERVING, config="by-hand"), GONE, Standing.UNKNOWN, Remedy.NONE, "left it InService on good"),
        (replace(SERVING, status="OutOfService"), GONE, Standing.UNKNOWN, Remedy.NONE, "is OutOfService on good"),
        (UPDATED, RUNNING, Standing.IN_USE, Remedy.NONE, "its task is running"),
        (UPDATED, FAILED, Standing.ORPHAN, Remedy.PUT_BACK, "abandoned: its task is failed"),
        (UPDATED, GONE, Standing.ORPHAN, Remedy.PUT_BACK, "abandoned: its run is gone"),
        (UPDATED, SILENT, Standing.UNKNOWN, Remedy.NONE, "Airflow did not answer"),
        (UPDATED, TaskSeen(state="success"), Standing.UNKNOWN, Remedy.NONE, "without saying that it is good"),
        (replace(UPDATED, status="Updating"), FAILED, Standing.ORPHAN, Remedy.NONE, "will be looked at next time"),
        (replace(UPDATED, config="by-hand"), FAILED, Standing.UNKNOWN, Remedy.NONE, "no deployment asked for"),
        (replace(UPDATED, status="Failed"), FAILED, Standing.UNKNOWN, Remedy.NONE, "only a new deployment mends it"),
        (HALF_MADE, FAILED, Standing.ORPHAN, Remedy.DELETE, "abandoned"),
        (replace(HALF_MADE, status="Creating"), GONE, Standing.ORPHAN, Remedy.NONE, "it is still Creating"),
        (replace(HALF_MADE, status="Failed"), GONE, Standing.ORPHAN, Remedy.DELETE, "abandoned"),
        (replace(HALF_MADE, status="Deleting"), GONE, Standing.IN_USE, Remedy.NONE, "being deleted"),
        (replace(HALF_MADE, wanted=None), GONE, Standing.UNKNOWN, Remedy.NONE, "do not say what"),
        (replace(UPDATED, doubt="odd"), GONE, Standing.UNKNOWN, Remedy.NONE, "odd"),
    ],
)  # fmt: skip
def test_endpoints(endpoint: Endpoint, seen: TaskSeen, standing: Standing, remedy: Remedy, said: str) -> None:
    judgement = judge_endpoint(endpoint, seen, OLD, MIN_AGE)
    assert (judgement.standing, judgement.remedy) == (standing, remedy)
    assert said in judgement.reason
    assert judge_endpoint(endpoint, seen, YOUNG, MIN_AGE).standing is Standing.IN_USE


@given(ENDPOINTS, st.none() | SEEN, AGES)
def test_an_endpoint_is_touched_only_when_an_abandoned_deployment_left_it_so(
    endpoint: Endpoint, seen: TaskSeen | None, age: timedelta
) -> None:
    judgement = judge_endpoint(endpoint, seen, age, MIN_AGE)
    assert judgement.reason
    if judgement.remedy is not Remedy.NONE:
        assert judgement.standing is Standing.ORPHAN
        assert age >= MIN_AGE
        assert not endpoint.doubt
        assert seen is not None
        assert judge_task(seen).standing is Standing.ORPHAN
        assert endpoint.wanted not in (None, endpoint.deployed)
        assert endpoint.status not in ENDPOINT.active
        assert endpoint.status == "Failed" or endpoint.config == endpoint.wanted
        assert judgement.remedy is (Remedy.PUT_BACK if endpoint.deployed else Remedy.DELETE)


COUNTER = itertools.count()


@pytest.fixture
def deployment(jobs: Jobs) -> Iterator[str]:
    """A deployment of the test's own, whose jobs are stopped in the end."""
    name = f"d{next(COUNTER)}x{time.time_ns() % 10**6}"
    yield name
    for kind in KINDS.values():
        for job in reconcile._listed(jobs.sagemaker, kind, name, StatusEquals="InProgress"):
            getattr(jobs.sagemaker, kind.stop)(**{kind.name_field: job[kind.name_field]})


def submitted(jobs: Jobs, task: TaskIdentity, generation: int = 0, script: str = "sleep 300") -> str:
    return jobs.processing(script, task.job_name(generation), Tags=task.tags(generation, "request", "1"))


def task_of(deployment: str, **parts: Any) -> TaskIdentity:
    return replace(TASK, deployment=deployment, **parts)


def names(jobs: Jobs, deployment: str) -> list[str]:
    return sorted(job.name for job in running_jobs(jobs.sagemaker, deployment))


def reconciler(jobs: Jobs, deployment: str, seen: TaskSeen, **options: Any) -> Reconciler:
    def ask(tasks: Collection[TaskIdentity]) -> dict[TaskIdentity, TaskSeen]:
        return dict.fromkeys(tasks, seen)

    options = {"sagemaker": jobs.sagemaker, "min_age": timedelta(0), **options}
    return Reconciler(deployment=deployment, ask=ask, **options)


def test_running_jobs_are_found_over_many_pages_with_all_that_their_tags_say(
    jobs: Jobs, deployment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "PAGE", 1)
    tasks = [task_of(deployment, run_id="run~1 ü=50%", map_index=index) for index in range(3)]
    made = {submitted(jobs, task, generation=index): task for index, task in enumerate(tasks)}
    training = replace(tasks[0], task_id="other")
    made[jobs.training("import time; time.sleep(300)", training.job_name(0), Tags=training.tags(0, "r", "1"))] = (
        training
    )
    found = {job.name: job for job in running_jobs(jobs.sagemaker, deployment)}
    assert {name: job.task for name, job in found.items()} == made
    assert sorted(job.generation for job in found.values() if job.generation is not None) == [0, 0, 1, 2]
    assert {job.doubt for job in found.values()} == {""}


def test_another_deployments_jobs_are_never_ours_though_its_id_begins_or_ends_like_ours(
    jobs: Jobs, deployment: str
) -> None:
    others = [f"{deployment}2", f"a{deployment}"[:16]]
    for other in others:
        submitted(jobs, task_of(other))
    tags = task_of(others[0]).tags(0, "r", "1")
    jobs.processing("sleep 300", f"{deployment}-named-like-ours", Tags=tags)
    jobs.processing("sleep 300", f"{deployment}-without-tags")
    jobs.processing("sleep 300", f"a-{deployment}-with-our-tags", Tags=task_of(deployment).tags(0, "r", "1"))
    ours = submitted(jobs, task_of(deployment))
    assert names(jobs, deployment) == [ours]
    for other in others:
        assert names(jobs, other) == [task_of(other).job_name(0)]


def test_jobs_that_are_stopping_or_have_ended_are_left_alone(jobs: Jobs, deployment: str) -> None:
    ended = submitted(jobs, task_of(deployment), script="true")
    jobs.end("processing", ended)
    stopping = submitted(jobs, task_of(deployment, task_id="slow"), script="trap '' TERM; while :; do sleep 1; done")
    jobs.sagemaker.stop_processing_job(ProcessingJobName=stopping)
    assert names(jobs, deployment) == []


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"airflow:run": "x" * 200 + "==0123"}, "do not say exactly"),
        ({"airflow:generation": "two"}, "do not say exactly"),
        ({"airflow:run": "another-run"}, "not those of a job of its name"),
        ({"airflow:generation": "1"}, "not those of a job of its name"),
    ],
)
def test_a_job_whose_tags_cannot_be_believed_is_reported_and_never_stopped(
    jobs: Jobs, deployment: str, tags: dict[str, str], said: str
) -> None:
    name = submitted(jobs, task_of(deployment))
    (job,) = running_jobs(jobs.sagemaker, deployment)
    jobs.sagemaker.add_tags(ResourceArn=job.arn, Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    here = reconciler(jobs, deployment, GONE)
    (case,) = here.look()
    assert case.judgement.standing is Standing.UNKNOWN
    assert said in case.judgement.reason
    after = here.stop(case)
    assert after is not None
    assert not after.stopped
    assert names(jobs, deployment) == [name]


def test_an_orphan_is_stopped_and_then_no_longer_found(jobs: Jobs, deployment: str) -> None:
    name = submitted(jobs, task_of(deployment))
    here = reconciler(jobs, deployment, GONE)
    (case,) = here.look()
    assert case.judgement == Judgement(Standing.ORPHAN, "its run is gone", Remedy.STOP)
    after = here.stop(case)
    assert after is not None
    assert after.stopped
    assert PROCESSING.outcome(jobs.end("processing", name)).value == "stopped"
    assert here.look() == []
    assert here.stop(case) is None


def test_only_the_older_generation_of_a_task_is_superseded(jobs: Jobs, deployment: str) -> None:
    task = task_of(deployment)
    for generation in (0, 1):
        submitted(jobs, task, generation)
    cases = {case.resource.generation: case for case in reconciler(jobs, deployment, RUNNING).look()}
    assert cases[0].judgement.reason == "superseded by generation 1"
    assert cases[1].judgement.standing is Standing.IN_USE


def test_a_job_within_the_grace_is_in_use(jobs: Jobs, deployment: str) -> None:
    submitted(jobs, task_of(deployment))
    (case,) = reconciler(jobs, deployment, GONE, min_age=MIN_AGE).look()
    assert case.judgement.standing is Standing.IN_USE


def test_a_job_that_ends_while_airflow_is_asked_is_no_orphan(jobs: Jobs, deployment: str) -> None:
    name = submitted(jobs, task_of(deployment))

    def ask_slowly(tasks: Collection[TaskIdentity]) -> dict[TaskIdentity, TaskSeen]:
        jobs.sagemaker.stop_processing_job(ProcessingJobName=name)
        jobs.end("processing", name)
        return dict.fromkeys(tasks, TaskSeen(state="success"))

    assert replace(reconciler(jobs, deployment, GONE), ask=ask_slowly).look() == []


def test_a_task_that_was_cleared_since_the_look_keeps_its_job(jobs: Jobs, deployment: str) -> None:
    name = submitted(jobs, task_of(deployment))
    (case,) = reconciler(jobs, deployment, FAILED).look()
    assert case.judgement.remedy is Remedy.STOP
    after = reconciler(jobs, deployment, TaskSeen(state="queued")).stop(case)
    assert after is not None
    assert (after.stopped, after.judgement.standing) == (False, Standing.IN_USE)
    assert names(jobs, deployment) == [name]


class Throttle:
    """Answers an operation's first calls as SageMaker does when it is asked too often."""

    def __init__(self, operation: str, times: int) -> None:
        self.operation, self.left = operation, times

    def client(self, jobs: Jobs, attempts: int) -> Any:
        import boto3

        meta = jobs.sagemaker.meta
        client = boto3.client(
            "sagemaker", endpoint_url=meta.endpoint_url, region_name=meta.region_name, aws_access_key_id="any",
            aws_secret_access_key="any", config=Config(retries={"mode": "standard", "total_max_attempts": attempts}),
        )  # fmt: skip
        client.meta.events.register(f"before-send.sagemaker.{self.operation}", self.answer)
        return client

    def answer(self, request: Any, **_: Any) -> AWSResponse | None:
        if self.left == 0:
            return None
        self.left -= 1
        body = b'{"__type": "ThrottlingException", "message": "Rate exceeded"}'
        headers: Any = HeadersDict()
        response = AWSResponse(request.url, 400, headers, None)
        vars(response)["_content"] = body
        return response


def test_throttling_that_passes_changes_nothing(jobs: Jobs, deployment: str) -> None:
    submitted(jobs, task_of(deployment))
    client = Throttle("ListTags", 1).client(jobs, attempts=3)
    (case,) = reconciler(jobs, deployment, GONE, sagemaker=client).look()
    assert case.judgement.remedy is Remedy.STOP


def test_a_job_whose_tags_cannot_be_read_is_unknown_and_the_others_are_judged(jobs: Jobs, deployment: str) -> None:
    for task_id in ("one", "two"):
        submitted(jobs, task_of(deployment, task_id=task_id))
    client = Throttle("ListTags", 1).client(jobs, attempts=1)
    cases = reconciler(jobs, deployment, GONE, sagemaker=client).look()
    said = sorted(case.judgement.reason for case in cases)
    # Read once more, the tags come; but Airflow was not asked about the task that they name.
    assert said[0].startswith("Airflow did not answer: it was not asked")
    assert said[1] == "its run is gone"
    client = Throttle("ListTags", -1).client(jobs, attempts=1)
    cases = reconciler(jobs, deployment, GONE, sagemaker=client).look()
    assert {case.judgement.standing for case in cases} == {Standing.UNKNOWN}
    assert all("Rate exceeded" in case.judgement.reason for case in cases)


def test_a_refused_stop_is_told_and_does_not_end_the_reconciler(jobs: Jobs, deployment: str) -> None:
    submitted(jobs, task_of(deployment))
    client = Throttle("StopProcessingJob", -1).client(jobs, attempts=1)
    here = reconciler(jobs, deployment, GONE, sagemaker=client)
    (case,) = here.look()
    after = here.stop(case)
    assert isinstance(after, Case)
    assert not after.stopped
    assert "Rate exceeded" in after.refusal
