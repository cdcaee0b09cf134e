"""What the end-to-end tests do to a stack: trigger, wait, answer, read what was left."""

from __future__ import annotations

import io
import json
import tarfile
import time
from typing import Any

from millrace.cli.airflow_api import AirflowApi
from millrace.cli.dags import await_dags
from millrace.cli.environment import client
from millrace.cli.stack import Stack
from tests.runtime.process import until

ENDED = ("success", "failed")
LOOK_SECONDS = 0.5
"""Between two looks: Airflow's API is to have time for its workers."""


class Pipelines:
    """The DAGs of a stack, through Airflow's REST API."""

    def __init__(self, stack: Stack, api: AirflowApi) -> None:
        self.stack = stack
        self.api = api
        self.layout = stack.layout

    def serve(self, *dag_ids: str) -> None:
        """Wait until Airflow has parsed these DAGs, and unpause them."""
        await_dags(self.api, self.layout.dags, dag_ids)
        assert self.api.import_errors() == {}

    def client(self, service: str) -> Any:
        return client(service, self.layout)

    def start(self, dag_id: str, **params: Any) -> Run:
        return Run(self, dag_id, self.api.trigger(dag_id, params))

    def runs_started_by_drift(self, dag_id: str) -> list[Run]:
        return [Run(self, dag_id, run["dag_run_id"]) for run in self.api.runs(dag_id, "asset_triggered")]

    def run_started_by_drift(self, dag_id: str) -> Run:
        """The one there is, once there is one."""
        what = f"the run of {dag_id} that drift starts"
        [run] = until(lambda: self.runs_started_by_drift(dag_id), 120, what, LOOK_SECONDS)
        return run

    def get(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return bytes(self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())

    def put(self, key: str, body: bytes) -> str:
        self.client("s3").put_object(Bucket="millrace", Key=key, Body=body)
        return f"s3://millrace/{key}"

    def keys(self, uri: str) -> list[str]:
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        found = self.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix.rstrip("/") + "/").get("Contents", [])
        return [f"s3://{bucket}/{item['Key']}" for item in found]

    def invoke(self, endpoint: str, csv: str) -> list[str]:
        answer = self.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=endpoint, ContentType="text/csv", Accept="text/csv", Body=csv.encode()
        )
        return str(answer["Body"].read().decode()).splitlines()

    def endpoint_config(self) -> str:
        """The configuration that the digits endpoint is live on, or nothing."""
        found = self.client("sagemaker").list_endpoints()["Endpoints"]
        if not found:
            return ""
        name = found[0]["EndpointName"]
        return str(self.client("sagemaker").describe_endpoint(EndpointName=name)["EndpointConfigName"])

    def champion(self, model: str = "digits") -> Any:
        from mlflow.tracking import MlflowClient

        return MlflowClient(self.layout.mlflow_url).get_model_version_by_alias(model, "champion")


class Run:
    """One DAG run."""

    def __init__(self, pipelines: Pipelines, dag_id: str, run_id: str) -> None:
        self._pipelines = pipelines
        self._api = pipelines.api
        self.dag_id = dag_id
        self.run_id = run_id

    def states(self) -> dict[str, str]:
        return {task["task_id"]: task["state"] for task in self._api.tasks(self.dag_id, self.run_id)}

    def task(self, task_id: str) -> dict[str, Any]:
        return next(t for t in self._api.tasks(self.dag_id, self.run_id) if t["task_id"] == task_id)

    def until_task(self, task_id: str, *states: str, seconds: float = 180) -> None:
        until(
            lambda: self.states().get(task_id) in states, seconds, f"{self.dag_id}.{task_id} is {states}", LOOK_SECONDS
        )

    def answer(self, option: str) -> None:
        """Answer the approval, once it is asked for."""
        self.until_task("approve", "awaiting_input", seconds=240)
        time.sleep(3)  # an answer within a second of the question meets the race of docs/decisions/0016
        self._api.answer(self.dag_id, self.run_id, "approve", option)

    def end(self, seconds: float = 300) -> str:
        def ended() -> str | None:
            state = str(self._api.run(self.dag_id, self.run_id)["state"])
            return state if state in ENDED else None

        return until(ended, seconds, f"the end of {self.dag_id}", LOOK_SECONDS)

    def succeed(self, seconds: float = 300) -> Run:
        state = self.end(seconds)
        assert state == "success", self.explain()
        return self

    def explain(self) -> str:
        failed = [task for task, state in self.states().items() if state == "failed"]
        return "\n".join(line for task in failed for line in self.log(task)[-40:])

    def result(self, task_id: str) -> Any:
        return self._api.xcom(self.dag_id, self.run_id, task_id)

    def log(self, task_id: str) -> list[str]:
        attempts = range(1, int(self.task(task_id)["try_number"]) + 1)
        return [line for attempt in attempts for line in self._api.log(self.dag_id, self.run_id, task_id, attempt)]

    def model(self) -> dict[str, bytes]:
        """The members of the trained model.tar.gz."""
        body = self._pipelines.get(self.result("train")["model"])
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            files = {member.name: tar.extractfile(member) for member in tar.getmembers()}
            return {name: stream.read() for name, stream in files.items() if stream is not None}

    def json(self, uri: str) -> Any:
        return json.loads(self._pipelines.get(uri))
