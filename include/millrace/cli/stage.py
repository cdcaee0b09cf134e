"""What a demonstration stands on: runs triggered, followed and approved as by hand, through Airflow's REST API."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.console import Console

from .airflow_api import AirflowApi
from .dags import await_dags
from .environment import client
from .follow import Followed, Follower, RunFailed, explain_failure
from .layout import Layout

EVENT_SECONDS = 90


class DemoFailed(RuntimeError):
    """The demonstration cannot go on; the message says why."""


@dataclass
class Stage:
    """A stack that is up, and how long each act took on it."""

    layout: Layout
    console: Console
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.api = AirflowApi(self.layout)
        self._follower = Follower(self.api, self.console, self._approve)

    def await_dags(self, *dag_ids: str) -> None:
        """Wait until Airflow has found these DAGs, and unpause them.

        Raises:
            DagNotFound: one does not parse, or is not there.
        """
        await_dags(self.api, self.layout.dags, dag_ids)

    def follow(self, what: str, *runs: Followed) -> tuple[Followed, ...]:
        """Wait until these runs have ended; a failed one's task, log and job log are printed.

        Raises:
            RunFailed: one has failed.
        """
        started = time.monotonic()
        self.console.print(f"[bold]{what}")
        try:
            self._follower.follow(runs)
        except RunFailed as failure:
            explain_failure(self.api, failure, self.console, self.job_log)
            raise
        self.seconds[what] = time.monotonic() - started
        return runs

    def started_by(self, source: Followed, dag_id: str) -> str:
        """The run of a DAG that an asset event of another run has started.

        Raises:
            DemoFailed: there is none in time.
        """
        deadline = time.monotonic() + EVENT_SECONDS
        while time.monotonic() < deadline:
            for run in self.api.runs(dag_id, "asset_triggered"):
                path = f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}/upstreamAssetEvents"
                for event in self.api.call("GET", path.replace("+", "%2B"))["asset_events"]:
                    if event["source_run_id"] == source.run_id:
                        return str(run["dag_run_id"])
            time.sleep(0.5)
        raise DemoFailed(f"the event of {source.run_id} started no run of {dag_id} within {EVENT_SECONDS} s")

    def job_log(self, link: str) -> list[str]:
        """The lines of a job, by the link that its task has."""
        kind, _, name = link.rpartition("/console/")[2].partition("-jobs/")
        group = f"/aws/sagemaker/{kind.capitalize()}Jobs"
        logs = client("logs", self.layout)
        lines: list[str] = []
        for stream in logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]:
            page = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])
            lines += [event["message"] for event in page["events"]]
        return lines

    def _approve(self, run: Followed, task_id: str) -> None:
        question = self.api.approval(run.dag_id, run.run_id, task_id)
        self.console.print(f"{question['subject']} Approved through the API, as the web UI would.", highlight=False)
        self.api.answer(run.dag_id, run.run_id, task_id, "Approve")
