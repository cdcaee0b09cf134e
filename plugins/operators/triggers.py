"""Waiting for a job without a worker: looks again and again, streams its log, and stops it when the user says so.

The triggerer runs these; edits need its restart. An error while looking is logged and looked over: a job that is fine
is never failed because a call was throttled. What it does not do: it reads no result and decides nothing.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from millrace.sagemaker import hosting, observe
from millrace.sagemaker.kinds import KINDS, Outcome
from millrace.sagemaker.log_tail import LogTail
from operators.clients import client

FIRST_SECONDS, GROWTH = 0.5, 1.15
LINGER_MARGIN_SECONDS = 1.0


def earliest_return() -> float:
    """When a trigger that is deferred to now may fire first, in seconds since the epoch.

    Airflow 3.3 notices the exit of the process that deferred up to `[workers] min_heartbeat_interval` later (its
    supervisor sleeps in a select without sockets). If the task is running again by then, the scheduler takes the late
    "success" of the first process for a lost task and fails it: docs/decisions/0016.
    """
    from airflow.sdk.configuration import conf

    linger = int(conf.getint("workers", "min_heartbeat_interval", fallback=5))
    return time.time() + linger + LINGER_MARGIN_SECONDS


class JobTrigger(BaseTrigger):
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
        self.kind = kind
        self.job_name = job_name
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.poll_seconds = poll_seconds
        self.log_tokens = log_tokens
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "operators.triggers.JobTrigger",
            {
                "kind": self.kind,
                "job_name": self.job_name,
                "aws_conn_id": self.aws_conn_id,
                "region_name": self.region_name,
                "poll_seconds": self.poll_seconds,
                "log_tokens": self.log_tokens,
                "not_before": self.not_before,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        tail = LogTail(KINDS[self.kind], self.job_name, self.log_tokens)
        async for pause in pauses(self.poll_seconds):
            try:
                ended = await asyncio.to_thread(self._look, tail)
            except Exception as error:
                self.log.warning("looking at %s failed and will be tried again: %s", self.job_name, error)
                ended = False
            if ended:
                await asyncio.sleep(max(0.0, self.not_before - time.time()))
                yield TriggerEvent({"job_name": self.job_name, "log_tokens": tail.tokens})
                return
            await asyncio.sleep(pause)

    async def on_kill(self) -> None:
        """Stop the job: Airflow calls this only when a user marks or clears the task, never on a restart."""
        stopped = await asyncio.to_thread(
            observe.stop, client("sagemaker", self.aws_conn_id, self.region_name), KINDS[self.kind], self.job_name
        )
        self.log.info("the user ended the task: %s", f"stopping {self.job_name}" if stopped else "its job has ended")

    def _look(self, tail: LogTail) -> bool:
        """Whether the job has ended; new log lines go to the task's log. Blocking."""
        kind = KINDS[self.kind]
        found = observe.describe(client("sagemaker", self.aws_conn_id, self.region_name), kind, self.job_name)
        try:
            for line in tail.read(client("logs", self.aws_conn_id, self.region_name)):
                self.log.info(line)
        except Exception as error:
            # A log that cannot be read must not hide that the job has ended.
            self.log.warning("the log of %s cannot be read: %s", self.job_name, error)
        # A job that is gone has ended too; what that means is the operator's to say.
        return found is None or kind.outcome(found) is not Outcome.ACTIVE


class EndpointTrigger(BaseTrigger):
    """Fires when an endpoint has stopped changing."""

    def __init__(
        self, endpoint: str, aws_conn_id: str, region_name: str | None, poll_seconds: float, not_before: float
    ) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.poll_seconds = poll_seconds
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "operators.triggers.EndpointTrigger",
            {
                "endpoint": self.endpoint,
                "aws_conn_id": self.aws_conn_id,
                "region_name": self.region_name,
                "poll_seconds": self.poll_seconds,
                "not_before": self.not_before,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        async for pause in pauses(self.poll_seconds):
            try:
                status = await asyncio.to_thread(self._status)
            except Exception as error:
                self.log.warning("looking at endpoint %s failed and will be tried again: %s", self.endpoint, error)
                status = "Updating"
            if status not in hosting.CHANGING:
                await asyncio.sleep(max(0.0, self.not_before - time.time()))
                yield TriggerEvent({"endpoint": self.endpoint, "status": status})
                return
            await asyncio.sleep(pause)

    def _status(self) -> str:
        sagemaker = client("sagemaker", self.aws_conn_id, self.region_name)
        found = hosting.describe_endpoint(sagemaker, self.endpoint)
        return "Absent" if found is None else str(found["EndpointStatus"])


async def pauses(most: float) -> AsyncIterator[float]:
    """How long to wait before the next look: half a second at first, up to `most`, with jitter."""
    pause = min(FIRST_SECONDS, most)
    while True:
        yield pause * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        pause = min(pause * GROWTH, most)
