"""Who may do what: the keys of a credentials file, each with a secret and a small allow list.

    [{"access_key": "jobs", "secret_key": "...", "access": {"s3": {"read": ["millrace/*"], "write": ["millrace/runs/*"]}}},
     {"access_key": "watcher", "secret_key": "...", "access": {"sagemaker": ["Describe*", "List*"], "logs": ["*"]}}]

What is not named is denied. A glob is one of IAM's: `*` stands for any characters, also for slashes, `?` for one. What
this file does not do: it verifies no signature (`signature.py`) and knows no operation (`needs.py`).
"""

from __future__ import annotations

import functools
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

Right = Literal["s3:read", "s3:write", "sagemaker", "sagemaker-runtime", "logs", "other"]
"""What a glob of each is held against: bucket/key (twice), operation, endpoint, operation, a service's signing name."""
RIGHTS: tuple[Right, ...] = get_args(Right)
Reach = Literal["name", "below", "bucket"]
"""One name; everything that begins with it; that a bucket of this name exists."""

JOBS = "jobs"
"""The access key that every job and model server gets."""
RUNTIME = "millrace-runtime"
"""The runtime's own, made anew at each start; no file may hold it."""
MIN_SECRET = 16
_ACCESS_KEY = re.compile(r"[A-Za-z0-9_-]{3,128}")


class CredentialsError(ValueError):
    """The credentials file cannot be used; the message says which row and why, and never a secret."""


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that a request needs of its key."""

    right: Right
    name: str
    reach: Reach = "name"


@dataclass(frozen=True, slots=True)
class Access:
    """What one key may do: globs by right."""

    globs: Mapping[Right, tuple[str, ...]] = field(default_factory=dict)

    def allows(self, need: Need) -> bool:
        if need.reach == "bucket":
            every = (*self.globs.get("s3:read", ()), *self.globs.get("s3:write", ()))
            return any(_matches(glob.partition("/")[0], need.name) for glob in every)
        globs = self.globs.get(need.right, ())
        if need.reach == "below":
            # Only a glob with an open end covers everything that begins with what it covers.
            globs = tuple(glob for glob in globs if glob.endswith("*"))
        return any(_matches(glob, need.name) for glob in globs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A key, its secret, and what it may do."""

    access_key: str
    secret_key: str = field(repr=False)
    access: Access = field(default_factory=Access)


ANY_JOB = Credential(access_key="millrace-job", secret_key="any")  # noqa: S106 - nobody verifies it
"""What jobs sign with where no signature is verified; `calls.jsonl` knows them by it."""
ANY_RUNTIME = Credential(access_key=RUNTIME, secret_key="any")  # noqa: S106 - nobody verifies it


class Credentials:
    """All keys that are known here."""

    def __init__(self, known: tuple[Credential, ...]) -> None:
        self._known = {credential.access_key: credential for credential in known}

    def find(self, access_key: str) -> Credential | None:
        return self._known.get(access_key)

    @property
    def jobs(self) -> Credential:
        return self._known[JOBS]

    def plus(self, own: Credential) -> Credentials:
        return Credentials((*self._known.values(), own))


def load(path: Path) -> Credentials:
    """The credentials of a file.

    Raises:
        CredentialsError: it is not there, others may read it, it is not what this module's docstring shows, or it has no
            key for jobs.
    """
    content = _read(path)
    try:
        rows = json.loads(content)
    except ValueError as error:
        # The position and never the text: it may be a secret.
        where = f"line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else "its bytes"
        raise CredentialsError(f"{path} is not JSON (see {where})") from None
    if not isinstance(rows, list):
        raise CredentialsError(f"{path} is a JSON {type(rows).__name__}; it must be a list of keys")
    known = tuple(_credential(row, f"row {number} of {path}") for number, row in enumerate(rows, 1))
    names = [credential.access_key for credential in known]
    for name in names:
        if names.count(name) > 1:
            raise CredentialsError(f"{path} has the access key {name!r} twice")
    if JOBS not in names:
        raise CredentialsError(
            f"{path} has no key named {JOBS!r}, and jobs need one to reach S3: add a row with "
            f'"access_key": "{JOBS}", a secret and the access that job code is to have'
        )
    return Credentials(known)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise CredentialsError(f"the credentials file {path} is not a regular file")
            if status.st_mode & 0o077:
                raise CredentialsError(
                    f"the credentials file {path} has mode {stat.S_IMODE(status.st_mode):04o}: group or others may use "
                    f"it; chmod 600 {path}"
                )
            return stream.read()
    except OSError as error:
        raise CredentialsError(f"the credentials file {path} cannot be read: {error.strerror}") from error


def _credential(row: Any, where: str) -> Credential:
    if not isinstance(row, dict):
        raise CredentialsError(f"{where} is a JSON {type(row).__name__}; it must be an object")
    if unknown := sorted(row.keys() - {"access_key", "secret_key", "access"}):
        raise CredentialsError(f"{where} has {unknown[0]!r}; known are access_key, secret_key, access")
    name, secret, access = (row.get(part) for part in ("access_key", "secret_key", "access"))
    if not isinstance(name, str) or not _ACCESS_KEY.fullmatch(name):
        raise CredentialsError(
            f"{where}: access_key is {name!r}; use 3 to 128 letters, digits, hyphens and underscores"
        )
    if name == RUNTIME:
        raise CredentialsError(f"{where}: the access key {RUNTIME!r} is the runtime's own; choose another")
    if not isinstance(secret, str) or len(secret) < MIN_SECRET or not secret.isascii() or not secret.isprintable():
        raise CredentialsError(
            f"{where}: the secret_key of {name!r} must be {MIN_SECRET} printable ASCII characters or more, for example "
            "from `openssl rand -hex 32`"
        )
    return Credential(access_key=name, secret_key=secret, access=_access(access, f"{where}: the access of {name!r}"))


def _access(given: Any, where: str) -> Access:
    """`{"s3": {"read": [...], "write": [...]}, "sagemaker": [...], ...}`, flattened to globs by right."""
    if not isinstance(given, dict):
        raise CredentialsError(f"{where} must be an object from service to globs; an empty one may do nothing")
    flat = {service: globs for service, globs in given.items() if service != "s3"}
    s3 = given.get("s3", {})
    if not isinstance(s3, dict):
        raise CredentialsError(
            f'{where} to s3 must be an object with "read" and "write", each a list of bucket/key globs'
        )
    flat |= {f"s3:{verb}": globs for verb, globs in s3.items()}
    if unknown := sorted(flat.keys() - set(RIGHTS)):
        raise CredentialsError(f"{where} names {unknown[0]!r}; known are {', '.join(RIGHTS)} (s3 as s3.read, s3.write)")
    for right, globs in flat.items():
        if not isinstance(globs, list) or not all(isinstance(glob, str) and glob for glob in globs):
            raise CredentialsError(f'{where} to {right} is {globs!r}; it must be a list of globs, for example ["*"]')
    return Access({right: tuple(flat[right]) for right in RIGHTS if right in flat})


@functools.lru_cache(maxsize=1024)
def _compiled(glob: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(letter) or re.escape(letter) for letter in glob), re.DOTALL)


def _matches(glob: str, name: str) -> bool:
    return _compiled(glob).fullmatch(name) is not None
