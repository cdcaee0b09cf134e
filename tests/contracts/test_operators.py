"""What every operator must satisfy: first run, reconnect, adopt, failed prior, cancel, clear, mapped, bad request.

The operators are the rows of operators.py. They come in three families, by what they leave behind when a worker dies:
jobs, endpoints, and nothing. Each case is asserted for each family; what has no second meaning for one of them, such as
cancelling a request that lasts a millisecond, must at least leave nothing behind.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput
from airflow.serialization.serialized_objects import DagSerialization

import operators
from millrace.runtime import fault_plan
from millrace.runtime.faults import FailJob
from millrace.sagemaker.kinds import Outcome
from millrace.sagemaker.names import TaskIdentity
from operators.deploy import DeployEndpointOperator
from operators.failures import JobStopped, StepFailed
from operators.registry import ModelApprovalOperator
from tests.contracts.operators import BROKEN, SUBJECTS, Land, Place, Subject
from tests.operators.attempts import Attempts
from tests.runtime.process import RuntimeProcess, until

SMALL_BYTES = 4096
BASES = {"JobOperator", "EndpointOperator"}
JOBS = [subject for subject in SUBJECTS if subject.kind]
(DEPLOY,) = (subject for subject in SUBJECTS if subject.operator is DeployEndpointOperator)
(DELETE,) = (subject for subject in SUBJECTS if subject.name == "DeleteEndpointOperator")
ENDPOINTS = [DEPLOY, DELETE]
AT_ONCE = [subject for subject in SUBJECTS if subject not in JOBS + ENDPOINTS]
"""They end in the worker that began them, and nothing waits for them anywhere else."""


def over(subjects: list[Subject]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("subject", subjects, ids=[subject.name for subject in subjects])


every = over(list(SUBJECTS))
jobs_only = over(JOBS)
at_once = over(AT_ONCE)


@dataclass(frozen=True)
class Run:
    """A first run to its end, and where it was."""

    place: Place
    attempts: Attempts
    made: dict[str, list[str]]
    result: Any


@pytest.fixture(scope="module")
def new_place(runtime: RuntimeProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Place]]:
    with Land(runtime, tmp_path_factory.mktemp("land")).workers() as land:
        yield lambda: Place(land)


@pytest.fixture
def place(new_place: Callable[[], Place], runtime: RuntimeProcess) -> Iterator[Place]:
    with new_place().worker() as found:
        found.deal()
        yield found
    fault_plan.clear(runtime.data_dir)


@pytest.fixture(scope="module")
def first_run(new_place: Callable[[], Place]) -> Callable[[Subject], Run]:
    """The first run of an operator, deferrable as by default, one a module: only here do jobs really run."""
    runs: dict[str, Run] = {}

    def of(subject: Subject) -> Run:
        if subject.name not in runs:
            with new_place().worker() as place:
                subject.needs(place)
                operator, attempts = subject.make(place), Attempts()
                result = attempts.execute(operator)
                runs[subject.name] = Run(place, attempts, place.made(), result)
        return runs[subject.name]

    return of


def identity(place: Place, attempts: Attempts) -> TaskIdentity:
    ti = attempts.ti
    return TaskIdentity(
        deployment=place.deployment, dag_id=ti.dag_id, run_id=ti.run_id, task_id=ti.task_id, map_index=ti.map_index
    )


def name_of(deferred: Any) -> str:
    """The job or endpoint that a deferred task waits for."""
    arguments = deferred.trigger.arguments
    return str(arguments.get("job_name") or arguments["endpoint"])


def lasting(result: Any) -> Any:
    """A result without what differs from one look to the next."""
    return (
        {key: value for key, value in result.items() if key != "milliseconds"} if isinstance(result, dict) else result
    )


def fails_for_good(operator: BaseOperator, error: BaseException) -> bool:
    """Whether Airflow leaves a task at that, whatever its retries."""
    if isinstance(error, AirflowFailException):
        return True
    policy = operator.retry_policy
    return policy is not None and policy.evaluate(error, 1, 3).action.value == "fail"


def during(attempts: Attempts, operator: Any, state: str, sigterm_when: Callable[[], Any]) -> BaseException:
    """One attempt in a worker that gets SIGTERM while Airflow has this state for the task; returns what it raises."""
    attempts.ti.state = state

    def sigterm() -> None:
        until(sigterm_when, 30, "the beginning")
        operator.on_kill()

    with ThreadPoolExecutor(1) as others:
        sent = others.submit(sigterm)
        with pytest.raises(StepFailed) as raised:
            attempts.execute(operator)
        sent.result()
    attempts.ti.state = "running"
    return raised.value


def test_every_operator_is_a_row_of_the_table() -> None:
    folder = Path(next(iter(operators.__path__)))
    public = {
        value.__name__
        for path in folder.glob("*.py")
        if path.stem != "__init__"
        for value in vars(import_module(f"operators.{path.stem}")).values()
        if isinstance(value, type) and issubclass(value, BaseOperator) and value.__module__ == f"operators.{path.stem}"
    }
    assert {subject.name for subject in SUBJECTS} == public - BASES


# First run.


@every
def test_first_run_hands_on_little_and_makes_one_thing_with_its_tags(
    subject: Subject, first_run: Callable[[Subject], Run]
) -> None:
    run = first_run(subject)
    for value in (run.result, *run.attempts.ti.xcom.values()):
        text = json.dumps(value)
        assert json.loads(text) == value
        assert len(text) < SMALL_BYTES
    for link in subject.operator.operator_extra_links:
        assert str(run.attempts.ti.xcom[link.xcom_key]).startswith("http")
    things = [name for kind, names in run.made.items() if kind != "versions" for name in names]
    if subject.kind:
        assert run.made[subject.kind.name] == [run.result["job_name"]] == things
        with run.place.worker():
            assert TaskIdentity.from_tags(run.place.tags(run.result["arn"])) == identity(run.place, run.attempts)
    elif subject is DEPLOY:
        assert run.made["endpoint"] == [run.result["endpoint"]] == things
        with run.place.worker():
            arn = run.place.settled("serving")["EndpointArn"]
            assert TaskIdentity.from_tags(run.place.tags(arn)) == identity(run.place, run.attempts)
    else:
        assert things == ([run.result["endpoint"]] if subject.name == "InvokeEndpointOperator" else [])


# Reconnect: the worker of an earlier attempt is gone, and what it began goes on.


@jobs_only
def test_reconnect_waits_for_the_job_that_is_there(subject: Subject, place: Place) -> None:
    attempts = Attempts()
    first = attempts.defer(subject.make(place))
    made = place.made()
    second = attempts.defer(subject.make(place))
    attempts.store.clear()  # the state that is written never vanishes alone; the job's name would find it all the same
    third = attempts.defer(subject.make(place))
    assert [name_of(first)] == [name_of(second)] == [name_of(third)] == place.active()
    assert place.made() == made


def test_reconnect_goes_on_with_the_deployment_that_was_begun(place: Place) -> None:
    attempts = Attempts()
    attempts.defer(DEPLOY.make(place))
    attempts.execute(DEPLOY.make(place))
    assert place.made() == {"endpoint": [f"{place.deployment}-serving"], "versions": [place.version]}
    attempts.store.clear()
    again = attempts.execute(DEPLOY.make(place))
    assert place.settled("serving")["EndpointConfigName"] == again["config"]


def test_reconnect_to_a_deletion_still_takes_the_configuration_away(place: Place) -> None:
    attempts = Attempts()
    config = place.serve()["EndpointConfigName"]
    attempts.defer(DELETE.make(place))
    result = attempts.execute(DELETE.make(place))
    assert result == {"endpoint": f"{place.deployment}-live", "config": config}
    assert gone(place, config)


@at_once
@pytest.mark.parametrize("lost", [False, True], ids=["state kept", "state lost"])
def test_reconnect_of_what_ends_at_once_does_it_again_and_leaves_no_more(
    subject: Subject, lost: bool, first_run: Callable[[Subject], Run]
) -> None:
    run = first_run(subject)
    if lost:
        run.attempts.store.clear()
    with run.place.worker():
        assert lasting(run.attempts.execute(subject.make(run.place))) == lasting(run.result)
        assert run.place.made() == run.made


# Adopt: it ended while nobody looked.


@every
def test_adopt_takes_the_result_of_what_has_ended_and_pays_nothing_more(
    subject: Subject, first_run: Callable[[Subject], Run]
) -> None:
    run = first_run(subject)
    handed_on = {key: value for key, value in run.attempts.ti.xcom.items() if not isinstance(value, float)}
    run.attempts.ti.xcom.clear()  # as Airflow does before a retry
    with run.place.worker():
        again = run.attempts.execute(subject.make(run.place))
        assert run.place.made() == run.made
    assert lasting(again) == lasting(run.result)
    assert run.attempts.ti.xcom == handed_on


# Failed prior.


@jobs_only
def test_failed_prior_is_followed_by_one_job_of_the_next_generation(subject: Subject, place: Place) -> None:
    attempts = Attempts()
    place.deal(FailJob(reason="InternalServerError: a host was lost"))
    with pytest.raises(StepFailed, match="a host was lost"):
        attempts.execute(subject.make(place))
    (failed,) = place.made()[subject.kind.name]  # type: ignore[union-attr]
    place.deal()
    second = name_of(attempts.defer(subject.make(place)))
    assert attempts.store["millrace_job"]["generation"] == 1
    assert place.active() == [second] != [failed]


def test_failed_prior_deployment_leaves_room_for_the_next(place: Place) -> None:
    attempts = Attempts()
    assert place.version
    place.archive(BROKEN)
    with pytest.raises(StepFailed, match="weights are missing"):
        attempts.execute(DEPLOY.make(place))
    assert "endpoint" not in place.made()
    place.archive()
    assert attempts.execute(DEPLOY.make(place))["smoke"] == "7"


def test_failed_prior_does_not_keep_an_endpoint_from_being_deleted(place: Place) -> None:
    failed = place.serve(BROKEN)
    assert failed["EndpointStatus"] == "Failed"
    Attempts().execute(DELETE.make(place))
    assert "endpoint" not in place.made()
    assert gone(place, failed["EndpointConfigName"])


@over([subject for subject in AT_ONCE if subject.nonsense])
def test_failed_prior_of_what_ends_at_once_is_made_up_for_by_the_retry(
    subject: Subject, first_run: Callable[[Subject], Run]
) -> None:
    run = first_run(subject)
    with run.place.worker():
        with pytest.raises(Exception):  # noqa: B017 - which one is another test's
            rendered(subject, run.place, subject.nonsense[0]).execute(run.attempts.context)
        assert lasting(run.attempts.execute(subject.make(run.place))) == lasting(run.result)
        assert run.place.made() == run.made


# Cancel: a user marks or clears the task while it waits.


@jobs_only
def test_cancel_stops_the_job_and_twice_is_no_error(subject: Subject, place: Place) -> None:
    deferred = Attempts().defer(subject.make(place))
    for _ in range(2):
        asyncio.run(deferred.trigger.on_kill())
    until(lambda: not place.active(), 30, "the stop")
    assert subject.kind
    assert place.outcome(subject.kind, name_of(deferred)) is Outcome.STOPPED


@jobs_only
def test_cancel_of_a_task_that_waits_in_its_worker_stops_the_job(subject: Subject, place: Place) -> None:
    error = during(Attempts(), subject.make(place, deferrable=False), "failed", place.active)
    assert isinstance(error, JobStopped)
    until(lambda: not place.active(), 30, "the stop")


@jobs_only
def test_deploy_of_the_workers_leaves_the_job_to_the_retry(subject: Subject, place: Place) -> None:
    attempts = Attempts()
    operator = subject.make(place, deferrable=False)
    error = during(attempts, operator, "running", place.active)
    assert not fails_for_good(operator, error)
    assert place.active() == [name_of(attempts.defer(subject.make(place)))]


@pytest.mark.parametrize("was_there", [False, True], ids=["new", "updated"])
def test_cancel_of_a_deployment_puts_back_what_was_served(was_there: bool, place: Place) -> None:
    before = Attempts().execute(DEPLOY.make(place))["config"] if was_there else None
    deferred = Attempts().defer(DEPLOY.make(place, environment={"MEANING": "another configuration"}))
    for _ in range(2):
        asyncio.run(deferred.trigger.on_kill())
    until(lambda: place.settled("serving").get("EndpointConfigName") == before, 60, "the way back")


@pytest.mark.parametrize(("state", "said"), [("failed", "a user has ended"), ("running", "the next attempt goes on")])
def test_cancel_of_a_deployment_in_its_worker_says_who_sees_to_it(state: str, said: str, place: Place) -> None:
    attempts = Attempts()
    error = during(attempts, DEPLOY.make(place, deferrable=False), state, place.active)
    assert said in str(error)
    assert isinstance(error, JobStopped) is (state == "failed")
    assert attempts.execute(DEPLOY.make(place))["smoke"] == "7"


def test_cancel_of_a_deletion_does_not_stop_it(place: Place) -> None:
    place.serve()
    deferred = Attempts().defer(DELETE.make(place))
    for _ in range(2):
        asyncio.run(deferred.trigger.on_kill())
    assert place.settled("live")["EndpointStatus"] == "absent"


@at_once
def test_cancel_of_what_ends_at_once_leaves_all_as_it_is(subject: Subject, first_run: Callable[[Subject], Run]) -> None:
    run = first_run(subject)
    with run.place.worker():
        for _ in range(2):
            subject.make(run.place).on_kill()
        assert run.place.made() == run.made
        assert lasting(run.attempts.execute(subject.make(run.place))) == lasting(run.result)


# Clear.


@jobs_only
def test_clear_sees_the_running_job_ended_before_the_next_is_begun(subject: Subject, place: Place) -> None:
    attempts = Attempts()
    first = name_of(attempts.defer(subject.make(place)))
    attempts.clear()
    second = name_of(attempts.defer(subject.make(place)))
    assert subject.kind
    assert place.outcome(subject.kind, first) is Outcome.STOPPED
    assert place.active() == [second] != [first]
    attempts.clear()
    assert name_of(attempts.defer(subject.make(place, on_clear="adopt"))) == second


def test_clear_of_a_deployment_goes_on_with_one_endpoint(place: Place) -> None:
    attempts = Attempts()
    attempts.defer(DEPLOY.make(place))
    attempts.clear()
    first = attempts.execute(DEPLOY.make(place))
    attempts.clear()
    assert attempts.execute(DEPLOY.make(place)) == first
    assert place.made()["endpoint"] == [f"{place.deployment}-serving"]


def test_clear_of_a_deletion_finds_nothing_and_is_content(place: Place) -> None:
    attempts = Attempts()
    place.serve()
    first = attempts.execute(DELETE.make(place))
    attempts.clear()
    assert attempts.execute(DELETE.make(place))["endpoint"] == first["endpoint"]
    assert place.settled("live")["EndpointStatus"] == "absent"


@at_once
def test_clear_of_what_ends_at_once_does_it_again(subject: Subject, first_run: Callable[[Subject], Run]) -> None:
    run = first_run(subject)
    run.attempts.clear()
    with run.place.worker():
        assert lasting(run.attempts.execute(subject.make(run.place))) == lasting(run.result)
        assert run.place.made() == run.made


# Mapped.


def expanded(subject: Subject, place: Place) -> list[Any]:
    """The task's two instances, as a worker unmaps them."""
    argument, values = subject.mapped[0], subject.mapped[1](place)
    told = {key: value for key, value in subject.told(place).items() if key != argument}
    with DAG("mapped", schedule=None) as dag:
        mapped = subject.operator.partial(task_id="step", **told).expand(**{argument: values})
    DagSerialization.to_dict(dag)  # as the DAG processor does
    return [mapped.unmap({argument: value}) for value in values]


