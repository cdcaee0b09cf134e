"""An act that is finished even when Airflow kills the worker in the middle of it.

Airflow gives a task that a user has ended five seconds, which nothing configures (`ActivitySubprocess.kill` of Airflow
3.3.2), and then kill -9. A stop that SageMaker throttles takes longer, and the job that nobody stopped would be paid for to
its end. What it cannot do: outlive the machine, or a pod, which ends with its first process.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

DONE, NOT_NEEDED, FAILED = 0, 1, 2
MOST_SECONDS = 600
"""Nobody else ends the process; five times what the retries of one call take."""


def outlive(act: Callable[[], bool]) -> bool:
    """Do it in a process of its own, wait for that, and return what it returned.

    Args:
        act: may be done twice; uses nothing that another thread of this process may hold at this moment.

    Raises:
        Exception: what `act` raises; it is done once more, here, when the other process could not do it.
    """
    try:
        child = os.fork()
    except OSError:  # no process is to be had
        return act()
    if child == 0:
        code = FAILED
        try:
            _be_alone()
            code = DONE if act() else NOT_NEEDED
        finally:
            os._exit(code)  # nothing of this process's own end, such as its last words to Airflow, is the child's
    _, status = os.waitpid(child, 0)
    answer = {DONE: True, NOT_NEEDED: False}.get(os.waitstatus_to_exitcode(status))
    return act() if answer is None else answer


def _be_alone() -> None:
    """Leave the session, the signals and the files of the worker.

    Its sockets lead to Airflow's supervisor, which waits until everybody has closed them. Each becomes /dev/null instead of
    closed, so that no number means another file to the Python object that still has it; a pooled connection that has become
    /dev/null counts as dropped and is made anew.
    """
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(MOST_SECONDS)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
        if descriptor != nothing:
            os.dup2(nothing, descriptor)
