"""Following a job's log through CloudWatch Logs: each call returns what is new, and where it stopped is a plain dict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .kinds import JobKind

MAX_PAGES = 20


class LogTail:
    """Reads every stream of one job from where it was left.

    `tokens` maps stream to its forward token; it survives JSON, so that the reader may change process.
    """

    def __init__(self, kind: JobKind, job_name: str, tokens: dict[str, str] | None = None) -> None:
        self._kind = kind
        self._job_name = job_name
        self.tokens: dict[str, str] = dict(tokens or {})

    def read(self, logs: Any) -> Iterator[str]:
        """New lines of all streams, each behind its host when there is more than one. Blocking; `logs` is a boto3 client.

        A log that is not there yet is no error.
        """
        from botocore.exceptions import ClientError

        try:
            pages = logs.get_paginator("describe_log_streams").paginate(
                logGroupName=self._kind.log_group, logStreamNamePrefix=f"{self._job_name}/"
            )
            streams = sorted(stream["logStreamName"] for page in pages for stream in page["logStreams"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return
            raise
        for stream in streams:
            # `<job>/algo-1-<id>`: the host says which instance spoke
            host = "-".join(stream.rpartition("/")[2].split("-")[:2])
            for _ in range(MAX_PAGES):
                query = {"logGroupName": self._kind.log_group, "logStreamName": stream, "startFromHead": True}
                if stream in self.tokens:
                    query["nextToken"] = self.tokens[stream]
                page = logs.get_log_events(**query)
                for event in page["events"]:
                    yield f"[{host}] {event['message']}" if len(streams) > 1 else event["message"]
                if page["nextForwardToken"] == self.tokens.get(stream):
                    break
                self.tokens[stream] = page["nextForwardToken"]
                if not page["events"]:
                    break
