"""Waiting without a worker: one poller serves every waiting task, each job's log goes to its own task's log, and a user's
kill stops what was begun.

The triggerer runs these; edits need its restart. What they do not do: they read no result and decide nothing.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from millrace.sagemaker import hosting, observe
from millrace.sagemaker.kinds import ENDPOINT, KINDS
from millrace.sagemaker.log_tail import LogTail
from operators import waiting
from operators.clients import fresh_client

log = logging.getLogger(__name__)
LINGER_MARGIN_SECONDS = 1.0
LINES_AT_ONCE = 200
KILL_ATTEMPTS = 8


def earliest_return() -> float:
    """When a trigger that is deferred to now may fire first, in seconds since the epoch.

    Airflow 3.3 notices the exit of the process that deferred up to `[workers] min_heartbeat_interval` later (its
    supervisor sleeps in a select without sockets). If the task is running again by then, the scheduler takes the late
    "success" of the first process for a lost task and fails it: docs/decisions/0016.
    """
    from airflow.sdk.configuration import conf

    linger = int(conf.getint("workers", "min_heartbeat_interval", fallback=5))
    return time.time() + linger + LINGER_MARGIN_SECONDS


class _Trigger(BaseTrigger):
    """What both triggers share: their arguments are their state, and what other threads say is logged by the trigger."""

    arguments: dict[str, Any]

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"operators.triggers.{type(self).__name__}", self.arguments

    async def _until(self, ended: Future[Any], said: asyncio.Queue[list[str]], not_before: float) -> None:
        """Log what is said until `ended` is done and `not_before` has passed."""
        done = asyncio.wrap_future(ended)
        while not done.done():
            heard = asyncio.ensure_future(said.get())
            try:
                await asyncio.wait({done, heard}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not heard.done():
                    heard.cancel()
            if heard.done() and not heard.cancelled():
                await self._say(heard.result())
        await asyncio.sleep(max(0.0, not_before - time.time()))

    async def _say(self, lines: list[str]) -> None:
        for start in range(0, len(lines), LINES_AT_ONCE):
            for line in lines[start : start + LINES_AT_ONCE]:
                self.log.info(line)
            await asyncio.sleep(0)  # other triggers' turn


class JobTrigger(_Trigger):
    """Fires when a job has ended, with the tokens of the log lines it has shown."""

    def __init__(
        self,
        kind: str,
        job_name: str,
        aws_conn_id: str,
        region_name: str | None,
        poll_seconds: float,
        log_tokens: dict[str, str],
        not_before: float,
    ) -> None:
        super().__init__()
        self.kind = KINDS[kind]
        self.job_name = job_name
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.poll_seconds = poll_seconds
        self.log_tokens = log_tokens
        self.not_before = not_before
        self.arguments = {
            "kind": kind,
            "job_name": job_name,
            "aws_conn_id": aws_conn_id,
            "region_name": region_name,
            "poll_seconds": poll_seconds,
            "log_tokens": log_tokens,
            "not_before": not_before,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        loop = asyncio.get_running_loop()
        said: asyncio.Queue[list[str]] = asyncio.Queue()

        def say(lines: list[str]) -> None:
            loop.call_soon_threadsafe(said.put_nowait, lines)

        poller = waiting.poller(self.kind, self.job_name, self.aws_conn_id, self.region_name)
        follower = waiting.log_follower(self.aws_conn_id, self.region_name)
        following = follower.follow(LogTail(self.kind, self.job_name, self.log_tokens), say)
        watch = poller.watch(self.job_name, most_seconds=self.poll_seconds, trouble=lambda text: say([text]))
        try:
            await self._until(watch.ended, said, self.not_before)
        finally:
            poller.forget(watch)
            following.gone = True
        # A job that is gone has ended too; what that means is the operator's to say.
        tokens = await asyncio.to_thread(follower.leave, following)
        await asyncio.sleep(0)
        while not said.empty():
            await self._say(said.get_nowait())
        yield TriggerEvent({"job_name": self.job_name, "log_tokens": tokens})

    async def on_kill(self) -> None:
        """Stop the job: Airflow calls this only when a user marks or clears the task, never on a restart."""
        # Airflow 3.3.2 cancels this again at every sync, a second apart, until the trigger has ended; a thread goes on.
        await asyncio.shield(asyncio.to_thread(self._stop))

    def _stop(self) -> None:
        # Not the kept client: a triggerer outlives its credentials.
        sagemaker = fresh_client("sagemaker", self.aws_conn_id, self.region_name, KILL_ATTEMPTS)
        stopped = observe.stop(sagemaker, self.kind, self.job_name)
        self.log.info("the user ended the task: %s", f"stopping {self.job_name}" if stopped else "its job has ended")


class EndpointTrigger(_Trigger):
    """Fires when an endpoint has stopped changing.

    `before` is what the endpoint served when the deployment was begun, as hosting.Before.to_json gives it: a user's kill
    puts that back. It is empty when nothing is being deployed.
    """

    def __init__(
        self,
        endpoint: str,
        before: dict[str, Any],
        aws_conn_id: str,
        region_name: str | None,
        poll_seconds: float,
        not_before: float,
    ) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.before = before
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.poll_seconds = poll_seconds
        self.not_before = not_before
        self.arguments = {
            "endpoint": endpoint,
            "before": before,
            "aws_conn_id": aws_conn_id,
            "region_name": region_name,
            "poll_seconds": poll_seconds,
            "not_before": not_before,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        loop = asyncio.get_running_loop()
        said: asyncio.Queue[list[str]] = asyncio.Queue()

        def trouble(text: str) -> None:
            loop.call_soon_threadsafe(said.put_nowait, [text])

        poller = waiting.poller(ENDPOINT, self.endpoint, self.aws_conn_id, self.region_name)
        watch = poller.watch(self.endpoint, most_seconds=self.poll_seconds, trouble=trouble)
        try:
            await self._until(watch.ended, said, self.not_before)
        finally:
            poller.forget(watch)
        yield TriggerEvent({"endpoint": self.endpoint})

    async def on_kill(self) -> None:
        """Put back what was served before, as soon as SageMaker takes it.

        SageMaker cannot stop a deployment: it refuses updates and deletion while the endpoint is changing. A thread waits
        for that, for as long as this triggerer lives; after that it is the reconciler's.
        """
        if not self.before:
            self.log.info("the user ended the task; endpoint %s is left to what it is doing", self.endpoint)
            return
        self.log.info("the user ended the task: endpoint %s is put back once it has stopped changing", self.endpoint)
        threading.Thread(target=self._put_back, name=f"put-back-{self.endpoint}", daemon=True).start()

    def _put_back(self) -> None:
        poller = waiting.poller(ENDPOINT, self.endpoint, self.aws_conn_id, self.region_name)
        watch = poller.watch(self.endpoint, most_seconds=self.poll_seconds, trouble=log.warning)
        try:
            description = watch.ended.result()
            sagemaker = fresh_client("sagemaker", self.aws_conn_id, self.region_name, KILL_ATTEMPTS)
            done = hosting.put_back(sagemaker, self.endpoint, description, hosting.Before.from_json(self.before))
            log.info("endpoint %s: %s", self.endpoint, done)
        except Exception:
            log.exception("endpoint %s was not put back; the reconciler finds it", self.endpoint)
        finally:
            poller.forget(watch)