@every
def test_mapped_operator_is_what_it_is_alone(subject: Subject, place: Place) -> None:
    alone = subject.make(place)
    for operator in expanded(subject, place):
        assert operator.retry_policy is alone.retry_policy
        assert operator.outlets == alone.outlets
        assert operator.template_fields == alone.template_fields


@every
def test_mapped_operator_comes_after_what_feeds_it(subject: Subject, place: Place) -> None:
    """Whatever else is mapped, an argument that is another task's output is an edge."""
    feeds: Any
    told = {key: value for key, value in subject.told(place).items() if key != subject.fed}
    argument = subject.mapped[0] if subject.mapped[0] != subject.fed else "doc"
    told.pop(argument, None)
    with DAG("mapped", schedule=None) as dag:
        feeds = BaseOperator(task_id="feeds").output
        subject.operator(task_id="alone", **{**subject.told(place), subject.fed: feeds_as(subject, feeds)})
        subject.operator.partial(task_id="mapped", **told, **{subject.fed: feeds_as(subject, feeds)}).expand(
            **{argument: ["a", "b"]}
        )
    assert dag.get_task("alone").upstream_task_ids == {"feeds"}
    assert dag.get_task("mapped").upstream_task_ids == {"feeds"}


def feeds_as(subject: Subject, feeds: Any) -> Any:
    """Another task's output in the shape of the argument."""
    return {"data": feeds} if subject.fed in ("inputs", "channels") else feeds


