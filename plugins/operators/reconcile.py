"""ReconcileOperator: what still runs in this deployment though no task waits for it, reported, and ended when told to.

The judgement is millrace.sagemaker.reconcile's; here Airflow is asked, through the running task's own line to the
execution API, which needs no credentials and no database. What it does not do: it never fails for what it finds.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import quote

from airflow.sdk import BaseOperator, RetryPolicy

from millrace.sagemaker.deployment import Deployment
from millrace.sagemaker.names import TaskIdentity
from millrace.sagemaker.preflight import PreflightError
from millrace.sagemaker.reconcile import MIN_AGE, Case, Job, Reconciler, Remedy, RunState, Standing, TaskSeen
from operators.clients import client
from operators.failures import RETRY_POLICY

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)
STOPS_VARIABLE = "MILLRACE_RECONCILER_STOPS"
BOOLEANS = {"true": True, "false": False}
MOST_ROWS = 100
REASON_CHARACTERS = 300
QUERY_CHARACTERS = 3000
"""Of run ids in one question: they travel in a URL, and proxies cut those at 8 KB."""
MOST_FAILURES = 3
"""In a row; each costs the half minute for which Airflow's client tries again."""


class Row(TypedDict):
    """One resource as the task hands it on. What is not known is None."""

    kind: str
    name: str
    reason: str
    dag: str | None
    run: str | None
    task: str | None
    map_index: int | None
    generation: int | None
    age_seconds: int
    stopped: bool


class Reconciliation(TypedDict):
    """What the task hands on: the counts are of everything, the rows of the first hundred."""

    jobs_looked_at: int
    endpoints_looked_at: int
    in_use: int
    orphan_count: int
    unknown_count: int
    stopped_count: int
    orphans: list[Row]
    unknown: list[Row]


