"""The peer's environment: the amazon provider with aiobotocore, which its deferrable mode needs and which holds botocore
back.

It is made once, from a pinned file, in a folder that git ignores, and made anew when the file changes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PROVIDER = "amazon-provider"


def interpreter(name: str = PROVIDER) -> Path:
    """The Python of the peer described by `peers/<name>.txt`, installed if it is not there yet.

    Raises:
        subprocess.CalledProcessError: it cannot be installed; uv has said why.
    """
    pinned = (HERE / "peers" / f"{name}.txt").read_text()
    folder = HERE / ".peers" / name
    python, stamp = folder / "bin/python", folder / "installed.txt"
    if stamp.exists() and stamp.read_text() == pinned:
        return python
    print(f"making the peer's environment in {folder.relative_to(HERE.parent)}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    uv = str(Path(sys.executable).with_name("uv"))
    links = os.environ.get("PIP_FIND_LINKS")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", str(python), *(["--find-links", links] if links else []),
         "--requirement", str(HERE / "peers" / f"{name}.txt")],
        check=True,
    )  # fmt: skip
    stamp.write_text(pinned)
    return python
