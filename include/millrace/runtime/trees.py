"""Removing what a job has left: trees of any depth and width, with names and links of any kind, without following one."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterable
from pathlib import Path

log = logging.getLogger(__name__)
AT_ONCE = 100


def remove(paths: Iterable[Path]) -> None:
    """Remove files and trees; what is not there is no error, and what cannot be removed is logged and left.

    `rm` does it: Python's own removal recurses, and a job that nests folders deep enough would stop it.
    """
    there = [path for path in paths if path.is_symlink() or path.exists()]
    for first in range(0, len(there), AT_ONCE):
        part = there[first : first + AT_ONCE]
        done = subprocess.run(["rm", "-rf", "--", *part], capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            log.warning("not everything could be removed: %s", done.stderr.strip()[-500:])
