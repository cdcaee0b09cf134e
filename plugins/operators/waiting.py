"""One poller and one log follower for each connection of this process, shared by triggers and by waiting workers.

What it does not do: it knows no job's meaning; see millrace.sagemaker.poller and log_follower.
"""

from __future__ import annotations

import os
import threading
from functools import partial

from millrace.sagemaker.kinds import Kind
from millrace.sagemaker.log_follower import LogFollower
from millrace.sagemaker.poller import Poller
from operators.clients import fresh_client

LOOK_ATTEMPTS = 2
"""A look that fails is repeated by the poller, at its own growing pace: botocore need not insist."""

_lock = threading.Lock()
_pollers: dict[tuple[str, str, str, str | None], Poller] = {}
_followers: dict[tuple[str, str | None], LogFollower] = {}


def poller(kind: Kind, name: str, aws_conn_id: str, region_name: str | None) -> Poller:
    """The poller that watches things of a kind which share the name's deployment."""
    prefix = name.partition("-")[0] + "-"
    with _lock:
        key = (kind.name, prefix, aws_conn_id, region_name)
        if key not in _pollers:
            connect = partial(fresh_client, "sagemaker", aws_conn_id, region_name, LOOK_ATTEMPTS)
            _pollers[key] = Poller(kind, prefix, connect)
        return _pollers[key]


def log_follower(aws_conn_id: str, region_name: str | None) -> LogFollower:
    """The follower that reads the logs of this connection's jobs."""
    with _lock:
        key = (aws_conn_id, region_name)
        if key not in _followers:
            _followers[key] = LogFollower(partial(fresh_client, "logs", aws_conn_id, region_name, LOOK_ATTEMPTS))
        return _followers[key]


def forget() -> None:
    """Begin anew: in a forked child, where the threads are gone, and between tests."""
    global _lock
    _lock = threading.Lock()
    _pollers.clear()
    _followers.clear()


os.register_at_fork(after_in_child=forget)
