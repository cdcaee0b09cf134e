"""The environment of every child of a stack: what it needs, and none of the shell's AWS settings.

A developer's own credentials can therefore never be used by a local run: no profile, no configuration files, no
metadata service, dummy keys, and one endpoint, the runtime. Where another S3 is configured, everything signs with the keys
of the one file that was named for it.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from .layout import Layout

REGION = "us-east-1"
DEPLOYMENT = "local"
ROLE = "arn:aws:iam::123456789012:role/millrace-jobs"
MLFLOW_JOBS = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TERM", "TZ", "USER", "LOGNAME", "VIRTUAL_ENV", "TMPDIR", "COLUMNS",
        MLFLOW_JOBS)  # fmt: skip


def aws(layout: Layout, program: str) -> dict[str, str]:
    """The AWS side: the runtime, and another S3 if one is configured. Without one each program has a dummy key of its own:
    calls.jsonl tells them apart."""
    if layout.s3_endpoint_url is None:
        keys = {
            "AWS_ACCESS_KEY_ID": f"millrace-{program}",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
    else:
        keys = {
            "AWS_ENDPOINT_URL_S3": layout.s3_endpoint_url,
            "AWS_SHARED_CREDENTIALS_FILE": str(layout.s3_credentials),
        }
    return {
        **keys,
        "AWS_ENDPOINT_URL": layout.runtime_url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        # A proxy of the shell's must not see, or break, calls to this machine.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def deployment(layout: Layout) -> dict[str, str]:
    """What operators read: whose jobs these are, where they run, which registry."""
    return {
        "MILLRACE_DEPLOYMENT": DEPLOYMENT,
        "MILLRACE_ROLE_ARN": ROLE,
        "MILLRACE_BUCKET": layout.bucket,
        "MILLRACE_JOBS_IMAGE": "local/jobs",
        "MLFLOW_TRACKING_URI": layout.mlflow_url,
    }


def for_user(layout: Layout) -> dict[str, str]:
    """What `millrace env` prints: a shell with these speaks to the local stack."""
    return {**aws(layout, "user"), **deployment(layout), "AIRFLOW_HOME": str(layout.airflow_home)}


def for_child(layout: Layout, program: str, inherited: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a child process; `program` is what it runs: runtime, mlflow or airflow."""
    inherited = os.environ if inherited is None else inherited
    kept = {name: inherited[name] for name in KEPT if name in inherited}
    return {**asides_off(), **kept, **for_user(layout), **aws(layout, program), **airflow(layout)}


def scrub(environment: MutableMapping[str, str]) -> None:
    """Take the shell's AWS settings out of this very process: a profile that does not exist would break boto3."""
    for name in [name for name in environment if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        del environment[name]
    environment.update({"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull})
    environment["AWS_EC2_METADATA_DISABLED"] = "true"


def asides_off() -> dict[str, str]:
    """No usage data is sent, and MLflow's server does not run jobs of its own (evaluations and issue detection by a language
    model, online scoring, archiving of traces): the eight processes that it keeps for them take 1.4 GiB, and 28 seconds of
    a core to start. A shell that sets the variable has its way."""
    return {
        MLFLOW_JOBS: "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "GX_ANALYTICS_ENABLED": "false",
    }


def airflow(layout: Layout) -> dict[str, str]:
    """Airflow's settings for a local stack: everything on loopback, SQLite, LocalExecutor."""
    keys = _keys(layout.state / "secrets.json")
    extra: dict[str, Any] = {"region_name": REGION, "endpoint_url": layout.runtime_url}
    if layout.s3_endpoint_url is not None:
        extra["service_config"] = {"s3": {"endpoint_url": layout.s3_endpoint_url}}
    connection = {"conn_type": "aws", "extra": extra}
    settings = {
        "CORE__DAGS_FOLDER": str(layout.dags),
        "CORE__PLUGINS_FOLDER": str(layout.project / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "6",
        "CORE__FERNET_KEY": keys["fernet"],
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(layout.passwords),
        # With the API on a port of its own, workers must be told both addresses.
        "CORE__EXECUTION_API_SERVER_URL": f"{layout.airflow_url}/execution/",
        "API__BASE_URL": layout.airflow_url,
        "API__HOST": "127.0.0.1",
        "API__PORT": str(layout.airflow_port),
        "API__WORKERS": "1",
        "API__SECRET_KEY": keys["api"],
        "API_AUTH__JWT_SECRET": keys["jwt"],
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{layout.airflow_home / 'airflow.db'}",
        "LOGGING__BASE_LOG_FOLDER": str(layout.airflow_home / "logs"),
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "SCHEDULER__USE_JOB_SCHEDULE": "True",
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "DAG_PROCESSOR__PARSING_PROCESSES": "1",
        # A worker notices its task's exit up to this much later; the default of 5 s would cost every task as much.
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }
    return {
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
    }


def _keys(path: Path) -> dict[str, str]:
    """Keys of this stack, made once, readable by its owner alone."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = {
            "fernet": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "api": secrets.token_urlsafe(32),
            "jwt": secrets.token_urlsafe(64),
        }
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump(made, stream)
    return dict(json.loads(path.read_text()))


def client(service: str, layout: Layout) -> Any:
    """A boto3 client of the local stack, whatever the shell says about AWS."""
    import boto3
    import botocore.session

    settings = aws(layout, "user")
    session = botocore.session.Session()
    session.set_config_variable("credentials_file", settings["AWS_SHARED_CREDENTIALS_FILE"])
    return boto3.Session(botocore_session=session).client(  # type: ignore[call-overload]
        service,
        endpoint_url=settings.get(f"AWS_ENDPOINT_URL_{service.upper()}", layout.runtime_url),
        region_name=REGION,
        aws_access_key_id=settings.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=settings.get("AWS_SECRET_ACCESS_KEY"),
    )
