"""A runtime for the tests of this folder: one for all that leave it alone, and a fresh one for those that kill it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.runtime.jobs import Jobs
from tests.runtime.process import RuntimeProcess, running


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    with running(tmp_path_factory.mktemp("runtime")) as process:
        yield process


@pytest.fixture
def own_runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    with running(tmp_path_factory.mktemp("own")) as process:
        yield process


@pytest.fixture
def jobs(runtime: RuntimeProcess) -> Jobs:
    return Jobs(runtime)


@pytest.fixture
def s3(runtime: RuntimeProcess) -> Any:
    return runtime.client("s3")


@pytest.fixture
def sagemaker(runtime: RuntimeProcess) -> Any:
    return runtime.client("sagemaker")
