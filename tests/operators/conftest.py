"""A runtime for the tests of the operators."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.runtime.process import RuntimeProcess


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    process = RuntimeProcess(tmp_path_factory.mktemp("operators"))
    process.start()
    process.client("s3").create_bucket(Bucket="bucket")
    yield process
    process.end_everything()
