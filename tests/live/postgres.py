"""A Postgres cluster of its own for a test session: made, started, stopped and removed, on a free loopback port.

It is Debian's package, found below /usr/lib/postgresql. Postgres refuses to run as root: then it runs as the user
`postgres`, which the package makes. Durability is off: the cluster does not outlive the session.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.runtime.process import free_port

USER = "airflow"
WHERE = Path("/usr/lib/postgresql")
SETTINGS = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=200",
    # A scheduler that is killed in a transaction leaves LocalExecutor's idle workers, which have inherited its connection:
    # its locks would be held, and nothing scheduled, until they end.
    "idle_in_transaction_session_timeout=20s",
)


def programs() -> Path | None:
    """The folder of the newest installed server's programs."""
    found = sorted(WHERE.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return found[-1].parent if found else None


needs_postgres = pytest.mark.skipif(
    programs() is None and not os.environ.get("CI"),
    reason="needs Postgres (apt-get install postgresql); in CI this test fails instead",
)


class Postgres:
    """One cluster with one empty database.

    Raises:
        RuntimeError: there is no Postgres here, or it does not start; the message says what to do.
    """

    def __init__(self) -> None:
        found = programs()
        if found is None:
            raise RuntimeError(f"no Postgres below {WHERE}: apt-get install postgresql")
        self._programs = found
        # Not below pytest's own folder: only its owner may enter that one.
        self._folder = Path(tempfile.mkdtemp(prefix="millrace-postgres-"))
        self._data = self._folder / "data"
        self._password = secrets.token_urlsafe(24)
        self.port = free_port()
        self._user: pwd.struct_passwd | None = None
        if os.geteuid() == 0:
            self._user = pwd.getpwnam("postgres")
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)

    @property
    def url(self) -> str:
        """What SQLAlchemy connects to."""
        return f"postgresql+psycopg2://{USER}:{self._password}@127.0.0.1:{self.port}/{USER}"

    @property
    def log(self) -> Path:
        return self._folder / "postgres.log"

    def start(self) -> None:
        password_file = self._folder / "password"
        password_file.write_text(self._password)
        if self._user is not None:
            os.chown(password_file, self._user.pw_uid, self._user.pw_gid)
        self._run(
            "initdb", "--pgdata", str(self._data), "--username", USER, "--pwfile", str(password_file),
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync",
        )  # fmt: skip
        password_file.unlink()
        settings = (
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self._folder}",
            *SETTINGS,
        )
        options = " ".join(f"-c {setting}" for setting in settings)
        self._run(
            "pg_ctl", "start", "--wait", "--pgdata", str(self._data), "--log", str(self.log), "--options", options
        )
        self._run("createdb", "--host", "127.0.0.1", "--port", str(self.port), "--username", USER, USER)

    def remove(self) -> None:
        """Stop the server at once and delete everything it wrote."""
        if (self._data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "--mode", "immediate", "--wait", "--pgdata", str(self._data))
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> None:
        # The server inherits standard output: with a pipe there, reading its end would wait for the server's.
        with (self._folder / "programs.log").open("a+") as log:
            done = subprocess.run(
                [str(self._programs / program), *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder,
                env={"PATH": os.environ["PATH"], "PGPASSWORD": self._password},
                user=self._user.pw_uid if self._user else None,
                group=self._user.pw_gid if self._user else None,
                extra_groups=[] if self._user else None,
            )  # fmt: skip
            if done.returncode != 0:
                log.seek(0)
                server = self.log.read_text() if self.log.exists() else ""
                raise RuntimeError(f"{program} ended with {done.returncode}:\n{log.read()[-2000:]}\n{server[-2000:]}")
