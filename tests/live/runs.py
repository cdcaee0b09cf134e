"""One task of one DAG run, as a user and a bill see it: its states and attempts in Airflow, its jobs in the runtime.

Both are asked over their own public interfaces: Airflow's REST API, and SageMaker's through boto3. Whose job a job is,
its tags say.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import psutil

from millrace.cli.airflow_api import ApiError
from millrace.cli.environment import DEPLOYMENT
from tests.live.gates import JOB_WAITS
from tests.live.stack import LiveAirflow, wait_gone

T = TypeVar("T")
PAUSE_SECONDS = 0.4
"""Between two looks: eight cases look at once, and Airflow's API is to have time for its workers."""
SECONDS = 150
"""How long any single thing may take: two cores run everything."""
SCHEDULER_HEARD = "Received executor event with state success"
TRIGGER_RUNS = ") starting"
"""The end of what Airflow writes into a task's log when its trigger starts to run."""


@dataclass(frozen=True, slots=True, order=True)
class Job:
    """A job that was paid for."""

    map_index: int
    generation: int
    status: str
    name: str


@dataclass(frozen=True, slots=True)
class Attempt:
    number: int
    state: str


@dataclass(frozen=True, slots=True)
class Worker:
    """The two processes of a running task: Airflow's supervisor, and the task's own below it."""

    supervisor: psutil.Process
    task: psutil.Process

    def kill(self, *which: psutil.Process) -> None:
        """kill -9 of both, the supervisor first, or of those named; waits until they are gone."""
        doomed = list(which or (self.supervisor, self.task))
        for process in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        wait_gone(doomed)


