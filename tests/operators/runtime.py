"""The environment of an Airflow worker of one deployment, pointed at a runtime."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from operators import clients, waiting
from tests.runtime.process import IMAGE, REGION, ROLE, RuntimeProcess


def worker_environment(runtime: RuntimeProcess, deployment: str) -> dict[str, str]:
    """The variables of an Airflow worker."""
    connection = {"conn_type": "aws", "login": "any", "password": "any",
                  "extra": {"region_name": REGION, "endpoint_url": runtime.url}}  # fmt: skip
    return {
        "MILLRACE_DEPLOYMENT": deployment,
        "MILLRACE_ROLE_ARN": ROLE,
        "MILLRACE_BUCKET": "bucket",
        "MILLRACE_JOBS_IMAGE": IMAGE,
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
    }


@contextmanager
def local_deployment(runtime: RuntimeProcess, monkeypatch: pytest.MonkeyPatch, deployment: str) -> Iterator[None]:
    with monkeypatch.context() as patch:
        for name, value in worker_environment(runtime, deployment).items():
            patch.setenv(name, value)
        # What defers shall defer at once; test_job.py holds the brief look before it.
        patch.setattr("operators.attempt.BRIEFLY", timedelta(0))
        _forget()
        yield
    _forget()


def _forget() -> None:
    clients._client.cache_clear()
    waiting.forget()
