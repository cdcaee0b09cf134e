"""A runtime for the tests of this folder: one for all that leave it alone, and a fresh one for those that kill it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.runtime.jobs import Jobs
from tests.runtime.process import RuntimeProcess


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    process = RuntimeProcess(tmp_path_factory.mktemp("runtime"))
    process.start()
    process.client("s3").create_bucket(Bucket="bucket")
    yield process
    process.end_everything()


@pytest.fixture
def own_runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    process = RuntimeProcess(tmp_path_factory.mktemp("own"))
    process.start()
    process.client("s3").create_bucket(Bucket="bucket")
    yield process
    process.end_everything()


@pytest.fixture
def jobs(runtime: RuntimeProcess) -> Jobs:
    return Jobs(runtime)


@pytest.fixture
def s3(runtime: RuntimeProcess) -> Any:
    return runtime.client("s3")


@pytest.fixture
def sagemaker(runtime: RuntimeProcess) -> Any:
    return runtime.client("sagemaker")
