"""How a job's program ends: exit status 0 when its work was done, whatever it found; 1 with one line when what it was given
cannot be used.

The line goes to stderr and into /opt/ml/output/message, which SageMaker shows as the job's ExitMessage or FailureReason.
Standard library only. What it does not do: it does not hide mistakes in our own code, which keep their traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

MAX_MESSAGE = 1000


class InputError(ValueError):
    """An input of the job cannot be used; the message says which, with which value, and what would fix it."""


def exit_status(work: Callable[[], None]) -> int:
    """Do the work of a job, and return its exit status."""
    try:
        work()
    except InputError as error:
        message = " ".join(str(error).split())[:MAX_MESSAGE]
        exit_message = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "output" / "message"
        if exit_message.parent.is_dir():
            exit_message.write_text(message, encoding="utf-8")
        print(message, file=sys.stderr)
        return 1
    return 0


def leave(status: int) -> NoReturn:
    """End the process with a status, now.

    Without this a job whose work is done may still fail: on a loaded machine a thread of Arrow's CSV reader is sometimes
    alive when the interpreter takes itself apart, and aborts the process ("terminate called without an active exception").
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
