"""Following a job's log through CloudWatch Logs: each read returns what is new, and where it stopped is a plain dict."""

from __future__ import annotations

from typing import Any

from . import failures
from .kinds import JobKind

MAX_PAGES = 20
MOST_LINES = 50_000
STREAMS_AGAIN = 8
"""Once a job's streams are known, they are listed again every so many reads: a restarted instance opens a new one."""


class LogTail:
    """Reads every stream of one job from where it was left.

    `tokens` maps stream to its forward token; it survives JSON, so that the reader may change process. `calls` counts
    the calls that were made.
    """

    def __init__(self, kind: JobKind, job_name: str, tokens: dict[str, str] | None = None) -> None:
        self._kind = kind
        self._job_name = job_name
        self._streams: list[str] = []
        self._reads = 0
        self.tokens: dict[str, str] = dict(tokens or {})
        self.calls = 0

    def read(self, logs: Any, most: int = MOST_LINES, *, to_the_end: bool = False) -> list[str]:
        """New lines of all streams, each behind its host when there is more than one. Blocking; `logs` is a boto3 client.

        Stops after the page with which `most` lines are reached; the next read goes on there. A page may be empty though
        more follow: `to_the_end` reads on until the token stays the same. A log that is not there yet is no error.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        lines: list[str] = []
        try:
            for stream in self._known_streams(logs):
                self._read_stream(logs, stream, most, lines, to_the_end)
                if len(lines) >= most:
                    break
        except (ClientError, BotoCoreError) as error:
            # What was read is handed on, for no later read returns it; that one meets the error again.
            if not lines and failures.code_of(error) != "ResourceNotFoundException":
                raise
        return lines

    def last(self, logs: Any, count: int) -> list[str]:
        """The last lines of each stream, at most `count` in all. Blocking."""
        from botocore.exceptions import ClientError

        lines: list[str] = []
        try:
            self._reads = 0
            streams = self._known_streams(logs)
            for stream in streams:
                self.calls += 1
                page = logs.get_log_events(
                    logGroupName=self._kind.log_group, logStreamName=stream, limit=max(1, count // len(streams))
                )
                lines += [self._shown(stream, event["message"]) for event in page["events"]]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
        return lines

    def _known_streams(self, logs: Any) -> list[str]:
        if not self._streams or self._reads % STREAMS_AGAIN == 0:
            pages = logs.get_paginator("describe_log_streams").paginate(
                logGroupName=self._kind.log_group, logStreamNamePrefix=f"{self._job_name}/"
            )
            self.calls += 1
            self._streams = sorted(stream["logStreamName"] for page in pages for stream in page["logStreams"])
        self._reads += 1
        return self._streams

    def _read_stream(self, logs: Any, stream: str, most: int, lines: list[str], to_the_end: bool) -> None:
        """Add what is new to `lines`, page by page."""
        for _ in range(MAX_PAGES):
            query = {"logGroupName": self._kind.log_group, "logStreamName": stream, "startFromHead": True}
            if stream in self.tokens:
                query["nextToken"] = self.tokens[stream]
            self.calls += 1
            page = logs.get_log_events(**query)
            lines += [self._shown(stream, event["message"]) for event in page["events"]]
            ended = page["nextForwardToken"] == self.tokens.get(stream) or not (page["events"] or to_the_end)
            self.tokens[stream] = page["nextForwardToken"]
            if ended or len(lines) >= most:
                break

    def _shown(self, stream: str, message: str) -> str:
        # `<job>/algo-1-<id>`: the host says which instance spoke
        host = "-".join(stream.rpartition("/")[2].split("-")[:2])
        return f"[{host}] {message}" if len(self._streams) > 1 else message
