"""A runtime for the tests of the operators, and steps to take on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from airflow.sdk.execution_time.context import OutletEventAccessors

from millrace.runtime import fault_plan
from tests.contracts.operators import Land, Place
from tests.operators.attempts import Attempts
from tests.operators.runtime import local_deployment
from tests.operators.steps import ASSET, Finished, Steps
from tests.runtime.jobs import Jobs
from tests.runtime.process import RuntimeProcess, running


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    with running(tmp_path_factory.mktemp("operators")) as process:
        yield process


@pytest.fixture(scope="module")
def worker(runtime: RuntimeProcess) -> Iterator[Callable[[], Any]]:
    """Makes deployments, each a context in which a worker's environment names it; boto3's clients are kept."""
    jobs = Jobs(runtime)

    @contextmanager
    def deployment() -> Iterator[Steps]:
        steps = Steps(runtime, jobs)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MILLRACE_DEPLOYMENT", steps.deployment)
            yield steps

    with pytest.MonkeyPatch.context() as patch, local_deployment(runtime, patch, "nowhere"):
        yield deployment


@pytest.fixture
def steps(worker: Callable[[], Any], runtime: RuntimeProcess) -> Iterator[Steps]:
    with worker() as found:
        yield found
    fault_plan.clear(runtime.data_dir)


@pytest.fixture(scope="module")
def place(runtime: RuntimeProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for each module, with a registry of its own."""
    with Land(runtime, tmp_path_factory.mktemp("place")).workers() as land, Place(land).worker() as place:
        yield place


@pytest.fixture(scope="module")
def finished(worker: Callable[[], Any]) -> Finished:
    """One for each module: a real job takes seconds."""
    with worker() as steps:
        data = steps.jobs.put(f"{steps.deployment}/numbers/a.csv", b"1\n2\n")
        attempts = Attempts(outlet_events=OutletEventAccessors())
        operator = steps.operator(inputs={"data": data.rpartition("/")[0]}, outlets=[ASSET])
        return Finished(operator, attempts, attempts.execute(operator), steps)