@jobs_only
def test_mapped_instances_have_jobs_and_tags_of_their_own(subject: Subject, place: Place) -> None:
    for index, operator in enumerate(expanded(subject, place)):
        deferred = Attempts(run="one run", map_index=index).defer(operator)
        arn = subject_arn(subject, place, name_of(deferred))
        assert place.tags(arn)["airflow:map_index"] == str(index)
    assert len(place.active()) == 2


def subject_arn(subject: Subject, place: Place, name: str) -> str:
    assert subject.kind
    found = getattr(place.jobs.sagemaker, subject.kind.describe)(**{subject.kind.name_field: name})
    return str(found[subject.kind.arn_field])


def test_mapped_deployments_have_endpoints_of_their_own(place: Place) -> None:
    for index, operator in enumerate(expanded(DEPLOY, place)):
        Attempts(run="one run", map_index=index).defer(operator)
    assert place.made()["endpoint"] == [f"{place.deployment}-left", f"{place.deployment}-right"]
    for endpoint in ("left", "right"):
        arn = place.settled(endpoint)["EndpointArn"]
        assert place.tags(arn)["airflow:map_index"] == str(("left", "right").index(endpoint))


# Bad request.


@every
def test_bad_request_is_refused_when_the_dag_is_parsed(subject: Subject, place: Place) -> None:
    with pytest.raises(ValueError, match=subject.said):
        subject.make(place, **subject.wrong)


