"""What still runs in this deployment though no task waits for it: found, judged, and ended when told to.

A user's kill stops a job through its trigger, and a retry adopts what an earlier attempt left. What slips through both
(killed while the triggerer was down, a run that was deleted) is found here, by the tags that every job carries.

The order keeps it honest: what runs is listed first and Airflow is asked afterwards, so that Airflow's word is never the
older one; and what then looks wrong is read once more, because it may have ended in between.

What it does not do: it does not know how Airflow is asked (`Ask` is handed in), and it ends nothing that it is not sure of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from . import observe
from .hosting import DEPLOYED_TAG, WANTED_TAG
from .kinds import ENDPOINT, KINDS, JobKind, Kind
from .names import DEPLOYMENT_TAG, TaskIdentity, generation_from_tags

MIN_AGE = timedelta(minutes=5)
PAGE = 100
RUNNING = "InProgress"
"""The state in which a job has to be stopped; one that is Stopping is on its way."""
FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
UNFINISHED = frozenset(
    {"running", "deferred", "queued", "scheduled", "up_for_retry", "up_for_reschedule", "restarting", "awaiting_input"}
)
"""Airflow's states of a task instance; `None` is the one before it is scheduled, and after it was cleared."""


class Standing(Enum):
    IN_USE = "in use"
    ORPHAN = "orphan"
    UNKNOWN = "unknown"
    """Reported and left alone."""


class Remedy(Enum):
    """What ends an orphan."""

    NONE = "nothing can be done now"
    STOP = "stop it"
    PUT_BACK = "put it back on the configuration that was last proven good"
    DELETE = "delete it"


class RunState(Enum):
    ACTIVE = "active"
    FINISHED = "finished"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSeen:
    """What Airflow says of one task instance. `run` is needed where `state` does not decide."""

    exists: bool = True
    state: str | None = None
    run: RunState | None = None
    unanswered: str = ""
    """Why Airflow did not say anything."""


NOT_ASKED = TaskSeen(unanswered="it was not asked, because the tags have changed since; the next run will")
Ask = Callable[[Collection[TaskIdentity]], Mapping[TaskIdentity, TaskSeen]]


@dataclass(frozen=True, slots=True)
class Judgement:
    standing: Standing
    reason: str
    remedy: Remedy = Remedy.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that is running. `doubt` says why its tags do not tell exactly whose it is."""

    kind: JobKind
    name: str
    arn: str
    since: datetime
    task: TaskIdentity | None
    generation: int | None
    doubt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint, whatever it does. `config` is the one it is on, or is coming up on when it is new."""

    name: str
    arn: str
    since: datetime
    status: str
    config: str
    deployed: str | None
    wanted: str | None
    task: TaskIdentity | None
    doubt: str = ""
    kind = ENDPOINT
    generation = None


Resource = Job | Endpoint


def judge_task(seen: TaskSeen) -> Judgement:
    """Whether a task instance may still want what it asked for."""
    if seen.unanswered:
        return Judgement(Standing.UNKNOWN, f"Airflow did not answer: {seen.unanswered}")
    if seen.run is RunState.GONE:
        return Judgement(Standing.ORPHAN, "its run is gone")
    if seen.exists and seen.state in UNFINISHED:
        return Judgement(Standing.IN_USE, f"its task is {seen.state}")
    if seen.exists and seen.state in FINISHED:
        return Judgement(Standing.ORPHAN, f"its task is {seen.state}")
    if seen.exists and seen.state is not None:
        return Judgement(Standing.UNKNOWN, f"its task is {seen.state!r}, a state that is not known here")
    if seen.run is RunState.FINISHED:
        return Judgement(Standing.ORPHAN, "its run has finished without its task")
    if seen.run is RunState.ACTIVE and seen.exists:
        return Judgement(Standing.IN_USE, "its task will be scheduled")
    return Judgement(Standing.UNKNOWN, "its run does not hold its task")


def judge_job(job: Job, seen: TaskSeen | None, newest: int | None, age: timedelta, min_age: timedelta) -> Judgement:
    """What a running job is to its task; `newest` is the highest generation of that task's running jobs."""
    if age < min_age:
        return Judgement(Standing.IN_USE, f"it is younger than {min_age}")
    if job.doubt or seen is None or job.generation is None:
        return Judgement(Standing.UNKNOWN, job.doubt or "its tags do not say whose it is")
    task = judge_task(seen)
    if task.standing is Standing.ORPHAN:
        return replace(task, remedy=Remedy.STOP)
    if task.standing is Standing.IN_USE and newest is not None and job.generation < newest:
        return Judgement(Standing.ORPHAN, f"superseded by generation {newest}", Remedy.STOP)
    return task


