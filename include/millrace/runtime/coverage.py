"""Every operation of SageMaker, and what this runtime does with it: executes it, passes it on, or refuses it by name.

Read from the very tables that calls are answered by, so it cannot say what is not so. What it does not do: it does not
say which members of a request are honoured; each operation refuses those that are not, by name.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from . import protocol
from .config import RuntimeConfig
from .control import RECORD_KEEPING, ControlPlane

INVOCATIONS = {"InvokeEndpoint"}
"""What the router answers."""


class Coverage(StrEnum):
    """What becomes of a call."""

    EXECUTED = "executed"
    PASSED_ON = "passed on"
    """To moto, which keeps records and runs nothing; they are gone after a restart."""
    REFUSED = "refused"


def coverage() -> Mapping[str, Mapping[str, Coverage]]:
    """By service and operation."""
    with tempfile.TemporaryDirectory() as folder:
        plane = ControlPlane(RuntimeConfig(data_dir=Path(folder)))
        executed = plane.operation_names
        plane.close()
    return {
        "sagemaker": {name: _of(name, executed) for name in protocol.service_model("sagemaker").operation_names},
        "sagemaker-runtime": {
            name: _of(name, INVOCATIONS) for name in protocol.service_model("sagemaker-runtime").operation_names
        },
    }


def _of(name: str, executed: set[str]) -> Coverage:
    if name in executed:
        return Coverage.EXECUTED
    return Coverage.PASSED_ON if name in RECORD_KEEPING else Coverage.REFUSED
