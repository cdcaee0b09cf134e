"""A runtime for the tests of this folder: one for all that leave it alone, and a fresh one for those that kill it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.runtime import fault_plan
from tests.runtime import storages
from tests.runtime.jobs import Jobs
from tests.runtime.process import RuntimeProcess, running
from tests.runtime.storages import Stock


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    with running(tmp_path_factory.mktemp("runtime")) as process:
        yield process


@pytest.fixture
def own_runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    with running(tmp_path_factory.mktemp("own")) as process:
        yield process


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    """A runtime for a file that plans faults: its plan is nobody else's."""
    with running(tmp_path_factory.mktemp("faulty")) as process:
        yield process
        fault_plan.clear(process.data_dir)


@pytest.fixture(scope="session")
def another_s3() -> Iterator[str]:
    with storages.another_s3() as url:
        yield url


@pytest.fixture(params=["own", "another"])
def stock(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stock]:
    """Both storages, one after the other."""
    if request.param == "own":
        with storages.own_stock(tmp_path) as own:
            yield own
    else:
        with storages.another_stock(request.getfixturevalue("another_s3"), tmp_path) as another:
            yield another


@pytest.fixture
def jobs(runtime: RuntimeProcess) -> Jobs:
    return Jobs(runtime)


@pytest.fixture
def s3(runtime: RuntimeProcess) -> Any:
    return runtime.client("s3")


@pytest.fixture
def sagemaker(runtime: RuntimeProcess) -> Any:
    return runtime.client("sagemaker")
