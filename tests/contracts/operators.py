"""The operators, one row each: what each is told, what it must not be told, and the place in which it is told it.

Read by test_operators.py, which holds every row against the same cases. A new operator is a new row.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset, BaseOperator

from millrace.monitoring.__main__ import main as monitoring
from millrace.registry.models import BASELINE_TAG, Registry
from millrace.runtime import fault_plan
from millrace.runtime.fault_plan import Rule
from millrace.runtime.faults import HoldJob, JobFault
from millrace.sagemaker import observe
from millrace.sagemaker.kinds import ENDPOINT, KINDS, PROCESSING, TRAINING, TRANSFORM, JobKind, Outcome
from operators.attribution import AttributionDriftOperator
from operators.challenge import ChallengeOperator
from operators.delete import DeleteEndpointOperator
from operators.deploy import DeployEndpointOperator
from operators.drift import DriftBaselineOperator, DriftMonitorOperator
from operators.gates import BaselineGateOperator, FairnessGateOperator
from operators.invoke import InvokeEndpointOperator
from operators.model_quality import ModelQualityOperator
from operators.processing import ProcessingOperator
from operators.quality import QualityGateOperator
from operators.quality_shards import QualityShardsOperator
from operators.reconcile import ReconcileOperator
from operators.registry import (
    MetricGateOperator,
    ModelApprovalOperator,
    PromoteModelOperator,
    RegisterModelOperator,
)
from operators.training import TrainingOperator
from operators.transform import BatchTransformOperator
from tests.operators.runtime import local_deployment
from tests.runtime.jobs import Jobs, archive
from tests.runtime.process import RuntimeProcess, until

COUNTER = itertools.count()
CODE = ("tests.contracts.job_code",)
SMALL = "ml.m5.large"
ROWS = b"age,height\n" + b"".join(b"%d,%d\n" % (20 + row % 50, 150 + row % 40) for row in range(200))
PREDICTIONS = b"id,probability\n" + b"".join(b"n%d,%.2f\n" % (row, row % 100 / 100) for row in range(200))
LABELS = b"id,label\n" + b"".join(b"n%d,%d\n" % (row, row % 100 > 40 + row % 7) for row in range(200))
ANSWER = "7"
HANDLERS = f"""
def model_fn(model_dir): return {ANSWER!r}
def transform_fn(model, body, content_type, accept): return "".join(model + "\\n" for _ in body.splitlines())
"""
BROKEN = "def model_fn(model_dir): raise OSError('weights are missing')\n"
HELD = HoldJob(hold_seconds=600)
"""A job that costs no process: it waits for instances until it is stopped."""


@dataclass
class Land:
    """What all places share, since making it takes seconds: the runtime, boto3's clients, the registry's database."""

    runtime: RuntimeProcess
    folder: Path

    def __post_init__(self) -> None:
        self.jobs = Jobs(self.runtime)

    @contextmanager
    def workers(self) -> Iterator[Land]:
        """In the environment of Airflow workers of no place in particular."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{self.folder / 'mlflow.db'}")
            with local_deployment(self.runtime, patch, "nowhere"):
                yield self


