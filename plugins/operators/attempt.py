"""One attempt of a job operator's task: name, look, decide, submit or adopt, wait, harvest.

Everything that could pay twice or orphan a job is here, once. A retry adopts the job that an earlier attempt left running;
a user's mark or clear stops it; a worker's death does not. Imported when a task runs: parsing a DAG needs none of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowTaskTimeout

from millrace.sagemaker import artifacts, failures, observe, preflight
from millrace.sagemaker.decision import Action, Attempt, Observed, attempt_of, decide
from millrace.sagemaker.deployment import Deployment
from millrace.sagemaker.kinds import ALREADY_EXISTS_CODES, Outcome
from millrace.sagemaker.ledger import EntryKey
from millrace.sagemaker.log_tail import LogTail
from millrace.sagemaker.step_cache import Entry
from operators import reuse, spending, termination, waiting
from operators.clients import client
from operators.failures import EXCEPTIONS, JobStopped, Refused, StepFailed, StepTimeout, typed_failures
from operators.lineage import lineage
from operators.links import JobLink
from operators.outliving import outlive
from operators.task_state import identity_of, max_tries, recall, remember, run_started
from operators.triggers import JobTrigger, earliest_return

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from operators.job import JobOperator

STATE_KEY = "millrace_job"
MAX_GENERATIONS = 1000
LAST_LINES = 20
LISTEN_SECONDS = 0.2
BRIEFLY = timedelta(seconds=2)
"""How long the worker itself watches a job before it defers."""


@dataclass(frozen=True, slots=True)
class Reached:
    """The job that an attempt stands for: running, ended, or another task's, remembered in the step cache."""

    job_name: str
    ended: bool
    entry: Entry | None = None


