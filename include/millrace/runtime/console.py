"""A page for each job, where the link in Airflow's UI leads: what was asked for, what became of it, and its log.

Plain HTML without scripts. Job output is text from outside, so everything is escaped.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from starlette.responses import HTMLResponse, Response

from .errors import AwsError

Operation = Callable[[dict[str, Any], str], dict[str, Any] | None]
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c2733 }
h1 { font-size: 1.3rem } h2 { font-size: 1rem; margin-top: 2rem } td { padding: .15rem 1.5rem .15rem 0 }
pre { background: #f4f6f8; padding: 1rem; overflow: auto; font-size: 13px; border-radius: 6px }
.Completed, .InService { color: #14713d } .Failed { color: #b3261e } .Stopped { color: #7a5b00 }
"""
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "X-Frame-Options": "DENY"}
KINDS = {"training": "TrainingJob", "processing": "ProcessingJob", "transform": "TransformJob"}


class Console:
    """Pages over the runtime's own operations."""

    def __init__(self, operations: dict[str, Operation], logs: dict[str, Operation]) -> None:
        self._operations = operations
        self._logs = logs

    def page(self, path: str, region: str) -> Response:
        """The page at `/console`, or at `/console/<kind>-jobs/<name>`."""
        parts = path.strip("/").split("/")
        if parts == ["console"]:
            return self._index(region)
        prefix = KINDS.get(parts[1].removesuffix("-jobs")) if len(parts) == 3 else None
        if prefix is None:
            return _document("No such page", "<p>Pages are /console and /console/training-jobs/NAME.</p>", 404)
        return self._job(prefix, parts[2], region)

    def _index(self, region: str) -> Response:
        sections = []
        for kind, prefix in KINDS.items():
            answer = self._operations[f"List{prefix}s"]({"MaxResults": 50}, region) or {}
            rows = [
                f'<tr><td><a href="/console/{kind}-jobs/{job[f"{prefix}Name"]}">{html.escape(job[f"{prefix}Name"])}</a></td>'
                f"<td>{_status(job[f'{prefix}Status'])}</td><td>{_time(job['CreationTime'])}</td></tr>"
                for job in answer[f"{prefix}Summaries"]
            ]
            sections.append(f"<h2>{kind.capitalize()} jobs</h2><table>{''.join(rows) or '<tr><td>none yet'}</table>")
        endpoints = (self._operations["ListEndpoints"]({"MaxResults": 50}, region) or {})["Endpoints"]
        rows = [
            f"<tr><td>{html.escape(e['EndpointName'])}</td><td>{_status(e['EndpointStatus'])}</td></tr>"
            for e in endpoints
        ]
        sections.append(f"<h2>Endpoints</h2><table>{''.join(rows) or '<tr><td>none yet'}</table>")
        return _document("Millrace runtime", "".join(sections))

    def _job(self, prefix: str, name: str, region: str) -> Response:
        try:
            found = self._operations[f"Describe{prefix}"]({f"{prefix}Name": name}, region) or {}
        except AwsError as error:
            return _document(name, f"<p>{html.escape(error.message)}</p>", 404)
        facts = {
            "status": _status(found[f"{prefix}Status"]),
            "failure": html.escape(str(found.get("FailureReason") or "")),
            "created": _time(found["CreationTime"]),
        }
        rows = "".join(f"<tr><td>{key}</td><td>{value}</td></tr>" for key, value in facts.items() if value)
        request = html.escape(json.dumps({k: v for k, v in found.items() if v is not None}, indent=2, default=str))
        body = f"<table>{rows}</table>{self._job_log(prefix, name, region)}<h2>Description</h2><pre>{request}</pre>"
        return _document(name, body)

    def _job_log(self, prefix: str, name: str, region: str) -> str:
        group = f"/aws/sagemaker/{prefix}s"
        streams = self._logs["DescribeLogStreams"](
            {"logGroupName": group, "logStreamNamePrefix": f"{name}/"}, region
        ) or {"logStreams": []}
        parts = []
        for stream in streams["logStreams"]:
            query = {"logGroupName": group, "logStreamName": stream["logStreamName"], "limit": 500}
            events = (self._logs["GetLogEvents"](query, region) or {"events": []})["events"]
            text = "\n".join(f"{_time(e['timestamp'] / 1000)}  {e['message']}" for e in events)
            title = html.escape(stream["logStreamName"].rpartition("/")[2])
            parts.append(f"<h2>Log of {title}</h2><pre>{html.escape(text)}</pre>")
        return "".join(parts)


def _document(title: str, body: str, status: int = 200) -> Response:
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{html.escape(title)}</h1>{body}</html>"
    )
    return HTMLResponse(page, status, HEADERS)


def _status(status: str) -> str:
    return f'<span class="{html.escape(status)}">{html.escape(status)}</span>'


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