class TaskRun:
    """The task of a run, or one of its mapped instances. Its id is the DAG's, so that job names tell the DAGs apart."""

    def __init__(self, live: LiveAirflow, dag_id: str, run_id: str, map_index: int = -1, gate: str = "") -> None:
        self.live = live
        self.dag_id = dag_id
        self.run_id = run_id
        self.task_id = dag_id
        self.map_index = map_index
        self.started = time.monotonic()
        self._gate = gate
        self._tags: dict[str, dict[str, str]] = {}
        self._sagemaker = live.client("sagemaker")

    @property
    def state(self) -> str | None:
        found = self._task()
        return None if found is None or found["state"] is None else str(found["state"])

    @property
    def run_state(self) -> str:
        return str(self.live.api.run(self.dag_id, self.run_id)["state"])

    def let_finish(self) -> None:
        """Its jobs wait no longer, neither the one that runs nor a later one.

        Where attempts are counted, wait until a deferred task is watched before anything ends its job: a trigger that
        fires while a slow scheduler has not yet heard of the deferral costs an attempt (docs/decisions/0016).
        """
        self.live.gates.open(self._gate)

    def until(self, *states: str, seconds: float = SECONDS) -> str:
        """Wait for the task to be in one of these states, and return which."""
        return seen(
            lambda: found if (found := self.state) in states else None, seconds, f"{self} is {' or '.join(states)}"
        )

    def end(self, seconds: float = SECONDS) -> str:
        """Wait for the run to end, and return the task's state then."""
        seen(lambda: self.run_state in ("success", "failed"), seconds, f"the end of {self}")
        return str(self.state)

    def until_attempt(self, number: int) -> None:
        seen(lambda: (self._task() or {}).get("try_number") == number, SECONDS, f"attempt {number} of {self}")

    def until_log(self, text: str, attempt: int = 1) -> None:
        """Wait for a line of the task's log."""
        seen(lambda: any(text in line for line in self.log(attempt)), SECONDS, f"{text!r} in the log of {self}")

    def until_watched(self) -> None:
        """Wait until the task is deferred, the scheduler knows, its trigger runs, and so does its job's own code."""
        self.until("deferred")
        seen(self._is_heard_of, SECONDS, f"the scheduler has heard that {self} defers")
        self.until_log(TRIGGER_RUNS)
        self.until_job_waits()

    def watches(self) -> int:
        """How often a triggerer has begun to watch its first attempt."""
        return sum(line.endswith(TRIGGER_RUNS) for line in self.log(1))

    def until_job(self, status: str = "InProgress", generation: int = 0) -> Job:
        """Wait for the job of a generation to have a status."""

        def found() -> Job | None:
            jobs = [job for job in self.jobs() if (job.generation, job.status) == (generation, status)]
            return jobs[0] if jobs else None

        return seen(found, SECONDS, f"a job of {self} is {status} in generation {generation}")

    def until_job_waits(self, generation: int = 0) -> Job:
        """Wait until the job's own code runs, which the runtime's logs show."""
        job = self.until_job(generation=generation)
        logs = self.live.client("logs")
        group = "/aws/sagemaker/ProcessingJobs"

        def lines() -> list[str]:
            streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job.name}/")["logStreams"]
            return [
                event["message"]
                for stream in streams
                for event in logs.get_log_events(
                    logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
                )["events"]
            ]

        seen(lambda: JOB_WAITS in lines(), SECONDS, f"{job.name} waits at its gate")
        return job

    def jobs(self) -> list[Job]:
        """All jobs, of any status, whose tags name this task; of a mapped task, of every map index unless one is meant."""
        found = []
        pages = self._sagemaker.get_paginator("list_processing_jobs").paginate(NameContains=self.job_names)
        for job in (job for page in pages for job in page["ProcessingJobSummaries"]):
            tags = self._tags_of(job["ProcessingJobArn"])
            theirs = (tags.get("airflow:dag"), tags.get("airflow:run"), tags.get("airflow:task"))
            # A tag cannot hold every character of a run id: millrace.sagemaker.names.tag_value.
            if theirs != (self.dag_id, self.run_id, self.task_id):
                continue
            index = int(tags["airflow:map_index"])
            if self.map_index in (-1, index):
                name, status = job["ProcessingJobName"], job["ProcessingJobStatus"]
                found.append(Job(index, int(tags["airflow:generation"]), status, name))
        return sorted(found)

    def generations(self) -> list[tuple[int, str]]:
        """Each job's generation and status."""
        return [(job.generation, job.status) for job in self.jobs()]

    def attempts(self) -> list[Attempt]:
        """Every attempt and how it ended."""
        tries = self.live.api.call("GET", f"{self._path}/tries")["task_instances"]
        return sorted((Attempt(t["try_number"], str(t["state"])) for t in tries), key=lambda a: a.number)

    def log(self, attempt: int) -> list[str]:
        """The lines of an attempt; none when there was no such attempt yet."""
        try:
            return self.live.api.log(self.dag_id, self.run_id, self.task_id, attempt, self.map_index)
        except ApiError as error:
            if error.status != 404:
                raise
            return []

    def whole_log(self) -> str:
        return "\n".join(line for attempt in self.attempts() for line in self.log(attempt.number))

    def result(self) -> Any:
        return self.live.api.xcom(self.dag_id, self.run_id, self.task_id)

    def worker(self, attempt: int = 1) -> Worker:
        """The processes of a running attempt."""

        def pid() -> int | None:
            task = self._task() or {}
            return task["pid"] if task.get("state") == "running" and task["try_number"] == attempt else None

        process = psutil.Process(seen(pid, SECONDS, f"{self} runs in a worker"))
        supervisor = process.parent()
        assert supervisor is not None
        assert "LocalExecutor" in " ".join(supervisor.cmdline()), supervisor.cmdline()
        return Worker(supervisor, process)

    def clear(self) -> None:
        """As a user does in the web UI."""
        only = self.task_id if self.map_index == -1 else [self.task_id, self.map_index]
        body = {"dry_run": False, "dag_run_id": self.run_id, "task_ids": [only], "only_failed": False}
        cleared = self.live.api.call("POST", f"/dags/{self.dag_id}/clearTaskInstances", body)
        assert cleared["total_entries"] == 1, cleared

    def mark(self, state: str) -> None:
        """Mark it `success` or `failed`, as a user does in the web UI."""
        self.live.api.call("PATCH", self._path, {"new_state": state})

    def __str__(self) -> str:
        return self.task_id + (f"[{self.map_index}]" if self.map_index >= 0 else "")

    @property
    def job_names(self) -> str:
        """What the names of its DAG's jobs, and of no other's, begin with."""
        return f"{DEPLOYMENT}-{self.task_id.replace('_', '-')}-"

    @property
    def _path(self) -> str:
        path = f"/dags/{self.dag_id}/dagRuns/{quote(self.run_id, safe='')}/taskInstances/{self.task_id}"
        return path if self.map_index == -1 else f"{path}/{self.map_index}"

    def _task(self) -> dict[str, Any] | None:
        tasks = self.live.api.tasks(self.dag_id, self.run_id)
        found = [t for t in tasks if (t["task_id"], t["map_index"]) == (self.task_id, self.map_index)]
        return found[0] if found else None

    def _is_heard_of(self) -> bool:
        """Whether a scheduler has taken note of the end of the process that deferred the task."""
        of_this = f"dag_id='{self.dag_id}', task_id='{self.task_id}', run_id='{self.run_id}'"
        return any(SCHEDULER_HEARD in line and of_this in line for line in self.live.lines_of("scheduler"))

    def _tags_of(self, arn: str) -> dict[str, str]:
        if arn not in self._tags:
            found = self._sagemaker.list_tags(ResourceArn=arn)["Tags"]
            self._tags[arn] = {tag["Key"]: tag["Value"] for tag in found}
        return self._tags[arn]


def seen(look: Callable[[], T | None], seconds: float, what: str) -> T:
    """The first truthy answer of `look`."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what} was not seen within {seconds} s"
        time.sleep(PAUSE_SECONDS)
    return found


def start(live: LiveAirflow, dag_id: str) -> TaskRun:
    """Trigger a run whose jobs wait until the test lets them finish."""
    gate = uuid4().hex
    body = {"logical_date": None, "conf": {"code": live.gates.job_code(gate)}}
    made = live.api.call("POST", f"/dags/{dag_id}/dagRuns", body)
    return TaskRun(live, dag_id, str(made["dag_run_id"]), gate=gate)
