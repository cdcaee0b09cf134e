"""boto3 clients by Airflow connection: the connection says where AWS is, and no code here asks."""

from __future__ import annotations

import functools
import threading
from typing import Any

LOCK = threading.Lock()


def client(service: str, aws_conn_id: str, region_name: str | None) -> Any:
    """A client of a service, made once a process for each connection and region. Safe from any thread."""
    with LOCK:
        return _client(service, aws_conn_id, region_name)


@functools.lru_cache(maxsize=64)
def _client(service: str, aws_conn_id: str, region_name: str | None) -> Any:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
    from botocore.config import Config

    retries = Config(retries={"mode": "standard", "max_attempts": 6}, connect_timeout=5, read_timeout=70)
    hook: Any = AwsGenericHook(aws_conn_id=aws_conn_id, region_name=region_name, client_type=service, config=retries)
    return hook.get_conn()