def judge_endpoint(endpoint: Endpoint, seen: TaskSeen | None, age: timedelta, min_age: timedelta) -> Judgement:
    """What an endpoint is to its latest deployment.

    It is an orphan only when that deployment was under way and is known to be over; what somebody has changed by hand is
    theirs.
    """
    is_good = endpoint.deployed is not None and endpoint.config == endpoint.deployed
    on_what = f"it is {endpoint.status} on {endpoint.config}"
    if endpoint.status == "Deleting":
        return Judgement(Standing.IN_USE, "it is being deleted")
    if endpoint.status == "InService" and is_good:
        return Judgement(Standing.IN_USE, "it serves what was deployed")
    if age < min_age:
        return Judgement(Standing.IN_USE, f"it has changed less than {min_age} ago")
    if endpoint.doubt or seen is None:
        return Judgement(Standing.UNKNOWN, endpoint.doubt or "its tags do not say whose it is")
    task = judge_task(seen)
    if task.standing is Standing.IN_USE:
        return task
    changing = endpoint.status in ENDPOINT.active
    if endpoint.wanted is None:
        return Judgement(Standing.UNKNOWN, f"{on_what}, and its tags do not say what its deployment wanted")
    if endpoint.wanted == endpoint.deployed:  # no deployment is under way
        if changing and is_good:
            return Judgement(Standing.IN_USE, "it is being scaled or patched")
        return Judgement(Standing.UNKNOWN, f"{on_what}; its last deployment left it InService on {endpoint.deployed}")
    if task.standing is Standing.UNKNOWN:
        return task
    if seen.state == "success":
        return Judgement(
            Standing.UNKNOWN, f"{on_what}, and its deployment has ended well without saying that it is good"
        )
    reason = f"its deployment was abandoned: {task.reason}"
    if changing:
        return Judgement(Standing.ORPHAN, f"{reason}; it is still {endpoint.status}: will be looked at next time")
    if endpoint.status == "Failed" and endpoint.deployed is None:
        return Judgement(Standing.ORPHAN, reason, Remedy.DELETE)
    if endpoint.status != "InService":
        return Judgement(Standing.UNKNOWN, f"{reason}; it is {endpoint.status}: only a new deployment mends it")
    if endpoint.config != endpoint.wanted:
        return Judgement(Standing.UNKNOWN, f"{on_what}, which no deployment asked for")
    return Judgement(Standing.ORPHAN, reason, Remedy.DELETE if endpoint.deployed is None else Remedy.PUT_BACK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A resource, what it was judged to be, and what came of ending it."""

    resource: Resource
    judgement: Judgement
    newest: int | None = None
    stopped: bool = False
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """Looks at one deployment through a boto3 client, and asks Airflow through `ask`."""

    sagemaker: Any
    deployment: str
    ask: Ask
    min_age: timedelta = MIN_AGE

    def look(self) -> list[Case]:
        """Every running job and every endpoint of the deployment, judged.

        Raises:
            botocore.exceptions.ClientError: a listing was refused. Anything less leaves one resource unknown.
        """
        jobs = list(running_jobs(self.sagemaker, self.deployment))
        found: list[Resource] = [*jobs, *endpoints(self.sagemaker, self.deployment)]
        seen = self.ask({resource.task for resource in found if resource.task is not None})
        newest = newest_generations(jobs)
        cases = []
        for resource in found:
            case = self._case(resource, seen, newest.get(resource.task) if resource.task else None)
            if case.judgement.standing is not Standing.IN_USE:
                again = self._read_again(resource)
                if again is None:
                    continue  # it has ended since it was listed
                case = self._case(again, seen, case.newest)
            cases.append(case)
        return cases

    def stop(self, case: Case) -> Case | None:
        """End an orphan, if it is one still: Airflow and SageMaker are asked once more. None when it has ended by itself."""
        from botocore.exceptions import BotoCoreError, ClientError

        seen = self.ask({case.resource.task} if case.resource.task else set())
        again = self._read_again(case.resource)
        if again is None:
            return None
        now = self._case(again, seen, case.newest)
        if now.judgement.remedy is Remedy.NONE:
            return now
        try:
            ended = self._end(again, now.judgement.remedy)
        except (ClientError, BotoCoreError) as error:
            return replace(now, refusal=str(error))
        return replace(now, stopped=True) if ended else None

    def _case(self, resource: Resource, seen: Mapping[TaskIdentity, TaskSeen], newest: int | None) -> Case:
        task = seen.get(resource.task, NOT_ASKED) if resource.task else None
        age = datetime.now(UTC) - resource.since
        if isinstance(resource, Job):
            judgement = judge_job(resource, task, newest, age, self.min_age)
        else:
            judgement = judge_endpoint(resource, task, age, self.min_age)
        return Case(resource=resource, judgement=judgement, newest=newest)

    def _read_again(self, resource: Resource) -> Resource | None:
        """The resource as it is now; None when there is nothing left to judge, or it has become another deployment's."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            found = observe.describe(self.sagemaker, resource.kind, resource.name)
        except (ClientError, BotoCoreError) as error:
            return replace(resource, doubt=f"it cannot be described: {error}")
        if found is None:
            return None
        if isinstance(resource, Endpoint):
            return _endpoint(self.sagemaker, self.deployment, found)
        is_running = found[resource.kind.status_field] == RUNNING
        return _job(self.sagemaker, self.deployment, resource.kind, found) if is_running else None

    def _end(self, resource: Resource, remedy: Remedy) -> bool:
        if isinstance(resource, Job):
            return observe.stop(self.sagemaker, resource.kind, resource.name)
        if remedy is Remedy.PUT_BACK:
            self.sagemaker.update_endpoint(EndpointName=resource.name, EndpointConfigName=resource.deployed)
        else:
            self.sagemaker.delete_endpoint(EndpointName=resource.name)
        return True


def running_jobs(sagemaker: Any, deployment: str) -> Iterator[Job]:
    """The deployment's jobs of every kind that are InProgress."""
    for kind in KINDS.values():
        for summary in _listed(sagemaker, kind, deployment, StatusEquals=RUNNING):
            if job := _job(sagemaker, deployment, kind, summary):
                yield job


def endpoints(sagemaker: Any, deployment: str) -> Iterator[Endpoint]:
    """The deployment's endpoints, in any state."""
    from botocore.exceptions import BotoCoreError, ClientError

    for summary in _listed(sagemaker, ENDPOINT, deployment):
        doubt = ""
        try:
            found = observe.describe(sagemaker, ENDPOINT, summary["EndpointName"])
        except (ClientError, BotoCoreError) as error:
            found, doubt = summary, f"it cannot be described: {error}"
        if found is not None and (endpoint := _endpoint(sagemaker, deployment, found)):
            yield replace(endpoint, doubt=doubt or endpoint.doubt)


def newest_generations(jobs: Collection[Job]) -> dict[TaskIdentity, int]:
    """The highest generation of each task's jobs."""
    newest: dict[TaskIdentity, int] = {}
    for job in jobs:
        if job.task is not None and job.generation is not None:
            newest[job.task] = max(job.generation, newest.get(job.task, 0))
    return newest


def _listed(sagemaker: Any, kind: Kind, deployment: str, **filters: str) -> list[dict[str, Any]]:
    """The summaries whose names begin with the deployment's id and a hyphen, which no id holds."""
    prefix = f"{deployment}-"
    pages = sagemaker.get_paginator(kind.list).paginate(
        NameContains=prefix,
        SortBy="CreationTime",
        SortOrder="Ascending",
        PaginationConfig={"PageSize": PAGE},
        **filters,
    )
    # By name: what is created or ends while the pages are read can move a summary to two of them.
    found = {summary[kind.name_field]: summary for page in pages for summary in page[kind.summaries_field]}
    return [summary for name, summary in found.items() if name.startswith(prefix)]


def _job(sagemaker: Any, deployment: str, kind: JobKind, found: Mapping[str, Any]) -> Job | None:
    """A job from its summary or description; None when its tags say that it is not this deployment's."""
    name, arn = found[kind.name_field], found[kind.arn_field]
    tags, doubt = _tags(sagemaker, arn)
    if not doubt and tags.get(DEPLOYMENT_TAG) != deployment:
        return None
    task, generation = TaskIdentity.from_tags(tags), generation_from_tags(tags)
    if not doubt and (task is None or generation is None):
        doubt = "its tags do not say exactly whose it is"
    elif task is not None and generation is not None and task.job_name(generation, kind.name_limit) != name:
        # The name covers all that the tags say: tags that were copied, edited or written by others show here.
        task, doubt = None, "its tags are not those of a job of its name"
    return Job(
        kind=kind, name=name, arn=arn, since=found["CreationTime"], task=task, generation=generation, doubt=doubt
    )


def _endpoint(sagemaker: Any, deployment: str, found: Mapping[str, Any]) -> Endpoint | None:
    """An endpoint from its description or summary; None when its tags say that it is not this deployment's."""
    tags, doubt = _tags(sagemaker, found["EndpointArn"])
    if not doubt and tags.get(DEPLOYMENT_TAG) != deployment:
        return None
    task = TaskIdentity.from_tags(tags)
    if not doubt and task is None:
        doubt = "its tags do not say exactly whose it is"
    return Endpoint(
        name=found["EndpointName"],
        arn=found["EndpointArn"],
        since=found["LastModifiedTime"],
        status=found["EndpointStatus"],
        config=found.get("EndpointConfigName", ""),
        deployed=tags.get(DEPLOYED_TAG) or None,
        wanted=tags.get(WANTED_TAG) or None,
        task=task,
        doubt=doubt,
    )


def _tags(sagemaker: Any, arn: str) -> tuple[dict[str, str], str]:
    """A resource's tags, or why they cannot be read."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return observe.tags(sagemaker, arn), ""
    except (ClientError, BotoCoreError) as error:
        return {}, f"its tags cannot be read: {error}"
