"""The environment of an Airflow worker of one deployment, pointed at a runtime."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from operators import clients
from tests.runtime.process import IMAGE, REGION, ROLE, RuntimeProcess


@contextmanager
def local_deployment(runtime: RuntimeProcess, monkeypatch: pytest.MonkeyPatch, deployment: str) -> Iterator[None]:
    connection = {"conn_type": "aws", "login": "any", "password": "any",
                  "extra": {"region_name": REGION, "endpoint_url": runtime.url}}  # fmt: skip
    variables = {
        "MILLRACE_DEPLOYMENT": deployment,
        "MILLRACE_ROLE_ARN": ROLE,
        "MILLRACE_BUCKET": "bucket",
        "MILLRACE_JOBS_IMAGE": IMAGE,
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
    }
    with monkeypatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        clients._client.cache_clear()
        yield
    clients._client.cache_clear()