@dataclass
class Place:
    """A deployment of its own on the runtime, with a model in the registry and data in S3."""

    land: Land
    number: int = field(default_factory=lambda: next(COUNTER))

    def __post_init__(self) -> None:
        self.jobs, self.runtime, self.folder = self.land.jobs, self.land.runtime, self.land.folder
        self.deployment = f"place{self.number}"
        self.model = f"model{self.number}"

    @contextmanager
    def worker(self) -> Iterator[Place]:
        """In the environment of this deployment's Airflow workers."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MILLRACE_DEPLOYMENT", self.deployment)
            yield self

    def put(self, name: str, rows: bytes) -> str:
        """The URI of a prefix that holds these rows as CSV."""
        return self.jobs.put(f"{self.deployment}/{name}/rows.csv", rows).rpartition("/")[0]

    def deal(self, fault: JobFault = HELD) -> None:
        """Let this fault befall every job that the deployment creates from now on."""
        fault_plan.write(
            self.runtime.data_dir, [Rule(fault, operation="Create*Job", name=f"{self.deployment}-*", times=99)]
        )

    def made(self) -> dict[str, list[str]]:
        """The names of all that this deployment has made and has to pay for, and the versions of its model."""
        kinds = {kind.name: list(self._listed(kind)) for kind in (*KINDS.values(), ENDPOINT)}
        versions = Registry()._client.search_model_versions(f"name = '{self.model}'")
        return {name: found for name, found in kinds.items() if found} | {
            "versions": [str(v.version) for v in versions]
        }

    def active(self) -> list[str]:
        """Those of them that still run, or change."""
        return [
            name
            for kind in (*KINDS.values(), ENDPOINT)
            for name, status in self._listed(kind).items()
            if status in kind.active
        ]

    def _listed(self, kind: Any) -> dict[str, str]:
        call = getattr(self.jobs.sagemaker, kind.list)
        rows = call(NameContains=f"{self.deployment}-", MaxResults=100)[kind.summaries_field]
        return {
            row[kind.name_field]: row[kind.status_field] for row in sorted(rows, key=lambda row: row["CreationTime"])
        }

    def outcome(self, kind: JobKind, name: str) -> Outcome:
        found = observe.describe(self.jobs.sagemaker, kind, name)
        assert found is not None
        return kind.outcome(found)

    def tags(self, arn: str) -> dict[str, str]:
        return observe.tags(self.jobs.sagemaker, arn)

    @cached_property
    def data(self) -> str:
        """A prefix of one small table with a header."""
        return self.jobs.put(f"{self.deployment}/data/rows.csv", ROWS).rpartition("/")[0]

    @cached_property
    def predictions(self) -> str:
        """A prefix of predicted probabilities."""
        return self.jobs.put(f"{self.deployment}/predictions/rows.csv", PREDICTIONS).rpartition("/")[0]

    @cached_property
    def labels(self) -> str:
        """A prefix of what they turned out to be."""
        return self.jobs.put(f"{self.deployment}/labels/rows.csv", LABELS).rpartition("/")[0]

    @cached_property
    def lines(self) -> str:
        """A prefix of lines to transform."""
        return self.jobs.put(f"{self.deployment}/lines/a.csv", b"1,2\n3,4\n").rpartition("/")[0]

    def archive(self, handlers: str = HANDLERS) -> str:
        """The URI of a model archive; a second one takes the first one's place."""
        return self.jobs.put(f"{self.deployment}/model.tar.gz", archive({"code/inference.py": handlers}))

    @cached_property
    def version(self) -> str:
        """A registered version of the model."""
        found = Registry().register(self.model, source=self.archive(), run_id=None, metrics={"accuracy": 0.9}, tags={})
        return found.version

    @cached_property
    def champion(self) -> str:
        """The model, with a champion that has a drift baseline."""
        Registry().promote(self.model, self.version, endpoint="none")
        folder = self.folder / self.deployment
        (folder / "data").mkdir(parents=True)
        (folder / "data/rows.csv").write_bytes(ROWS)
        assert monitoring(["baseline", "--data", str(folder / "data"), "--output", str(folder / "baseline")]) == 0
        for path in (folder / "baseline").iterdir():
            self.jobs.put(f"{self.deployment}/baseline/{path.name}", path.read_bytes())
        Registry().tag(self.model, self.version, BASELINE_TAG, f"s3://bucket/{self.deployment}/baseline")
        return self.model

    def serve(self, handlers: str = HANDLERS) -> dict[str, Any]:
        """Make the endpoint `live`, not by an operator, and return its description."""
        model = self.jobs.model(handlers, name=f"{self.deployment}-live")
        config = self.jobs.endpoint_config(model)
        self.jobs.sagemaker.create_endpoint(EndpointName=f"{self.deployment}-live", EndpointConfigName=config)
        return self.settled("live")

    def settled(self, endpoint: str) -> dict[str, Any]:
        """The description of an endpoint once it has stopped changing; empty when there is none."""

        def look() -> dict[str, Any] | None:
            found = observe.describe(self.jobs.sagemaker, ENDPOINT, f"{self.deployment}-{endpoint}")
            if found is None:
                return {"EndpointStatus": "absent"}
            return None if ENDPOINT.outcome(found) is Outcome.ACTIVE else found

        return until(look, 60, f"the settling of {endpoint}")


