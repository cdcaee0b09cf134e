"""Airflow's REST API v2, as far as the CLI and the tests use it: trigger, look, read logs, answer an approval.

No login is kept on disk: the password lies in the stack's state folder, and a token lives as long as this object.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from .layout import Layout


class ApiError(RuntimeError):
    """Airflow refused a request; carries the status and what it said."""

    def __init__(self, method: str, path: str, status: int, text: str) -> None:
        super().__init__(f"{method} {path} was answered with {status}: {text[:500]}")
        self.status = status


ADVICE = "Run `make up`; set MILLRACE_PORT and MILLRACE_STATE as for `up`, if you did"


class NotReached(RuntimeError):
    """No Airflow answers; the message says where and what to do."""


class AirflowApi:
    """A client of one Airflow."""

    def __init__(self, layout: Layout) -> None:
        self._base = layout.airflow_url
        self._passwords = layout.passwords
        self._token: str | None = None

    def call(self, method: str, path: str, body: object = None) -> Any:
        """One call below /api/v2; returns the JSON answer.

        Raises:
            ApiError: the answer is not a success.
        """
        try:
            return self._call(method, f"/api/v2{path}", body, self._login())
        except ApiError as error:
            if error.status != 401:
                raise
            self._token = None  # it has expired
            return self._call(method, f"/api/v2{path}", body, self._login())

    def dag_files(self) -> dict[str, str]:
        """The file of each DAG that Airflow has found, relative to the DAG folder, by DAG id."""
        files: dict[str, str] = {}
        served = 0  # not what is known: a DAG that is found between two pages shows a known one again
        while page := self.call("GET", f"/dags?limit=100&offset={served}&order_by=dag_id")["dags"]:
            files |= {dag["dag_id"]: str(dag["relative_fileloc"]) for dag in page}
            served += len(page)
        return files

    def import_errors(self) -> dict[str, str]:
        """Why a file does not parse, by its path relative to the DAG folder."""
        found = self.call("GET", "/importErrors?limit=100")["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in found}

    def unpause(self, dag_id: str) -> None:
        self.call("PATCH", f"/dags/{dag_id}?update_mask=is_paused", {"is_paused": False})

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run and return its id."""
        run = self.call("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf or {}})
        return str(run["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}"))

    def runs(self, dag_id: str, run_type: str | None = None) -> list[dict[str, Any]]:
        """The latest runs, newest first."""
        query = "?order_by=-run_after&limit=50" + (f"&run_type={run_type}" if run_type else "")
        return list(self.call("GET", f"/dags/{dag_id}/dagRuns{query}")["dag_runs"])

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The run's task instances."""
        path = f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances?limit=100"
        return list(self.call("GET", path)["task_instances"])

    def task_order(self, dag_id: str) -> list[str]:
        """Task ids, each after those it waits for."""
        tasks = {task["task_id"]: task for task in self.call("GET", f"/dags/{dag_id}/tasks")["tasks"]}
        ordered: list[str] = []
        while len(ordered) < len(tasks):
            waiting = {name for name in tasks if name not in ordered}
            ready = [n for n in waiting if not any(n in tasks[w]["downstream_task_ids"] for w in waiting)]
            ordered += sorted(ready) or sorted(waiting)
        return ordered

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        path = f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances/{task_id}/xcomEntries/{key}?deserialize=true"
        return self.call("GET", path)["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int, map_index: int = -1) -> list[str]:
        """The lines of one attempt's log."""
        path = (
            f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances/{task_id}/logs/{attempt}"
            f"?map_index={map_index}&full_content=true"
        )
        return [line for row in self.call("GET", path)["content"] for line in _lines(row)]

    def approval(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """The pending question of a task that waits for a person."""
        return dict(self.call("GET", f"{self._task(dag_id, run_id, task_id)}/hitlDetails"))

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str) -> None:
        """Answer it, as the web UI's form does: `Approve` or `Reject`."""
        body = {"chosen_options": [option], "params_input": {}}
        self.call("PATCH", f"{self._task(dag_id, run_id, task_id)}/hitlDetails", body)

    @staticmethod
    def _task(dag_id: str, run_id: str, task_id: str) -> str:
        return f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances/{task_id}/-1"

    def _login(self) -> str:
        if self._token is None:
            if not self._passwords.exists():
                raise NotReached(f"there is no stack yet: {self._passwords} is missing. {ADVICE}")
            user, password = next(iter(json.loads(self._passwords.read_text()).items()))
            answer = self._call("POST", "/auth/token", {"username": user, "password": password}, None)
            self._token = str(answer["access_token"])
        return self._token

    def _call(self, method: str, path: str, body: object, token: str | None) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self._base}{path}", data, headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the stack's own address
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise ApiError(method, path, error.code, error.read().decode(errors="replace")) from error
        except OSError as error:
            raise NotReached(f"Airflow does not answer at {self._base} ({error}). {ADVICE}") from error


def _lines(row: Any) -> list[str]:
    """A log row as a person reads it: the event, and what was raised."""
    if not isinstance(row, dict):
        return [str(row)]
    raised = [f"{error['exc_type']}: {error['exc_value']}" for error in row.get("error_detail") or []]
    return [str(row.get("event", "")), *(line for text in raised for line in text.splitlines())]


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")