@over(JOBS + ENDPOINTS)
@pytest.mark.parametrize("timeout", [timedelta(0), timedelta(seconds=-1), 3600])
def test_bad_request_of_a_wrong_timeout_is_refused_before_anything_is_paid(
    subject: Subject, timeout: Any, place: Place
) -> None:
    with pytest.raises(ValueError, match=r"timeout is .* it must be a timedelta above 0"):
        subject.make(place, timeout=timeout)


@pytest.mark.parametrize(
    ("subject", "nonsense"),
    [
        pytest.param(subject, nonsense, id=f"{subject.name}-{next(iter(nonsense))}{number}")
        for subject in SUBJECTS
        for number, nonsense in enumerate(subject.nonsense)
    ],
)
def test_bad_request_of_a_template_fails_for_good_before_anything_is_made(
    subject: Subject, nonsense: dict[str, Any], place: Place
) -> None:
    subject.needs(place)
    operator = rendered(subject, place, nonsense)
    made = place.made()
    with pytest.raises(Exception) as raised:  # a deferral is none: then the job was made
        operator.execute(Attempts().context)
    assert fails_for_good(operator, raised.value), repr(raised.value)
    assert place.made() == made
    configs = place.jobs.sagemaker.list_endpoint_configs(NameContains=f"{place.deployment}-")["EndpointConfigs"]
    assert configs == []


