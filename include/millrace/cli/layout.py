"""Where a local stack keeps its state and on which ports it listens.

Everything lies in one folder, `.millrace/` beside the project by default, and survives `down` and `up`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FIRST_PORT = 4580
BUCKET = "millrace"


class LayoutError(ValueError):
    """A setting of the stack cannot be used; the message names the variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The folders and ports of one stack, and the S3 that holds its objects.

    Args:
        s3_endpoint_url: another S3 than the runtime's own.
        s3_credentials: the AWS credentials file with the keys for it, as its `default` profile.

    Raises:
        LayoutError: the ports do not fit below 65536, the project has no dags/, or another S3 has no keys.
    """

    project: Path
    state: Path
    first_port: int = FIRST_PORT
    bucket: str = BUCKET
    s3_endpoint_url: str | None = None
    s3_credentials: Path | None = None

    def __post_init__(self) -> None:
        if not 1024 <= self.first_port <= 65_000:
            raise LayoutError(f"MILLRACE_PORT is {self.first_port}; it must lie between 1024 and 65000")
        if not self.dags.is_dir():
            raise LayoutError(
                f"{self.project} has no folder dags/; run millrace in the project, or set MILLRACE_PROJECT"
            )
        if (self.s3_endpoint_url is None) != (self.s3_credentials is None):
            raise LayoutError(
                "another S3 needs both MILLRACE_S3_ENDPOINT_URL and MILLRACE_S3_CREDENTIALS, an AWS credentials file with "
                "the keys for it"
            )
        if self.s3_credentials is not None and not self.s3_credentials.is_file():
            raise LayoutError(f"MILLRACE_S3_CREDENTIALS is {self.s3_credentials}, and no such file is there")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Layout:
        """The stack that MILLRACE_PROJECT, MILLRACE_STATE, MILLRACE_PORT, MILLRACE_BUCKET and MILLRACE_S3_… describe.

        Raises:
            LayoutError: one of them cannot be used.
        """
        environment = os.environ if environment is None else environment
        project = Path(environment.get("MILLRACE_PROJECT") or Path.cwd()).resolve()
        port = environment.get("MILLRACE_PORT") or str(FIRST_PORT)
        if not port.isdigit():
            raise LayoutError(f"MILLRACE_PORT is {port!r}; it must be a number")
        state = Path(environment.get("MILLRACE_STATE") or project / ".millrace").resolve()
        keys = environment.get("MILLRACE_S3_CREDENTIALS")
        return cls(
            project=project,
            state=state,
            first_port=int(port),
            bucket=environment.get("MILLRACE_BUCKET") or BUCKET,
            s3_endpoint_url=environment.get("MILLRACE_S3_ENDPOINT_URL") or None,
            s3_credentials=Path(keys).resolve() if keys else None,
        )

    @property
    def runtime_port(self) -> int:
        return self.first_port

    @property
    def mlflow_port(self) -> int:
        return self.first_port + 1

    @property
    def airflow_port(self) -> int:
        return self.first_port + 2

    @property
    def runtime_url(self) -> str:
        return f"http://127.0.0.1:{self.runtime_port}"

    @property
    def mlflow_url(self) -> str:
        return f"http://127.0.0.1:{self.mlflow_port}"

    @property
    def airflow_url(self) -> str:
        return f"http://127.0.0.1:{self.airflow_port}"

    @property
    def dags(self) -> Path:
        return self.project / "dags"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def airflow_home(self) -> Path:
        return self.state / "airflow"

    @property
    def passwords(self) -> Path:
        return self.airflow_home / "passwords.json"

    def page(self, uri: str) -> str:
        """The address at which a browser finds an object; another S3 than the runtime's may ask who it is."""
        return f"{self.s3_endpoint_url or self.runtime_url}/{uri.removeprefix('s3://')}"