Arguments = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One operator."""

    operator: type[BaseOperator]
    told: Callable[[Place], Arguments]
    """What it is told in a place; what that speaks of is there then."""
    wrong: Arguments
    """A literal that cannot be right."""
    said: str
    """What is said of it when the DAG is parsed."""
    nonsense: Sequence[Arguments]
    """Template fields as a wrong template renders them."""
    fed: str
    """An argument that is usually another task's output."""
    mapped: tuple[str, Callable[[Place], Sequence[Any]]]
    """An argument to map over, and two values for it."""
    needs: Callable[[Place], Any] = lambda place: None
    """Sees to what must be there before it is run."""
    kind: JobKind | None = None

    def make(self, place: Place, **changes: Any) -> Any:
        return self.operator(**{"task_id": "step", **self.told(place), **changes})

    @property
    def name(self) -> str:
        return self.operator.__name__


def _processing(place: Place) -> Arguments:
    return {
        "module": "timeit", "packages": CODE, "arguments": ["-n", "1", "-r", "1", "print('worked')"], "outputs": ("out",),
        "inputs": {"data": place.data}, "instance_type": SMALL, "poll_seconds": 0.5,
    }  # fmt: skip


def _training(place: Place) -> Arguments:
    return {
        "program": "tests/contracts/job_code/train.py", "packages": CODE, "channels": {"train": place.data},
        "hyperparameters": {"seed": 1}, "instance_type": SMALL, "poll_seconds": 0.5,
    }  # fmt: skip


def _transform(place: Place) -> Arguments:
    return {"model": place.champion, "data": place.lines, "instance_type": SMALL, "poll_seconds": 0.5}


def _gate(place: Place) -> Arguments:
    return {
        "suite": "tests.contracts.job_code.suites:ages", "data": place.data, "gate": "ages", "packages": CODE,
        "settings": {"lowest": 18}, "model": place.model, "window": "2026-11-21", "instance_type": SMALL,
        "poll_seconds": 0.5,
    }  # fmt: skip


def _baseline(place: Place) -> Arguments:
    return {
        "data": place.data, "model": place.model, "version": place.version, "exclude": ("height",),
        "instance_type": SMALL, "poll_seconds": 0.5,
    }  # fmt: skip


def _monitor(place: Place) -> Arguments:
    return {
        "data": place.data, "model": place.champion, "asset": Asset("drift"), "alias": "drift-found",
        "window": "2026-11-21",
        "instance_type": SMALL, "poll_seconds": 0.5,
    }  # fmt: skip


def _quality(place: Place) -> Arguments:
    return {
        "model": place.model, "version": place.version, "predictions": place.predictions, "ground_truth": place.labels,
        "id_column": "id", "label_column": "label", "probability_column": "probability", "positive_label": "1",
        "window": "2026-11-21", "instance_type": SMALL, "poll_seconds": 0.5,
    }  # fmt: skip


def _challenge(place: Place) -> Arguments:
    return {
        "module": "tests.contracts.job_code.challenge", "packages": CODE, "data": place.data, "model": place.model,
        "artifact": place.archive(), "window": "2026-11-21", "instance_type": SMALL, "poll_seconds": 0.5,
    }  # fmt: skip


def _deploy(place: Place) -> Arguments:
    return {
        "model": place.model, "version": place.version, "endpoint": "serving", "instance_type": "ml.c5.large",
        "smoke_body": "1,2\n", "poll_seconds": 0.5,
    }  # fmt: skip


