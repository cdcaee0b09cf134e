"""Where a local stack keeps its state and on which ports it listens.

Everything lies in one folder, `.millrace/` beside the project by default, and survives `down` and `up`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FIRST_PORT = 4580


class LayoutError(ValueError):
    """A setting of the stack cannot be used; the message names the variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The folders and ports of one stack.

    Raises:
        LayoutError: the ports do not fit below 65536, or the project has no dags/.
    """

    project: Path
    state: Path
    first_port: int = FIRST_PORT

    def __post_init__(self) -> None:
        if not 1024 <= self.first_port <= 65_000:
            raise LayoutError(f"MILLRACE_PORT is {self.first_port}; it must lie between 1024 and 65000")
        if not (self.project / "dags").is_dir():
            raise LayoutError(
                f"{self.project} has no folder dags/; run millrace in the project, or set MILLRACE_PROJECT"
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Layout:
        """The stack that MILLRACE_PROJECT, MILLRACE_STATE and MILLRACE_PORT describe.

        Raises:
            LayoutError: one of them cannot be used.
        """
        environment = os.environ if environment is None else environment
        project = Path(environment.get("MILLRACE_PROJECT") or Path.cwd()).resolve()
        port = environment.get("MILLRACE_PORT") or str(FIRST_PORT)
        if not port.isdigit():
            raise LayoutError(f"MILLRACE_PORT is {port!r}; it must be a number")
        state = Path(environment.get("MILLRACE_STATE") or project / ".millrace").resolve()
        return cls(project=project, state=state, first_port=int(port))

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
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def airflow_home(self) -> Path:
        return self.state / "airflow"

    @property
    def passwords(self) -> Path:
        return self.airflow_home / "passwords.json"

    def page(self, uri: str) -> str:
        """The address at which a browser finds an object of the runtime's S3."""
        return f"{self.runtime_url}/{uri.removeprefix('s3://')}"
