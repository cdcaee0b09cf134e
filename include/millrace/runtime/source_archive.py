"""The source archive of a script-mode job, handed to its instances: to fetch it, each would have to start an SDK first.

What it does not do: an archive that cannot be had is left to script mode, which says in the job what is wrong with it; and
a job without network gets none, as on SageMaker.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import staging
from .errors import JobFailed
from .s3.errors import S3Error
from .storage import Storage

FOLDER, NAME = "source", "source.tar.gz"
"""In an instance's folder."""
SHOWN = "input/source"
"""Below /opt/ml, where script mode looks for what the variable names."""
VARIABLE = "MILLRACE_SOURCE"
"""Tells script mode the URI of the archive that is there."""


def location(hyperparameters: Mapping[str, str]) -> str:
    """The URI that sagemaker_submit_directory holds, JSON-encoded or not; empty where it is none of S3."""
    value: Any = hyperparameters.get("sagemaker_submit_directory", "")
    with contextlib.suppress(ValueError, RecursionError):  # SDKs encode it, people do not
        value = json.loads(value)
    return value if isinstance(value, str) and value.startswith("s3://") else ""


def place(storage: Storage, uri: str, folders: Sequence[Path], *, link: bool) -> Path | None:
    """Put the archive into the folder of every instance, and return one of them; None when it cannot be had.

    Raises:
        StorageAway: it may be had later.
    """
    targets = [folder / FOLDER / NAME for folder in folders]
    try:
        found = storage.head(*staging.parse_uri(uri))
        for target in targets:
            target.parent.mkdir()
            staging.place(found, target, link=link)
    except (S3Error, JobFailed):
        for target in targets:
            target.unlink(missing_ok=True)
        return None
    return targets[0]


def held(folder: Path) -> Path | None:
    """The folder with the archive that an instance was given."""
    return folder / FOLDER if (folder / FOLDER / NAME).exists() else None