def rendered(subject: Subject, place: Place, values: Any) -> Any:
    """The operator as a worker has it once its templates are rendered to these values."""
    operator = subject.make(place)
    for name, value in values.items():
        assert name in operator.template_fields
        setattr(operator, name, value)
    return operator


# The approval, when it is required.


class Supervisor:
    """The line from a task to Airflow's supervisor, as far as an approval uses it: it keeps what was asked for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def send(self, msg: Any) -> None:
        self.asked.append(msg)


@pytest.mark.parametrize("required", [True, "True", "perhaps"])
def test_approval_that_is_required_parks_the_task_and_asks(
    required: Any, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor, attempts = Supervisor(), Attempts()
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", supervisor, raising=False)
    attempts.ti.id = "00000000-0000-0000-0000-000000000001"  # type: ignore[attr-defined]
    operator = ModelApprovalOperator(task_id="step", subject="Deploy?", required=required)
    with pytest.raises(TaskAwaitingInput) as parked:
        operator.execute({**attempts.context, "task_instance": attempts.ti})
    assert parked.value.method_name == "execute_complete"
    (asked,) = supervisor.asked
    assert (asked.subject, asked.options) == ("Deploy?", ["Approve", "Reject"])


def gone(place: Place, config: str) -> bool:
    """Whether an endpoint configuration is gone."""
    found = place.jobs.sagemaker.list_endpoint_configs(NameContains=config)["EndpointConfigs"]
    return config not in [row["EndpointConfigName"] for row in found]