class JobAttempt:
    """An operator with its rendered fields, and the task instance it runs for."""

    def __init__(self, operator: JobOperator, context: Context) -> None:
        self.operator = operator
        self.context = context
        self.kind = operator.kind
        self.log = operator.log
        self.deployment = Deployment.from_environment()
        self.identity = identity_of(context, self.deployment)
        self._connection = (operator.aws_conn_id, operator.region_name)
        self._description: dict[str, Any] = {}
        self._result: dict[str, Any] = {}

    def execute(self) -> dict[str, Any]:
        """From the beginning: to the result, or to the deferral."""
        termination.listen()
        with typed_failures(f"asking for a {self.kind.name} job"):
            self.operator.prepare(self.deployment)
            reached = self._reach_job()
        link = JobLink.url(self._sagemaker, self.kind, reached.job_name)
        self.context["ti"].xcom_push(key=JobLink.xcom_key_name, value=link)
        if reached.entry is not None:
            return self._reuse(reached.entry)
        if reached.ended:
            return self.complete(reached.job_name, {})
        if self._deadline() <= datetime.now(UTC):
            self.stop_for_timeout()
        # A job that ends at once is not worth a deferral: coming back would take longer than the job.
        ended, tokens = self._wait(reached.job_name, BRIEFLY if self.operator.deferrable else None)
        if termination.requested.is_set():
            self._leave(reached.job_name)
        if not ended:
            trigger = JobTrigger(
                self.kind.name, reached.job_name, *self._connection, self.operator.poll_seconds, tokens,
                earliest_return(),
            )  # fmt: skip
            self.operator.defer(
                trigger=trigger, method_name="execute_complete", timeout=self._deadline() - datetime.now(UTC)
            )
        return self.complete(reached.job_name, tokens)

    def complete(self, job_name: str, log_tokens: dict[str, str]) -> dict[str, Any]:
        """Read the rest of the log, judge the job by the table of states, and hand on what it left."""
        self._show(LogTail(self.kind, job_name, log_tokens))
        with typed_failures(f"reading the result of {job_name}"):
            description = observe.describe(self._sagemaker, self.kind, job_name)
            if description is None:
                raise StepFailed(f"the {self.kind.name} job {job_name} is gone: it was deleted while the task waited")
            whose = self._entry_key(self._state["generation"])
            spent = spending.settle(self._s3, self.deployment.bucket, whose, description)
            self._description = description
            outcome = self.kind.outcome(description)
            if outcome is not Outcome.SUCCEEDED:
                self._fail(job_name, outcome, description)
            self._hand_on(description, spent)
            self._remember_result(description)
        return self._result

    def overdue(self) -> dict[str, Any]:
        """Nobody woke the task before its deadline. The job may have ended in time all the same."""
        job_name = self._state["job_name"]
        found = observe.describe(self._sagemaker, self.kind, job_name)
        if found is not None and self.kind.outcome(found) is not Outcome.ACTIVE:
            return self.complete(job_name, {})
        return self.stop_for_timeout()

    def stop_for_timeout(self) -> NoReturn:
        """The deadline has passed."""
        job_name = self._state["job_name"]
        observe.stop(self._sagemaker, self.kind, job_name)
        raise StepTimeout(
            f"the {self.kind.name} job {job_name} took longer than {self.operator.timeout} and was stopped"
        )

    def lineage(self) -> OperatorLineage:
        """What is known by now."""
        if not self._description:
            return lineage({}, {}, {})
        made = artifacts.outputs(self.kind, self._description) if self._result else {}
        return lineage(artifacts.inputs(self.kind, self._description), made, self._result)

    def _hand_on(self, description: dict[str, Any], facts: dict[str, Any]) -> None:
        self._description = description
        result = {"job_name": description[self.kind.name_field], "arn": description[self.kind.arn_field], **facts}
        self._result = {**result, **self.operator.harvest(description, self.context)}
        # The events of the task's asset outlets carry what was made, so that whoever they start need not search.
        for outlet in self.operator.outlets:
            if isinstance(outlet, Asset):
                self.context["outlet_events"][outlet].extra |= self._result

    def _reuse(self, entry: Entry) -> dict[str, Any]:
        """Hand on what an earlier job of equal content left; nothing is run."""
        by = entry.written_by
        facts = {"billable_seconds": 0, "estimated_usd": 0.0, "cached_from": f"{by.dag_id}.{by.task_id} of {by.run_id}"}
        with typed_failures(f"reading the result of {entry.job_name}"):
            self._hand_on(dict(entry.description), facts)
        return self._result

    def _remember_result(self, description: dict[str, Any]) -> None:
        """Let this result serve other runs, if what it was made from is still what it was."""
        state = self._state
        if not self.operator.cache or not state.get("cache_key"):
            return
        self.operator.prepare(self.deployment)
        request = self.operator.build(self.deployment, state["job_name"], self._prefix(state["generation"]))
        reuse.remember(
            self._s3, self._sagemaker, self.deployment.bucket, self.kind, request, state["cache_key"], description,
            self.identity, replace=state["forced"],
        )  # fmt: skip

    def _reach_job(self) -> Reached:
        """Adopt, submit, take as done, or take from the cache."""
        state, on_clear = self._state, self.operator.on_clear
        generation = int(state.get("generation", 0))
        attempt = attempt_of(state, max_tries(self.context), run_started(self.context))
        # A user's clear goes past the cache until a job of its own has succeeded, through every retry.
        cleared = attempt is Attempt.CLEARED or (attempt is Attempt.RETRY and bool(state.get("forced")))
        forced = cleared and on_clear == "rerun"
        for _ in range(MAX_GENERATIONS):
            whose = self._entry_key(generation)
            job_name, prefix = whose.job_name, self._prefix(generation)
            request = self.operator.build(self.deployment, job_name, prefix)
            preflight.check(self.kind.operation, request)
            request_hash = _hash(request, job_name, prefix)
            if state.get("job_name") == job_name and self._deadline() <= datetime.now(UTC):
                self._see_ended(job_name)  # its time had run out: the next generation gets a time of its own
            observed = self._observe(job_name, request_hash)
            decision = decide(observed, attempt, on_clear)
            self.log.info("%s %s: %s", decision.action.value, job_name, decision.reason)
            if decision.action is Action.REFUSE:
                raise Refused(
                    f"a {self.kind.name} job named {job_name} exists and is not this task's; give this deployment an id "
                    "of its own (MILLRACE_DEPLOYMENT)"
                )
            if decision.action is Action.SUBMIT:
                return self._begin(whose, request, request_hash, forced)
            if decision.action is not Action.RESUBMIT:
                self._remember(generation, job_name)
                return Reached(job_name, ended=decision.action is Action.DONE)
            ended = self._see_ended(job_name)
            if ended is not None:
                spending.settle(self._s3, self.deployment.bucket, whose, ended)
            generation += 1
            attempt = Attempt.FIRST if attempt is Attempt.FIRST else Attempt.RETRY
        raise StepFailed(f"{MAX_GENERATIONS} generations of this task's job exist; something clears it in a loop")

    def _begin(self, whose: EntryKey, request: dict[str, Any], request_hash: str, forced: bool) -> Reached:
        """Take an equal result from the cache, or write down the intent and ask for the job."""
        bucket, key = self.deployment.bucket, ""
        if self.operator.cache:
            key, entry = reuse.look(self._s3, self._sagemaker, bucket, self.kind, request, self.identity)
            if entry is not None and not forced:
                self._remember(whose.generation, whose.job_name)
                return Reached(entry.job_name, ended=True, entry=entry)
        spending.reserve(self._s3, bucket, whose, request, self.operator.max_cost, self.operator.timeout)
        # The intent is written before the job exists: an attempt that dies in between leaves a name to look for.
        self._remember(whose.generation, whose.job_name, cache_key=key, forced=forced)
        if termination.requested.is_set():
            spending.withdraw(self._s3, bucket, whose)
            raise StepFailed("this worker was told to end before the job was asked for")
        tags = self.identity.tags(whose.generation, request_hash, version("millrace"))
        self._submit({**request, "Tags": tags}, whose)
        return Reached(whose.job_name, ended=False)

    def _observe(self, job_name: str, request_hash: str = "") -> Observed | None:
        description = observe.describe(self._sagemaker, self.kind, job_name)
        if description is None:
            return None
        tags = observe.tags(self._sagemaker, description[self.kind.arn_field])
        started = run_started(self.context)
        return Observed(
            outcome=self.kind.outcome(description),
            owned=self.identity.owns(tags),
            same_request=tags.get("millrace:request") == request_hash,
            stopping=description[self.kind.status_field] == self.kind.stopping,
            predates_run=bool(started) and description["CreationTime"] < datetime.fromisoformat(started),
        )

    def _submit(self, request: dict[str, Any], whose: EntryKey) -> None:
        from botocore.exceptions import ClientError

        try:
            getattr(self._sagemaker, self.kind.create)(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ALREADY_EXISTS_CODES:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                    spending.withdraw(self._s3, self.deployment.bucket, whose)
                raise
            # The answer of an earlier try of this very call may have been lost: then the job is there, and ours.
            observed = self._observe(whose.job_name)
            if observed is None or not observed.owned:
                raise
            self.log.info("adopt %s: it exists, and its tags are ours", whose.job_name)

    def _see_ended(self, job_name: str) -> dict[str, Any] | None:
        """Before the next generation, the last one is stopped and seen terminal; returns how it ended."""
        if observe.stop(self._sagemaker, self.kind, job_name):
            self.log.info("stopping %s before the next generation", job_name)
        poller = waiting.poller(self.kind, job_name, *self._connection)
        watch = poller.watch(job_name, most_seconds=self.operator.poll_seconds, trouble=self.log.warning)
        try:
            while not watch.ended.done():
                if termination.requested.wait(LISTEN_SECONDS):
                    raise StepFailed(f"this worker was told to end while {job_name} was being stopped")
            return watch.ended.result()
        finally:
            poller.forget(watch)

    def _wait(self, job_name: str, patience: timedelta | None) -> tuple[bool, dict[str, str]]:
        """Wait in the worker, with the triggers' poller and log follower; whether the job has ended, and how far its
        log was shown. The deadline stops the job."""
        lines: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
        poller = waiting.poller(self.kind, job_name, *self._connection)
        follower = waiting.log_follower(*self._connection)
        following = follower.follow(LogTail(self.kind, job_name), lines.put)
        watch = poller.watch(job_name, most_seconds=self.operator.poll_seconds, trouble=lambda text: lines.put([text]))
        deadline, begun = self._deadline(), datetime.now(UTC)
        try:
            while not watch.ended.done() and (patience is None or datetime.now(UTC) < begun + patience):
                if termination.requested.is_set():
                    break
                if datetime.now(UTC) > deadline:
                    self.stop_for_timeout()
                with contextlib.suppress(queue.Empty):
                    self._say(lines.get(timeout=LISTEN_SECONDS))
        except AirflowTaskTimeout:
            observe.stop(self._sagemaker, self.kind, job_name)
            raise
        finally:
            poller.forget(watch)
            # Told to end, there are five seconds left to stop the job in.
            tokens = follower.leave(following, 0 if termination.requested.is_set() else LISTEN_SECONDS)
        while not lines.empty():
            self._say(lines.get())
        return watch.ended.done(), tokens

    def _leave(self, job_name: str) -> NoReturn:
        """The worker was told to end: by a user, who wants the job stopped, or by a deploy, whose retry adopts it."""
        state = termination.own_state(self.context)
        if state in termination.GOES_ON:
            raise StepFailed(f"this worker was told to end; the job {job_name} runs on, and the next attempt adopts it")
        stop = partial(observe.stop, self._sagemaker, self.kind, job_name)
        # After a clear the next attempt comes at once, and must not have a job that it adopts stopped under its hands; after
        # a mark nobody comes.
        stopped = stop() if state == termination.CLEARED else outlive(stop)
        raise JobStopped(
            f"a user has ended the task (it is {state}): "
            + (f"stopping {job_name}" if stopped else f"{job_name} has ended")
        )

    def _say(self, lines: list[str]) -> None:
        for line in lines:
            self.log.info(line)

    def _show(self, tail: LogTail) -> None:
        """The final read: what the log has gained since the last look."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._say(tail.read(self._logs, to_the_end=True))
        except (ClientError, BotoCoreError) as error:
            self.log.warning("the job's log cannot be read: %s", error)  # its result still counts

    def _fail(self, job_name: str, outcome: Outcome, description: dict[str, Any]) -> NoReturn:
        """Raise what the job's end calls for, with the reason and the last lines of its log."""
        from botocore.exceptions import BotoCoreError, ClientError

        reason = str(description.get("FailureReason") or description.get("ExitMessage") or "no reason was given")
        try:
            lines = LogTail(self.kind, job_name).last(self._logs, LAST_LINES)
        except (ClientError, BotoCoreError):
            lines = []
        shown = "\n".join(["", "The end of its log:", *lines] if lines else [])
        raise EXCEPTIONS[failures.of_job(outcome, reason)](
            f"the {self.kind.name} job {job_name} has {outcome.value}: {reason}{shown}"
        )

    def _remember(self, generation: int, job_name: str, **more: Any) -> None:
        """Write down what this attempt stands for; what an earlier one of the same job has noted stays."""
        known = self._state
        kept = known if known.get("job_name") == job_name else {"started": datetime.now(UTC).isoformat()}
        remember(self.context, STATE_KEY, {**kept, "generation": generation, "job_name": job_name, **more})

    @property
    def _state(self) -> dict[str, Any]:
        return recall(self.context, STATE_KEY)

    def _deadline(self) -> datetime:
        """Absolute, from the job's first submission: a resumed or retried task does not start it anew."""
        return datetime.fromisoformat(self._state["started"]) + self.operator.timeout

    def _entry_key(self, generation: int) -> EntryKey:
        return EntryKey(identity=self.identity, generation=generation, kind=self.kind)

    def _prefix(self, generation: int) -> str:
        """The S3 URI that the job of a generation may write under."""
        return f"s3://{self.deployment.bucket}/{self.identity.prefix(generation)}"

    @property
    def _sagemaker(self) -> Any:
        return client("sagemaker", *self._connection)

    @property
    def _s3(self) -> Any:
        return client("s3", *self._connection)

    @property
    def _logs(self) -> Any:
        return client("logs", *self._connection)


def _hash(request: dict[str, Any], job_name: str, prefix: str) -> str:
    """What was asked for, without what only the generation changes."""
    text = json.dumps(request, sort_keys=True).replace(job_name, "").replace(prefix, "")
    return hashlib.sha256(text.encode()).hexdigest()[:16]
