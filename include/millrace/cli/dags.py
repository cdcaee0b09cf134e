"""Waiting until Airflow has found DAGs: it parses file after file, and knows none of them when it has just started.

It does not look into the files itself: what is in one is Airflow's word.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Protocol

PARSE_SECONDS = 120.0
POLL_SECONDS = 0.3


class Airflow(Protocol):
    """What is asked of Airflow: `AirflowApi`, and whatever else answers so."""

    def dag_files(self) -> dict[str, str]: ...
    def import_errors(self) -> dict[str, str]: ...
    def unpause(self, dag_id: str) -> None: ...


class DagNotFound(RuntimeError):
    """Airflow has no such DAG, and knows every file, or had time to; of a file that has just been changed it may still know
    what was there before."""

    def __init__(self, missing: Collection[str], found: Collection[str], errors: Mapping[str, str]) -> None:
        said = f"Airflow has found no DAG {', '.join(sorted(missing))}; it has {', '.join(sorted(found)) or 'none'}"
        if errors:
            said += "\nThese files do not parse:\n" + "\n".join(f"{path}:\n{trace}" for path, trace in errors.items())
        super().__init__(f"{said}\nIt reads changed files every 30 s; see `millrace logs dag-processor`")


def await_dags(
    airflow: Airflow,
    folder: Path,
    dag_ids: Collection[str],
    *,
    say: Callable[[str], None] | None = None,
    seconds: float = PARSE_SECONDS,
) -> None:
    """Wait until Airflow has found these DAGs, and unpause them.

    A file that does not parse is of no account as long as none of these DAGs is missing.

    Args:
        folder: where the DAG files are; once Airflow has parsed each of them, there is nothing left to wait for.
        say: is told once what is waited for.

    Raises:
        DagNotFound: one of them is not found, and will not be or was not in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        # The errors first: a file that is parsed between the two questions is then not taken for one without DAGs.
        errors = airflow.import_errors()
        found = airflow.dag_files()
        missing = {*dag_ids} - found.keys()
        if not missing:
            break
        files = {str(path.relative_to(folder)) for path in folder.rglob("*.py")}
        if files <= {*found.values(), *errors} or time.monotonic() >= deadline:
            raise DagNotFound(missing, found, errors)
        if say is not None:
            say(f"waiting for Airflow to parse {', '.join(sorted(missing))}")
            say = None
        time.sleep(POLL_SECONDS)
    for dag_id in dag_ids:
        airflow.unpause(dag_id)
