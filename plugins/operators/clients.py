"""boto3 clients by Airflow connection: the connection says where AWS is, and no code here asks."""

from __future__ import annotations

import functools
import threading
from typing import Any

LOCK = threading.Lock()
ATTEMPTS = 16
"""With botocore's standard back-off (up to 20 s) about two minutes: a throttled minute or a restart is sat out."""


def client(service: str, aws_conn_id: str, region_name: str | None) -> Any:
    """A client of a service, made once a process for each connection and region. Safe from any thread."""
    with LOCK:
        return _client(service, aws_conn_id, region_name)


@functools.lru_cache(maxsize=64)
def _client(service: str, aws_conn_id: str, region_name: str | None) -> Any:
    return fresh_client(service, aws_conn_id, region_name, ATTEMPTS)


def fresh_client(service: str, aws_conn_id: str, region_name: str | None, attempts: int) -> Any:
    """A new client, with credentials as the connection has them now, that calls at most `attempts` times."""
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
    from botocore.config import Config

    retries = {"mode": "standard", "total_max_attempts": attempts}
    config = Config(retries=retries, connect_timeout=5, read_timeout=70)  # type: ignore[arg-type]
    hook: Any = AwsGenericHook(aws_conn_id=aws_conn_id, region_name=region_name, client_type=service, config=config)
    return hook.get_conn()
