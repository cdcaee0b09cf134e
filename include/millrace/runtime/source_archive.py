"""The source archive of a script-mode job, handed to its instances: to fetch it, each would have to start an SDK first.

What it does not do: an archive that cannot be had is left to script mode, which says in the job what is wrong with it; and
a job without network gets none, as on SageMaker.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import staging
from .errors import JobFailed
from .s3.errors import S3Error
from .storage import Storage

FOLDER, NAME = "source", "source.tar.gz"
"""Below /opt/ml, where script mode looks for what the variable names."""
VARIABLE = "MILLRACE_SOURCE"
"""Tells script mode the URI of the archive that is there."""


def location(hyperparameters: Mapping[str, str]) -> str:
    """The URI that sagemaker_submit_directory holds, JSON-encoded or not; empty where it is none of S3."""
    value: Any = hyperparameters.get("sagemaker_submit_directory", "")
    with contextlib.suppress(ValueError):  # SDKs encode it, people do not
        value = json.loads(value)
    return value if isinstance(value, str) and value.startswith("s3://") else ""


def place(storage: Storage, uri: str, folder: Path, *, link: bool) -> Path | None:
    """Put the archive into an instance's folder; None when it cannot be had."""
    target = folder / FOLDER / NAME
    target.parent.mkdir()
    try:
        staging.place(storage.head(*staging.parse_uri(uri)), target, link=link)
    except (S3Error, JobFailed):
        target.unlink(missing_ok=True)
        return None
    return target