class ReconcileOperator(BaseOperator):
    """Find running jobs and half-made endpoints of this deployment whose task is over, and end them when told to.

    It reports by default. With `stop` it stops such jobs, puts such endpoints back on the configuration that was last
    proven good, and deletes those that never served. What it is not sure of it reports as unknown and leaves alone.

    Args:
        stop: end the orphans; a boolean, or a template that becomes "true" or "false".
        min_age: how old a job must be, so that one that is being submitted is left alone.
        most_stops: how many to end in one run, the oldest first: a brake, should something be very wrong.

    Raises:
        ValueError: an argument cannot be right (when the DAG is parsed).

    Example::

        ReconcileOperator(task_id="reconcile", stop="{{ params.stop }}")
    """

    template_fields: Sequence[str] = ("stop", "aws_conn_id", "region_name")
    ui_color = "#f3eadf"

    def __init__(
        self,
        *,
        stop: Any = False,
        min_age: timedelta = MIN_AGE,
        most_stops: int = 50,
        aws_conn_id: str = "aws_default",
        region_name: str | None = None,
        retry_policy: RetryPolicy | None = RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        if min_age < timedelta(0):
            raise ValueError(f"min_age is {min_age}; it must not be negative")
        if most_stops < 1:
            raise ValueError(f"most_stops is {most_stops}; it must be at least 1. To end nothing, say stop=False")
        if isinstance(stop, (bool, str)) and "{{" not in str(stop):
            boolean(stop, "stop")
        self.stop = stop
        self.min_age = min_age
        self.most_stops = most_stops
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name

    def execute(self, context: Context) -> Reconciliation:
        stop = boolean(self.stop, "stop")
        reconciler = Reconciler(
            sagemaker=client("sagemaker", self.aws_conn_id, self.region_name),
            deployment=Deployment.from_environment().id,
            ask=AirflowTasks(context["ti"]),
            min_age=self.min_age,
        )
        cases = reconciler.look()
        if stop:
            cases = self._stop(reconciler, cases)
        result = _reconciliation(cases)
        for line in (_summary(result), *table(cases)):
            self.log.info("%s", line)
        left = [case for case in cases if case.judgement.remedy is not Remedy.NONE and not case.stopped]
        if left and not stop:
            self.log.warning("left running, and paid for: %d. Run this DAG with stop=true to end them", len(left))
        elif left:
            self.log.warning(
                "orphans left: %d. At most %d are ended in one run, and the lines above say what was refused",
                len(left), self.most_stops,
            )  # fmt: skip
        return result

    def _stop(self, reconciler: Reconciler, cases: list[Case]) -> list[Case]:
        """End the orphans that can be ended, the oldest first; the others stay as they were judged."""
        can_end = sorted(
            (case for case in cases if case.judgement.remedy is not Remedy.NONE), key=lambda case: case.resource.since
        )
        chosen = {id(case) for case in can_end[: self.most_stops]}
        ended = [reconciler.stop(case) if id(case) in chosen else case for case in cases]
        return [case for case in ended if case is not None]


@dataclass(frozen=True, slots=True)
class AirflowTasks:
    """Asks Airflow for the states of task instances, many at a time. `ti` is the running task instance."""

    ti: Any

    def __call__(self, tasks: Collection[TaskIdentity]) -> dict[TaskIdentity, TaskSeen]:
        """What Airflow says of each; an answer that does not come is one answer among others."""
        seen: dict[TaskIdentity, TaskSeen] = {}
        failures, last_error = 0, ""
        for asked in _questions(tasks):
            if failures < MOST_FAILURES:
                try:
                    seen |= self._ask(asked)
                    failures = 0
                    continue
                except Exception as error:
                    log.warning("Airflow did not say how %s does: %s", asked[0], error)
                    failures, last_error = failures + 1, str(error) or type(error).__name__
            seen |= dict.fromkeys(asked, TaskSeen(unanswered=last_error))
        return seen

    def _ask(self, tasks: Sequence[TaskIdentity]) -> dict[TaskIdentity, TaskSeen]:
        """The states of instances of one task; how their runs do is asked only where the state does not decide."""
        dag_id, task_id = tasks[0].dag_id, tasks[0].task_id
        runs = sorted({task.run_id for task in tasks})
        states = self.ti.get_task_states(dag_id=dag_id, task_ids=[task_id], run_ids=runs)
        found = {task: states.get(task.run_id, {}) for task in tasks}
        undecided = sorted({task.run_id for task in tasks if found[task].get(_state_key(task)) is None})
        # Not get_dagrun_state: it puts the run's id into a path, and a 404 for "a/b" would look like a run that is gone.
        there = _counted(lambda ids: self.ti.get_dr_count(dag_id=dag_id, run_ids=ids), undecided)
        active = _counted(
            lambda ids: self.ti.get_dr_count(dag_id=dag_id, run_ids=ids, states=["queued", "running"]), there
        )

        def run_state(run_id: str) -> RunState | None:
            if run_id not in undecided:
                return None
            if run_id not in there:
                return RunState.GONE
            return RunState.ACTIVE if run_id in active else RunState.FINISHED

        return {
            task: TaskSeen(
                exists=_state_key(task) in found[task],
                state=found[task].get(_state_key(task)),
                run=run_state(task.run_id),
            )
            for task in tasks
        }


def stops_by_default(environment: Mapping[str, str] | None = None) -> bool:
    """Whether runs of the reconciler end orphans unless told otherwise: MILLRACE_RECONCILER_STOPS, false when not set.

    Raises:
        ValueError: the variable is neither true nor false.
    """
    environment = os.environ if environment is None else environment
    return boolean(environment.get(STOPS_VARIABLE) or "false", STOPS_VARIABLE)


def boolean(value: Any, name: str) -> bool:
    """A boolean, also from the text that a template makes of one.

    Raises:
        PreflightError: it is neither.
    """
    found = BOOLEANS.get(str(value).strip().lower()) if isinstance(value, (bool, str)) else None
    if found is None:
        raise PreflightError(f"{name} is {value!r}; it must be true or false")
    return found


def table(cases: Sequence[Case]) -> list[str]:
    """What is not in use, one line each, orphans first."""
    shown = sorted(
        (case for case in cases if case.judgement.standing is not Standing.IN_USE),
        key=lambda case: (case.judgement.standing is Standing.UNKNOWN, case.resource.since),
    )
    cells = [
        (
            "ended" if case.stopped else case.judgement.standing.value,
            case.resource.kind.name,
            case.resource.name,
            str(timedelta(seconds=_age_seconds(case))),
            _task_text(case.resource.task),
            _reason(case),
        )
        for case in shown[: 2 * MOST_ROWS]
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells] + (
        [f"and {len(shown) - len(cells)} more"] if len(shown) > len(cells) else []
    )


def _reconciliation(cases: Sequence[Case]) -> Reconciliation:
    def of(standing: Standing) -> list[Case]:
        return [case for case in cases if case.judgement.standing is standing]

    orphans, unknown = of(Standing.ORPHAN), of(Standing.UNKNOWN)
    jobs = sum(isinstance(case.resource, Job) for case in cases)
    return {
        "jobs_looked_at": jobs,
        "endpoints_looked_at": len(cases) - jobs,
        "in_use": len(of(Standing.IN_USE)),
        "orphan_count": len(orphans),
        "unknown_count": len(unknown),
        "stopped_count": sum(case.stopped for case in cases),
        "orphans": [_row(case) for case in orphans[:MOST_ROWS]],
        "unknown": [_row(case) for case in unknown[:MOST_ROWS]],
    }


def _row(case: Case) -> Row:
    resource, task = case.resource, case.resource.task
    return {
        "kind": resource.kind.name,
        "name": resource.name,
        "reason": _reason(case)[:REASON_CHARACTERS],
        "dag": task.dag_id if task else None,
        "run": task.run_id if task else None,
        "task": task.task_id if task else None,
        "map_index": task.map_index if task else None,
        "generation": resource.generation,
        "age_seconds": _age_seconds(case),
        "stopped": case.stopped,
    }


def _summary(result: Reconciliation) -> str:
    return (
        f"looked at {result['jobs_looked_at']} running jobs and {result['endpoints_looked_at']} endpoints: "
        f"{result['in_use']} in use, {result['orphan_count']} orphaned of which {result['stopped_count']} ended, "
        f"{result['unknown_count']} unknown and left alone"
    )


def _reason(case: Case) -> str:
    return f"{case.judgement.reason}; ending it was refused: {case.refusal}" if case.refusal else case.judgement.reason


def _age_seconds(case: Case) -> int:
    return max(0, int((datetime.now(UTC) - case.resource.since).total_seconds()))


def _task_text(task: TaskIdentity | None) -> str:
    if task is None:
        return "-"
    return f"{task.dag_id}/{task.run_id}/{task.task_id}" + (f"[{task.map_index}]" if task.map_index >= 0 else "")


def _state_key(task: TaskIdentity) -> str:
    """How Airflow names a task instance among the states of one task."""
    return task.task_id if task.map_index < 0 else f"{task.task_id}_{task.map_index}"


def _questions(tasks: Collection[TaskIdentity]) -> Iterator[list[TaskIdentity]]:
    """The instances in groups that one question can name: of one task (another's `a_1` would read like `a` mapped), and
    with no more run ids than a URL holds."""

    def of(task: TaskIdentity) -> tuple[str, str]:
        return task.dag_id, task.task_id

    for _, group in itertools.groupby(sorted(tasks, key=lambda task: (*of(task), task.run_id)), key=of):
        question: list[TaskIdentity] = []
        characters = 0
        for run_id, instances in itertools.groupby(group, key=lambda task: task.run_id):
            room = len(f"&run_ids={quote(run_id, safe='')}")
            if question and characters + room > QUERY_CHARACTERS:
                yield question
                question, characters = [], 0
            question.extend(instances)
            characters += room
        yield question


def _counted(count: Callable[[list[str]], int], run_ids: Collection[str]) -> set[str]:
    """The runs that a count includes: none and all take one question, a mixture some more, by halves."""
    ids = sorted(run_ids)
    if not ids:  # Airflow takes no ids for every id
        return set()
    found = count(ids)
    if found == 0 or found >= len(ids):
        return set(ids) if found else set()
    middle = len(ids) // 2
    return _counted(count, ids[:middle]) | _counted(count, ids[middle:])
