"""Packages that requirements.txt asks for: installed once by content, shown to every training job that asks the same.

pip runs in a sandbox of its own, since a package's build is somebody's code. What it made lies in `packages/<key>` of the
data folder and is bound read-only at /opt/ml/packages, where script mode looks for it. The key is the hash of the file's
text and of the Python that runs it. What is not cached is installed by script mode itself, in the job, as on SageMaker:
requirements that name files beside them, and those of jobs without network, or without a sandbox, where one job could
change another's packages.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import subprocess
import sys
import tarfile
import threading
import time
import uuid
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from . import sandbox, trees
from .errors import JobFailed

log = logging.getLogger(__name__)
MAX_REQUIREMENTS_BYTES = 1024 * 1024
INSTALL_SECONDS, WAIT_SECONDS = 30 * 60, 0.2
KEPT_DAYS = 30
"""Packages that no job has used for so long go when the runtime starts."""
VARIABLE = "MILLRACE_REQUIREMENTS"
"""Tells script mode the SHA-256 of the requirements.txt whose packages are there."""
OPTIONS = "-e|--editable|-r|--requirement|-c|--constraint|-f|--find-links|--no-index"
BESIDE = re.compile(rf"^\s*({OPTIONS})\b|file:|\$\{{|^[^#:]*[/\\]|\.whl|\.tar\.gz|\.zip", re.MULTILINE)
"""Lines whose meaning lies outside of the file: other files, variables, paths. URLs of an index are fine."""
OUTSIDE = re.compile(r"^(PIP_.*|.*_PROXY|.*INDEX.*|NETRC)$", re.IGNORECASE)
"""Variables of a request that change what pip installs: then it is the job's own business."""


class Cancelled(Exception):
    """The job was stopped while its packages were being installed."""


class PackageCache:
    """One folder of installed packages. Thread-safe: jobs that ask for the same at one time wait for one installation."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def sweep(self) -> None:
        """Remove what was not finished and what nobody has used for long."""
        oldest = time.time() - KEPT_DAYS * 86_400
        for path in self._folder.glob("*"):
            if path.name.startswith("new-") or path.stat().st_mtime < oldest:
                trees.remove([path])

    def installed(
        self, requirements: bytes, box: sandbox.Box, env: dict[str, str], say: Callable[[str], None],
        is_cancelled: Callable[[], bool],
    ) -> Path:  # fmt: skip
        """The folder of the packages, installed now unless they are there.

        Args:
            box: what pip runs in; its /opt/ml is a fresh folder of this cache.
            env: the variables that pip starts with.
            say: takes lines for the job's log.

        Raises:
            JobFailed: pip cannot install them; with the end of what it said.
            Cancelled: `is_cancelled` became true meanwhile.
        """
        python = [sys.executable, sys.version] if box.environment is None else [str(box.environment)]
        key = hashlib.sha256(json.dumps([python, requirements.decode(errors="replace")]).encode()).hexdigest()
        target, lock = self._folder / key, self._locks[key]
        while not lock.acquire(timeout=WAIT_SECONDS):
            if is_cancelled():
                raise Cancelled
        try:
            if target.exists():
                target.touch()
                say("[millrace] the packages of requirements.txt were installed before, for another job")
            else:
                self._install(requirements, target, box, env, say, is_cancelled)
        finally:
            lock.release()
        return target

    def box(self, hidden: Path, environment: Path | None) -> sandbox.Box:
        """A box for one installation."""
        ml = self._folder / f"new-{uuid.uuid4().hex}" / "ml"
        hosts = {"algo-1": "127.0.0.1"}
        return sandbox.Box(
            ml=ml, hostname="algo-1", hosts=hosts, sandboxed=True, hidden=(hidden,), environment=environment
        )

    def _install(
        self, requirements: bytes, target: Path, box: sandbox.Box, env: dict[str, str], say: Callable[[str], None],
        is_cancelled: Callable[[], bool],
    ) -> None:  # fmt: skip
        (box.ml / "packages").mkdir(parents=True)
        (box.ml / "requirements.txt").write_bytes(requirements)
        python = str(box.environment / "bin/python") if box.environment else sys.executable
        argv = [python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--target",
                "/opt/ml/packages", "-r", "/opt/ml/requirements.txt"]  # fmt: skip
        try:
            code, output = _run(box.wrap(argv), env, box.ml.parent / "pip.log", is_cancelled)
            for line in output.splitlines():
                say(line)
            if code:
                last = " | ".join(line for line in output.splitlines() if line.strip())[-600:]
                raise JobFailed(f"ClientError: requirements.txt of the source archive cannot be installed: {last}")
            made = box.ml / "packages"
            if made.is_symlink() or not made.is_dir():  # no process of pip is left that could still change it
                raise JobFailed("ClientError: a package of requirements.txt has replaced its own folder; it is refused")
            made.rename(target)
        finally:
            trees.remove([box.ml.parent])


def _run(argv: list[str], env: dict[str, str], output: Path, is_cancelled: Callable[[], bool]) -> tuple[int, str]:
    """Run pip to its end, or to that of its job; its exit code and what it said."""
    deadline = time.monotonic() + INSTALL_SECONDS
    with output.open("wb") as stream:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, env=env)
        while process.poll() is None:
            if is_cancelled() or time.monotonic() > deadline:
                process.kill()
                process.wait()
                if is_cancelled():
                    raise Cancelled
                raise JobFailed(f"ClientError: requirements.txt was not installed within {INSTALL_SECONDS} s")
            time.sleep(0.05)
    return process.returncode, output.read_text(errors="replace")


def requirements_of(archive: Path, environment: Mapping[str, str] = {}) -> bytes | None:
    """The requirements.txt of a source archive, if it has one that can be installed by its text alone.

    An archive that cannot be read has none here: script mode says in the job what is wrong with it.
    """
    if any(map(OUTSIDE.match, environment)):
        return None
    try:
        with tarfile.open(archive, "r:gz") as members:
            for member in members:
                if member.name.removeprefix("./") == "requirements.txt" and member.isreg():
                    content = members.extractfile(member)
                    if content is None or member.size > MAX_REQUIREMENTS_BYTES:
                        return None
                    text = content.read()
                    return None if BESIDE.search(text.decode(errors="replace")) else text
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        log.info("no requirements.txt is looked for in %s: %s", archive, error)
    return None
