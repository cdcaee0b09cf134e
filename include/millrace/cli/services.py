"""The services of a local stack, as a table: what starts each, and how it shows that it is well."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from .layout import Layout


@dataclass(frozen=True, slots=True)
class Service:
    """One process of the stack."""

    name: str
    program: str
    command: Callable[[Layout], list[str]]
    is_well: Callable[[Layout], bool]
    port: Callable[[Layout], int] | None = None
    patience_seconds: int = 120


def _get(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:  # noqa: S310 - loopback addresses of our own
            return bytes(answer.read()) if answer.status == 200 else None
    except OSError:
        return None


def _runtime_is_well(layout: Layout) -> bool:
    return _get(f"{layout.runtime_url}/health") is not None


def _mlflow_is_well(layout: Layout) -> bool:
    return _get(f"{layout.mlflow_url}/health") is not None


def _airflow_part(part: str) -> Callable[[Layout], bool]:
    def is_well(layout: Layout) -> bool:
        body = _get(f"{layout.airflow_url}/api/v2/monitor/health")
        if body is None:
            return False
        health = json.loads(body)
        return part == "metadatabase" or (health.get(part) or {}).get("status") == "healthy"

    return is_well


def _airflow(*arguments: str) -> Callable[[Layout], list[str]]:
    return lambda _layout: [sys.executable, "-m", "airflow", *arguments]


SERVICES = (
    Service(
        "runtime",
        "runtime",
        lambda layout: [
            sys.executable, "-m", "millrace.runtime", "--port", str(layout.runtime_port), "--data-dir",
            str(layout.state / "runtime"),
            *(["--s3-endpoint-url", layout.s3_endpoint_url] if layout.s3_endpoint_url else []),
        ],
        _runtime_is_well,
        lambda layout: layout.runtime_port,
    ),
    Service(
        "mlflow",
        "mlflow",
        lambda layout: [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(layout.mlflow_port),
            "--workers", "1", "--backend-store-uri", f"sqlite:///{layout.state / 'mlflow' / 'mlflow.db'}",
            "--artifacts-destination", f"s3://{layout.bucket}/mlflow",
        ],
        _mlflow_is_well,
        lambda layout: layout.mlflow_port,
    ),
    Service(
        "api-server",
        "airflow",
        _airflow("api-server"),
        _airflow_part("metadatabase"),
        lambda layout: layout.airflow_port,
    ),
    Service("scheduler", "airflow", _airflow("scheduler", "--skip-serve-logs"), _airflow_part("scheduler")),
    Service("dag-processor", "airflow", _airflow("dag-processor"), _airflow_part("dag_processor")),
    Service("triggerer", "airflow", _airflow("triggerer", "--skip-serve-logs"), _airflow_part("triggerer")),
)  # fmt: skip
