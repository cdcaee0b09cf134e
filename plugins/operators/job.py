"""The base of all job operators: name, adopt or submit, publish, defer, harvest.

A subclass says what it asks for (`build`) and what it hands on (`harvest`); everything that could pay twice or orphan a
job is here, once. A retry adopts the job that an earlier attempt left running; a user's mark or clear stops it while the
task is deferred (the default); a worker's death does not.

What it does not do: it reads no data, and it knows neither AWS nor the local runtime, only a connection.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferralTimeout

from millrace.sagemaker import observe, preflight
from millrace.sagemaker.decision import Action, Observed, OnClear, decide
from millrace.sagemaker.deployment import Deployment
from millrace.sagemaker.kinds import ALREADY_EXISTS_CODES, JobKind, Outcome
from millrace.sagemaker.log_tail import LogTail
from millrace.sagemaker.names import TaskIdentity
from operators.clients import client
from operators.links import JobLink
from operators.triggers import FIRST_SECONDS, GROWTH, JobTrigger, earliest_return

if TYPE_CHECKING:
    from airflow.sdk import Context

STATE_KEY = "millrace_job"
MAX_GENERATIONS = 1000
LAST_LINES = 20
PARSING = "{{ known when the task runs }}"


class JobOperator(BaseOperator):
    """Runs one SageMaker job and waits for it.

    Args:
        timeout: how long the job may take from its submission, deferred or not; then it is stopped and the task fails.
        on_clear: what clearing the task does with a job that has ended: `rerun` it, or `adopt` its result.
        deferrable: wait in the triggerer (the default) or in the worker.
        poll_seconds: the longest pause between two looks; the first are under a second.
        aws_conn_id: the Airflow connection that says where AWS is, and as whom.

    Raises:
        PreflightError: a literal argument is one that SageMaker would refuse (when the DAG is parsed).
    """

    kind: ClassVar[JobKind]
    template_fields: Sequence[str] = ("aws_conn_id", "region_name")
    operator_extra_links = (JobLink(),)
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        timeout: timedelta = timedelta(hours=24),
        on_clear: OnClear = "rerun",
        deferrable: bool = True,
        poll_seconds: float = 15,
        aws_conn_id: str = "aws_default",
        region_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if poll_seconds <= 0:
            raise ValueError(f"poll_seconds is {poll_seconds}; it must be more than 0")
        if on_clear not in ("rerun", "adopt"):
            raise ValueError(f"on_clear is {on_clear!r}; it must be 'rerun' or 'adopt'")
        self.timeout = timeout
        self.on_clear: OnClear = on_clear
        self.deferrable = deferrable
        self.poll_seconds = poll_seconds
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name

    @abstractmethod
    def build(self, deployment: Deployment, job_name: str, prefix: str) -> dict[str, Any]:
        """The Create request, without tags, from the rendered fields. `prefix` is the S3 URI this job may write under."""

    @abstractmethod
    def harvest(self, description: dict[str, Any], context: Context) -> dict[str, Any]:
        """What the finished job hands on, beside its name and ARN; pushes `.output[...]` artifacts with `publish`."""

    def prepare(self, deployment: Deployment) -> None:
        """What must be there before the request is built, such as the source archive."""

    def check_literals(self, request: dict[str, Any]) -> None:
        """Hold what is known when the DAG is parsed against SageMaker's constraints."""
        preflight.check(self.kind.operation, request)

    def execute(self, context: Context) -> dict[str, Any]:
        deployment = Deployment.from_environment()
        self.prepare(deployment)
        job_name, ended = self._reach_job(deployment, context)
        context["ti"].xcom_push(key=JobLink.xcom_key_name, value=JobLink.url(self._sagemaker, self.kind, job_name))
        if ended:
            return self.execute_complete(context, {"job_name": job_name, "log_tokens": {}})
        remaining = self._deadline(context) - datetime.now(UTC)
        if remaining <= timedelta(0):
            self._stop_for_timeout(job_name)
        if self.deferrable:
            trigger = JobTrigger(
                self.kind.name, job_name, self.aws_conn_id, self.region_name, self.poll_seconds, {}, earliest_return()
            )
            self.defer(trigger=trigger, method_name="execute_complete", timeout=remaining)
        return self.execute_complete(context, self._wait(job_name, remaining))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Read the rest of the log, judge the job by the table of states, and hand on what it left."""
        job_name = event["job_name"]
        lines = self._final_lines(job_name, event["log_tokens"])
        description = observe.describe(self._sagemaker, self.kind, job_name)
        if description is None:
            raise AirflowException(f"the {self.kind.name} job {job_name} is gone: it was deleted while the task waited")
        outcome = self.kind.outcome(description)
        if outcome is not Outcome.SUCCEEDED:
            reason = description.get("FailureReason") or description.get("ExitMessage") or "no reason was given"
            shown = "\n".join(lines[-LAST_LINES:])
            # The job's own fault, or somebody's stop, would only be paid for again; the platform's fault may pass.
            for_good = outcome is Outcome.STOPPED or str(reason).startswith(("AlgorithmError", "ClientError"))
            raise (AirflowFailException if for_good else AirflowException)(
                f"the {self.kind.name} job {job_name} has {outcome.value}: {reason}"
                + (f"\nThe end of its log:\n{shown}" if shown else "")
            )
        result = {"job_name": job_name, "arn": description[self.kind.arn_field]}
        return {**result, **self.harvest(description, context)}

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Airflow's way back from the trigger. A passed deadline skips the trigger's on_kill, so the job is stopped here."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            self._stop_for_timeout(self._state(context)["job_name"])

    def publish(self, context: Context, **artifacts: str) -> None:
        """Make artifacts' URIs available as `.output[name]`."""
        for name, uri in artifacts.items():
            context["ti"].xcom_push(key=name, value=uri)

    @property
    def _sagemaker(self) -> Any:
        return client("sagemaker", self.aws_conn_id, self.region_name)

    @property
    def _s3(self) -> Any:
        return client("s3", self.aws_conn_id, self.region_name)

    def _reach_job(self, deployment: Deployment, context: Context) -> tuple[str, bool]:
        """Adopt, submit or take as done; returns the job's name and whether it has ended."""
        identity = identity_of(context, deployment)
        state = self._state(context)
        generation = int(state.get("generation", 0))
        first_try = _first_try(context, self.retries)
        cleared = state.get("first_try") not in (None, first_try)
        for _ in range(MAX_GENERATIONS):
            job_name = identity.job_name(generation, self.kind.name_limit)
            request = self.build(deployment, job_name, f"s3://{deployment.bucket}/{identity.prefix(generation)}")
            preflight.check(self.kind.operation, request)
            request_hash = _hash(request, job_name, identity.prefix(generation))
            if state.get("job_name") == job_name and self._deadline(context) <= datetime.now(UTC):
                self._see_ended(job_name)  # its time had run out: the next generation gets a time of its own
            observed = self._observe(identity, job_name, request_hash)
            decision = decide(observed, cleared=cleared, on_clear=self.on_clear)
            self.log.info("%s %s: %s", decision.action.value, job_name, decision.reason)
            if decision.action is Action.REFUSE:
                raise AirflowException(
                    f"a {self.kind.name} job named {job_name} exists and is not this task's; give this deployment an id "
                    "of its own (MILLRACE_DEPLOYMENT)"
                )
            if decision.action is Action.RESUBMIT:
                self._see_ended(job_name)
                generation, cleared = generation + 1, False
                continue
            # The intent is written before the job exists: an attempt that dies in between leaves a name to look for.
            self._remember(context, state, generation, first_try, job_name)
            if decision.action is Action.SUBMIT:
                tags = identity.tags(generation, request_hash, version("millrace"))
                self._submit({**request, "Tags": tags}, identity, job_name)
            return job_name, decision.action is Action.DONE
        raise AirflowException(f"{MAX_GENERATIONS} generations of this task's job exist; something clears it in a loop")

    def _observe(self, identity: TaskIdentity, job_name: str, request_hash: str) -> Observed | None:
        description = observe.describe(self._sagemaker, self.kind, job_name)
        if description is None:
            return None
        tags = observe.tags(self._sagemaker, description[self.kind.arn_field])
        return Observed(
            outcome=self.kind.outcome(description),
            owned=identity.owns(tags),
            same_request=tags.get("millrace:request") == request_hash,
        )

    def _submit(self, request: dict[str, Any], identity: TaskIdentity, job_name: str) -> None:
        from botocore.exceptions import ClientError

        try:
            getattr(self._sagemaker, self.kind.create)(**request)
        except ClientError as error:
            # The answer of an earlier try of this very call may have been lost: then the job is there, and ours.
            if error.response["Error"]["Code"] not in ALREADY_EXISTS_CODES:
                raise
            observed = self._observe(identity, job_name, "")
            if observed is None or not observed.owned:
                raise
            self.log.info("adopt %s: it exists, and its tags are ours", job_name)

    def _see_ended(self, job_name: str) -> None:
        """Before the next generation, the last one is stopped and seen terminal."""
        import time

        if observe.stop(self._sagemaker, self.kind, job_name):
            self.log.info("stopping %s before the next generation", job_name)
        pause = FIRST_SECONDS
        while (found := observe.describe(self._sagemaker, self.kind, job_name)) is not None:
            if self.kind.outcome(found) is not Outcome.ACTIVE:
                return
            time.sleep(pause)
            pause = min(pause * GROWTH, self.poll_seconds)

    def _wait(self, job_name: str, remaining: timedelta) -> dict[str, Any]:
        """The waiting of a task that does not defer: the same looks, in the worker."""
        import time

        tail = LogTail(self.kind, job_name)
        end, pause = time.monotonic() + remaining.total_seconds(), FIRST_SECONDS
        while True:
            found = observe.describe(self._sagemaker, self.kind, job_name)
            self._show(tail)
            if found is None or self.kind.outcome(found) is not Outcome.ACTIVE:
                return {"job_name": job_name, "log_tokens": tail.tokens}
            if time.monotonic() > end:
                self._stop_for_timeout(job_name)
            time.sleep(pause)
            pause = min(pause * GROWTH, self.poll_seconds)

    def _show(self, tail: LogTail) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            for line in tail.read(client("logs", self.aws_conn_id, self.region_name)):
                self.log.info(line)
        except (ClientError, BotoCoreError) as error:
            self.log.warning("the job's log cannot be read: %s", error)  # its result still counts

    def _final_lines(self, job_name: str, tokens: dict[str, str]) -> list[str]:
        """Show what the log has gained since the trigger's last look, and return the end of it."""
        from botocore.exceptions import BotoCoreError, ClientError

        self._show(LogTail(self.kind, job_name, tokens))
        try:
            return list(LogTail(self.kind, job_name).read(client("logs", self.aws_conn_id, self.region_name)))[
                -LAST_LINES:
            ]
        except (ClientError, BotoCoreError):
            return []

    def _stop_for_timeout(self, job_name: str) -> None:
        observe.stop(self._sagemaker, self.kind, job_name)
        raise AirflowException(f"the {self.kind.name} job {job_name} took longer than {self.timeout} and was stopped")

    def _state(self, context: Context) -> dict[str, Any]:
        return dict(context["task_state_store"].get(STATE_KEY) or {})

    def _remember(
        self, context: Context, state: dict[str, Any], generation: int, first_try: int, job_name: str
    ) -> None:
        started = state.get("started") if state.get("job_name") == job_name else None
        document = {
            "generation": generation,
            "first_try": first_try,
            "job_name": job_name,
            "started": started or datetime.now(UTC).isoformat(),
        }
        context["task_state_store"].set(STATE_KEY, document)

    def _deadline(self, context: Context) -> datetime:
        """Absolute, from the job's first submission: a resumed or retried task does not start it anew."""
        return datetime.fromisoformat(self._state(context)["started"]) + self.timeout


def identity_of(context: Context, deployment: Deployment) -> TaskIdentity:
    """Who this task instance is."""
    ti = context["ti"]
    return TaskIdentity(
        deployment=deployment.id,
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=ti.map_index if ti.map_index is not None else -1,
    )


def literal(value: Any) -> Any:
    """A field as it is known when the DAG is parsed: what another task will say becomes a template."""
    if isinstance(value, dict):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [literal(item) for item in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else PARSING


def _first_try(context: Context, retries: int | None) -> int:
    """The number of the first try since the task was last cleared; retries leave it, a clear moves it."""
    ti: Any = context["ti"]
    return int(ti.max_tries) - int(retries or 0) + 1


def _hash(request: dict[str, Any], job_name: str, prefix: str) -> str:
    """What was asked for, without what only the generation changes."""
    text = json.dumps(request, sort_keys=True).replace(job_name, "").replace(prefix, "")
    return hashlib.sha256(text.encode()).hexdigest()[:16]