SUBJECTS: Sequence[Subject] = (
    Subject(
        operator=ProcessingOperator,
        told=_processing,
        kind=PROCESSING,
        wrong={"instance_type": "ml.nothing"},
        said="InstanceType is 'ml.nothing' and must be one of",
        nonsense=({"instance_type": "None"}, {"inputs": {"data": "None"}}),
        fed="inputs",
        mapped=("arguments", lambda place: [["-n", "1"], ["-n", "2"]]),
    ),
    Subject(
        operator=TrainingOperator,
        told=_training,
        kind=TRAINING,
        wrong={"instance_count": 0},
        said="InstanceCount is 0",
        nonsense=({"channels": {"train": ""}}, {"instance_type": ""}),
        fed="channels",
        mapped=("hyperparameters", lambda place: [{"seed": 1}, {"seed": 2}]),
    ),
    Subject(
        operator=BatchTransformOperator,
        told=_transform,
        kind=TRANSFORM,
        wrong={"max_payload_mb": 60, "max_concurrent": 2},
        said=r"MaxPayloadInMB \(60\) times MaxConcurrentTransforms \(2\) is over 100",
        nonsense=({"data": "None"}, {"model": "None"}),
        fed="data",
        mapped=("data", lambda place: [place.lines, place.data]),
    ),
    Subject(
        operator=QualityGateOperator,
        told=_gate,
        kind=PROCESSING,
        wrong={"data": "yesterday"},
        said="S3Uri is 'yesterday' and must match",
        nonsense=({"inputs": {"data": ""}}, {"inputs": {"data": "None"}}),
        fed="data",
        mapped=("settings", lambda place: [{"lowest": 1}, {"lowest": 2}]),
    ),
    Subject(
        operator=QualityShardsOperator,
        told=lambda place: {
            "suite": "tests.contracts.job_code.suites:ages", "data": place.data, "packages": CODE,
            "settings": {"lowest": 18}, "instance_type": SMALL, "poll_seconds": 0.5,
        },
        kind=PROCESSING,
        wrong={"instance_count": 0},
        said="InstanceCount is 0",
        nonsense=({"inputs": {"data": ""}}, {"inputs": {"data": "None"}}),
        fed="data",
        mapped=("settings", lambda place: [{"lowest": 1}, {"lowest": 2}]),
    ),
    Subject(
        operator=BaselineGateOperator,
        told=lambda place: {
            "check": "schema", "data": place.data, "model": place.champion, "instance_type": SMALL, "poll_seconds": 0.5,
        },
        kind=PROCESSING,
        wrong={"check": "smell"},
        said="check is 'smell'; it must be one of schema, skew",
        nonsense=({"inputs": {"data": ""}}, {"model": "None"}),
        fed="data",
        mapped=("data", lambda place: [place.data, place.lines]),
    ),
    Subject(
        operator=FairnessGateOperator,
        told=lambda place: {
            "data": place.data, "facet": ("age", ("20", "21")), "label": ("height", ("150", "151", "152")),
            "ranges": {"CI": (-1, 1)}, "instance_type": SMALL, "poll_seconds": 0.5,
        },
        kind=PROCESSING,
        wrong={"facet": ("age", ())},
        said="name at least one value of the column 'age'",
        nonsense=({"inputs": {"data": ""}},),
        fed="data",
        mapped=("data", lambda place: [place.data, place.lines]),
    ),
    Subject(
        operator=DriftBaselineOperator,
        told=_baseline,
        kind=PROCESSING,
        wrong={"instance_type": "large"},
        said="InstanceType is 'large' and must be one of",
        nonsense=({"inputs": {"data": ""}}, {"version": "None"}),
        fed="data",
        mapped=("exclude", lambda place: [("age",), ("height",)]),
    ),
    Subject(
        operator=DriftMonitorOperator,
        told=_monitor,
        kind=PROCESSING,
        wrong={"poll_seconds": 0},
        said="poll_seconds is 0; it must be more than 0",
        nonsense=({"inputs": {"data": ""}}, {"model": "None"}, {"window": "None"}),
        fed="data",
        mapped=("data", lambda place: [place.data, place.lines]),
    ),
    Subject(
        operator=AttributionDriftOperator,
        told=lambda place: {"data": place.data, "baseline": place.data, "instance_type": SMALL, "poll_seconds": 0.5},
        kind=PROCESSING,
        wrong={"least_ndcg": 2},
        said="least_ndcg is 2; it must be above 0 and at most 1",
        nonsense=({"inputs": {"data": "", "baseline": "s3://bucket/a"}}, {"instance_type": ""}),
        fed="data",
        mapped=("data", lambda place: [place.data, place.lines]),
    ),
    Subject(
        operator=ModelQualityOperator,
        told=_quality,
        kind=PROCESSING,
        wrong={"instance_type": "large"},
        said="InstanceType is 'large' and must be one of",
        nonsense=({"inputs": {"predictions": "None"}}, {"window": "None"}),
        fed="predictions",
        mapped=("predictions", lambda place: [place.predictions, place.labels]),
    ),
    Subject(
        operator=ChallengeOperator,
        told=_challenge,
        kind=PROCESSING,
        wrong={"instance_type": "large"},
        said="InstanceType is 'large' and must be one of",
        nonsense=({"inputs": {"data": ""}}, {"artifact": "None"}, {"window": "None"}),
        fed="artifact",
        mapped=("data", lambda place: [place.data, place.lines]),
    ),
    Subject(
        operator=DeployEndpointOperator,
        told=_deploy,
        wrong={"instance_type": "ml.nothing"},
        said="InstanceType is 'ml.nothing' and must be one of",
        nonsense=({"version": "None"}, {"endpoint": ""}, {"instance_type": "None"}),
        fed="version",
        mapped=("endpoint", lambda place: ["left", "right"]),
    ),
    Subject(
        operator=DeleteEndpointOperator,
        needs=Place.serve,
        told=lambda place: {"endpoint": "live", "poll_seconds": 0.5},
        wrong={"endpoint": "--"},
        said="endpoint is '--'; it must hold a letter or a digit",
        nonsense=({"endpoint": ""},),
        fed="endpoint",
        mapped=("endpoint", lambda place: ["left", "right"]),
    ),
    Subject(
        operator=InvokeEndpointOperator,
        needs=Place.serve,
        told=lambda place: {"endpoint": "live", "body": "1,2\n", "expected": f"^{ANSWER}$"},
        wrong={"expected": "("},
        said=r"expected is '\(', which is not a regular expression",
        nonsense=({"expected": "("}, {"endpoint": ""}),
        fed="body",
        mapped=("body", lambda place: ["1\n", "2\n"]),
    ),
    Subject(
        operator=RegisterModelOperator,
        told=lambda place: {"model": place.model, "artifact": place.archive(), "metrics": {"metrics": {"accuracy": 0.9}}},
        wrong={"artifact": "model.tar.gz"},
        said="artifact is 'model.tar.gz'; it must be a URI",
        nonsense=({"artifact": "None"}, {"metrics": "None"}),
        fed="artifact",
        mapped=("artifact", lambda place: ["s3://bucket/a/model.tar.gz", "s3://bucket/b/model.tar.gz"]),
    ),
    Subject(
        operator=MetricGateOperator,
        told=lambda place: {
            "model": place.model, "metrics": {"metrics": {"accuracy": 0.9}}, "least": {"accuracy": 0.8},
            "compared": "accuracy", "tolerance": 0.01,
        },
        wrong={"tolerance": -1},
        said="tolerance is -1; it must be 0 or more",
        nonsense=({"metrics": "None"}, {"metrics": {"metrics": {"accuracy": 0.1}}}),
        fed="metrics",
        mapped=("metrics", lambda place: [{"metrics": {"accuracy": 0.9}}, {"metrics": {"accuracy": 0.8}}]),
    ),
    Subject(
        operator=PromoteModelOperator,
        told=lambda place: {
            "model": place.model, "version": place.version, "challenge": {"passed": True, "summary": "it is better"},
        },
        wrong={"challenge": "yes"},
        said="challenge is 'yes'; it must be a ChallengeOperator's result",
        nonsense=({"version": "None"}, {"challenge": "None"}),
        fed="challenge",
        mapped=("version", lambda place: ["1", "2"]),
    ),
    Subject(
        operator=ModelApprovalOperator,
        told=lambda place: {"subject": "Deploy?", "required": False},
        wrong={"options": ["Perhaps"]},
        said="Passing options to ApprovalOperator is not allowed",
        nonsense=(),  # whatever is not a no is taken for a yes: a person is asked
        fed="required",
        mapped=("required", lambda place: [False, "no"]),
    ),
    Subject(
        operator=ReconcileOperator,
        told=lambda place: {"stop": True, "min_age": timedelta(0)},
        wrong={"most_stops": 0},
        said="most_stops is 0; it must be at least 1",
        nonsense=({"stop": "None"},),
        fed="stop",
        mapped=("stop", lambda place: [True, False]),
    ),
)  # fmt: skip
